"""The hash-chained record of who changed what."""

from __future__ import annotations

from typing import Any

from django.utils.timezone import now

from incidentops.access import chain
from incidentops.access.models import AuditEntry


def record(
    action: str, *, actor: object, target: str, detail: dict[str, Any] | None = None
) -> AuditEntry:
    """Append an entry with the caller's transaction.

    `actor` is a user, a token or the word for a part of the system ("agent:resolution");
    `target` names the row ("incident:12"). `detail` must be JSON and free of secrets.

    The end of the chain stays locked until the transaction ends: record last, and only state
    changes by people and the swarm.
    """
    return chain.append(
        AuditEntry(
            at=now(),
            actor=str(actor)[:120],
            action=action,
            target=target[:120],
            detail=chain.canonical(detail or {}),
        )
    )
