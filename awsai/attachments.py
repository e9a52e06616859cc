"""What is written in the files of an incident, read once and outside every request."""

from __future__ import annotations

from awsai import documents
from awsai.errands import SWEEP_SIZE, Errand
from awsai.gateway import Asker
from awsai.knowledge import storable
from incidentops.incidents import attachments
from incidentops.incidents.models import Attachment


def read(attachment_id: int) -> bool:
    """Read a file that nobody has read, unless another reader has it; True when this call did.

    What nobody can read is kept as unreadable, with the reason.
    """
    return _READING.attempt(attachment_id)


def _read(claimed: Attachment) -> None:
    document = documents.read(
        bytes(claimed.content),
        media_type=claimed.media_type,
        name=claimed.name,
        asker=_asker(claimed),
    )
    served = document.served
    text = storable(document.text)
    attachments.record_text(claimed, text=text, provider=served.provider, call=served.call)


def _asker(claimed: Attachment) -> Asker:
    incident = claimed.incident
    return Asker(
        incident=incident.number, severity=incident.severity, run_ref=f"attachment:{claimed.pk}"
    )


_READING = Errand(
    worker="the reader",
    claim=lambda pk, lease: attachments.claim(pk, lease=lease),
    run=_read,
    put_off=lambda claimed, reason, wait: attachments.put_off(claimed, reason=reason, wait=wait),
    give_up=lambda claimed, reason: attachments.record_unreadable(claimed, reason=reason),
)


def waiting() -> list[int]:
    """What is to be read now, the longest due first: a bounded batch."""
    due = Attachment.objects.unread().order_by("due_at", "pk")
    return list(due.values_list("pk", flat=True)[:SWEEP_SIZE])
