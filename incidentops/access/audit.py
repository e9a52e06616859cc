"""The hash-chained record of who changed what."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.timezone import now

from incidentops.access.models import AuditEntry, AuditHead


def record(
    action: str, *, actor: object, target: str, detail: dict[str, Any] | None = None
) -> AuditEntry:
    """Append an entry with the caller's transaction.

    `actor` is a user, a token or the word for a part of the system ("agent:resolution");
    `target` names the row ("incident:12"). `detail` must be JSON and free of secrets.

    The head row stays locked until the transaction ends: record last, and only state changes by
    people and the swarm.
    """
    with transaction.atomic():
        AuditHead.objects.get_or_create(pk=1)
        head = AuditHead.objects.select_for_update().get(pk=1)
        entry = AuditEntry(
            sequence=head.sequence + 1,
            at=now(),
            actor=str(actor)[:120],
            action=action,
            target=target[:120],
            detail=detail or {},
            previous_hash=head.hash,
        )
        entry.hash = digest(entry)
        entry.save(force_insert=True)
        head.sequence, head.hash = entry.sequence, entry.hash
        head.save(update_fields=["sequence", "hash"])
    return entry


def digest(entry: AuditEntry) -> str:
    """The hash this entry must carry, from its own columns and the previous hash."""
    body = json.dumps(
        {
            "sequence": entry.sequence,
            "at": _instant(entry.at),
            "actor": entry.actor,
            "action": entry.action,
            "target": entry.target,
            "detail": entry.detail,
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    )
    return hashlib.sha256((entry.previous_hash + body).encode()).hexdigest()


def _instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
