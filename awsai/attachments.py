"""What is written in the files of an incident, read once and outside every request.

The claim in the database counts attempts and decides the next one; messages only wake a reader.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings

from awsai import documents
from awsai.gateway import Asker
from awsai.knowledge import storable
from awsai.ports import CallFailed
from incidentops.incidents import attachments
from incidentops.incidents.models import Attachment

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 5
# A task is dead before its lease ends.
LEASE = timedelta(seconds=settings.CELERY_TASK_TIME_LIMIT + 30)
FIRST_WAIT = timedelta(seconds=15)
SWEEP_SIZE = 20


def read(attachment_id: int) -> bool:
    """Read a file that nobody has read, unless another reader has it; True when this call did."""
    claimed = attachments.claim(attachment_id, lease=LEASE)
    if claimed is None:
        return False
    if claimed.attempts > MOST_ATTEMPTS:
        reason = f"Given up: the reader was lost in each of {MOST_ATTEMPTS} attempts."
        attachments.record_unreadable(claimed, reason=reason)
        return True
    try:
        document = documents.read(
            bytes(claimed.content),
            media_type=claimed.media_type,
            name=claimed.name,
            asker=_asker(claimed),
        )
    except CallFailed as failed:
        _record_failure(claimed, failed)
    else:
        served = document.served
        text = storable(document.text)
        attachments.record_text(claimed, text=text, provider=served.provider, call=served.call)
    return True


def _asker(claimed: Attachment) -> Asker:
    incident = claimed.incident
    return Asker(
        incident=incident.number, severity=incident.severity, run_ref=f"attachment:{claimed.pk}"
    )


def _record_failure(claimed: Attachment, failed: CallFailed) -> None:
    log.warning("Attachment %s was not read (%s): %s", claimed.pk, claimed.attempts, failed)
    reason = storable(str(failed))
    if failed.may_pass and claimed.attempts < MOST_ATTEMPTS:
        wait = FIRST_WAIT * 2 ** (claimed.attempts - 1)
        attachments.put_off(claimed, reason=reason, wait=wait)
    else:
        attachments.record_unreadable(claimed, reason=reason)


def waiting() -> list[int]:
    """What is to be read now, the longest due first: a bounded batch."""
    due = Attachment.objects.unread().order_by("due_at", "pk")
    return list(due.values_list("pk", flat=True)[:SWEEP_SIZE])
