"""Write an incident's story."""

from __future__ import annotations

from typing import Any

from incidentops.incidents.models import Incident, TimelineEntry


def tell(
    incident: Incident, kind: str, text: str, *, actor: object, detail: dict[str, Any] | None = None
) -> TimelineEntry:
    """Append an entry with the caller's transaction.

    `text` is a sentence for people; `actor` as in `audit.record`.
    """
    return TimelineEntry.objects.create(
        incident=incident, kind=kind, text=text, actor=str(actor)[:120], detail=detail or {}
    )
