"""Files that people add to an incident: kept, handed to whoever reads them, and deleted.

Nothing on this floor can read a file. A reader above takes one by `claim` and tells how it ended by
`record_text`, `record_unreadable` or `put_off`.
"""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from incidentops.incidents import claims, lifecycle
from incidentops.incidents.models import Attachment, Incident
from incidentops.rest.uploads import MOST_BYTES

MOST = 20
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
ADDED = "attachment.added"


class Refused(Exception):
    """The file is not taken. Nothing has changed."""


class TooMany(Refused):
    """The incident has as many attachments as it may have."""


def add(
    incident: Incident, *, name: str, media_type: str, content: bytes, note: str = "", by: object
) -> Attachment:
    """Keep a file with the incident; whoever reads files learns of it by the event.

    Raises:
        Refused: it is empty or too large, or there are too many.
    """
    if not 0 < len(content) <= MOST_BYTES:
        raise Refused(f"A file has 1 to {MOST_BYTES} bytes.")
    with transaction.atomic():
        incident = lifecycle.lock(incident)
        if incident.attachments.count() >= MOST:
            raise TooMany(f"Incident {incident.number} has {MOST} attachments, which is the most.")
        attachment = Attachment.objects.create(
            incident=incident,
            name=name[:255],
            media_type=media_type[:255] if _MEDIA_TYPE.fullmatch(media_type) else "",
            note=note[:1000],
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            content=content,
            added_by=str(by)[:120],
            due_at=Now(),
        )
        text = f"{attachment.name} was attached by {by}." + (f" {note}" if note else "")
        lifecycle.commit(incident, ADDED, text, by=by, detail=_detail(attachment))
    return attachment


def delete(attachment: Attachment, *, by: object) -> Incident:
    """Delete a file and what was read in it; that it was there stays in timeline and audit.

    Raises:
        Attachment.DoesNotExist: somebody was faster.
    """
    with transaction.atomic():
        incident = lifecycle.lock(attachment.incident)
        attachment = Attachment.objects.defer("content", "text").get(pk=attachment.pk)
        detail = _detail(attachment)
        attachment.delete()
        text = f"The attachment {attachment.name} was deleted by {by}."
        lifecycle.commit(incident, "attachment.deleted", text, by=by, detail=detail)
    return incident


def _detail(attachment: Attachment) -> dict[str, Any]:
    return {
        "attachment": attachment.pk,
        "name": attachment.name,
        "size": attachment.size,
        "sha256": attachment.sha256,
    }


# --- For whoever reads them -------------------------------------------------------------------


def claim(attachment_id: int, *, lease: timedelta) -> Attachment | None:
    """Take an unread attachment for as long as the lease; None when there is nothing to do."""
    if not claims.claim(Attachment.objects.unread(), attachment_id, lease=lease):
        return None
    rows = Attachment.objects.select_related("incident").defer("text")
    return rows.filter(pk=attachment_id).first()


def record_text(claimed: Attachment, *, text: str, provider: str, call: int | None) -> bool:
    """Keep what was read; False when the claim was lost or the attachment deleted meanwhile."""
    characters = f"{len(text):,} character" + ("" if len(text) == 1 else "s")
    return _finish(
        claimed,
        "attachment.read",
        f"{claimed.name} was read: {characters}.",
        state=Attachment.State.READ,
        text=text,
        reason="",
        provider=provider,
        call=call,
        read_at=Now(),
    )


def record_unreadable(claimed: Attachment, *, reason: str) -> bool:
    """Keep why nobody can read it; False as in `record_text`."""
    return _finish(
        claimed,
        "attachment.unreadable",
        f"{claimed.name} cannot be read: {reason}",
        state=Attachment.State.UNREADABLE,
        reason=reason,
    )


def put_off(claimed: Attachment, *, reason: str, wait: timedelta) -> None:
    """Have it read again after a while; `reason` says what was in the way."""
    claims.put_off(_pending(), claimed, reason=reason, wait=wait)


def _pending() -> QuerySet[Attachment]:
    return Attachment.objects.filter(state=Attachment.State.PENDING)


def _finish(claimed: Attachment, kind: str, told: str, **fields: object) -> bool:
    with transaction.atomic():
        incident = lifecycle.lock(claimed.incident)
        if not claims.held(_pending(), claimed).update(**fields):
            return False
        detail = {"attachment": claimed.pk}
        lifecycle.commit(incident, kind, told, by=lifecycle.READING, detail=detail)
    return True
