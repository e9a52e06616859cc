"""Send messages and account for every one of them.

Delivery is at least once: a notification that nobody gets is worse than one that comes twice. A
message is claimed in the database before it is handed over, so that no two workers hand it over at
one time; it goes out twice only when a worker dies between handing it over and writing that down.
"""

from __future__ import annotations

import hashlib
import logging
import re
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, F, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from incidentops.access import audit
from incidentops.notifications import transports
from incidentops.notifications.models import Notification, NotificationQuerySet
from incidentops.notifications.transports import DeliveryFailed, Message

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 6
LEASE = timedelta(seconds=60)  # longer than any transport takes
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(hours=1)
SWEEP_SIZE = 50


def send(
    *,
    key: str,
    incident_number: int | None,
    audience: str,
    subject: str,
    body: str,
    provider: str,
    held_until: datetime | None = None,
) -> list[Notification]:
    """Send one message to everybody its audience has, through every transport.

    Before `held_until` it is only stored, and sent by `retry_due` after it.

    Asking again with the same key sends nothing again and gives the same rows, as they now stand.
    A failed hand-over is recorded and tried again later by `retry_due`. An empty list means that
    nobody is configured to be told. Not to be called in a transaction: mail servers are slow.
    """
    wanted = [
        Notification(
            key=_row_key(key, transport.name, recipient),
            incident_number=incident_number,
            audience=audience,
            transport=transport.name,
            recipient=recipient,
            subject=_one_line(subject),
            body=body,
            provider=provider,
            due_at=Now(),
            held_until=held_until,
        )
        for transport in transports.transports()
        for recipient in transport.recipients(audience)
    ]
    Notification.objects.bulk_create(wanted, ignore_conflicts=True)
    rows = Notification.objects.filter(key__in=[row.key for row in wanted]).order_by("pk")
    for row in rows.filter(state=Notification.State.PENDING):
        attempt(row.pk)
    return list(rows.all())


def _row_key(key: str, transport: str, recipient: str) -> str:
    """The message's key within the column's length, and who gets it without naming them."""
    prefix = key if len(key) <= 80 else f"{key[:60]}~{_digest(key)}"
    return f"{prefix}:{_digest(f'{transport}:{recipient}')}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _one_line(subject: str) -> str:
    """A subject that cannot end its header: every control character and line break is a blank."""
    text = re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", subject).strip()
    return text if len(text) <= 250 else f"{text[:249]}…"


def attempt(notification_id: int) -> bool:
    """Hand one due message over, unless another worker has it; True when this call did."""
    row = _claim(notification_id)
    if row is None:
        return False
    try:
        _hand_over(row)
    except DeliveryFailed as failure:
        logger.warning("Notification %s failed (%s): %s", row.pk, row.attempts, failure)
        _finish(
            row,
            state=Notification.State.FAILED,
            error=str(failure)[:2000],
            due_at=_after(_wait(row.attempts)) if row.attempts < MAX_ATTEMPTS else None,
        )
    else:
        _finish(row, state=Notification.State.SENT, error="", sent_at=Now(), due_at=None)
    return True


def _claim(notification_id: int) -> Notification | None:
    """Take the message for as long as a lease; the attempt's number fences later writes."""
    claimed = (
        Notification.objects.due()
        .filter(pk=notification_id)
        .update(attempts=F("attempts") + 1, due_at=_after(LEASE))
    )
    return Notification.objects.get(pk=notification_id) if claimed else None


def _hand_over(row: Notification) -> None:
    transport = transports.find(row.transport)
    if transport is None:
        raise DeliveryFailed(f"There is no transport named {row.transport!r} any more.")
    if row.attempts > MAX_ATTEMPTS:
        raise DeliveryFailed(f"Given up: the worker was lost in each of {MAX_ATTEMPTS} attempts.")
    transport.deliver(
        Message(key=row.key, recipient=row.recipient, subject=row.subject, body=row.body)
    )


def _finish(row: Notification, **fields: object) -> None:
    """Write the outcome, unless the lease ran out and another attempt has begun."""
    Notification.objects.filter(pk=row.pk, attempts=row.attempts).exclude(
        state=Notification.State.SENT
    ).update(**fields)


def _wait(attempts: int) -> timedelta:
    doublings: int = 2 ** (attempts - 1)
    return min(FIRST_WAIT * doublings, LONGEST_WAIT)


def _after(wait: timedelta) -> Combinable:
    """An instant of the database's clock: the only one that all workers share."""
    return ExpressionWrapper(Now() + Value(wait), output_field=DateTimeField())


def retry_due() -> int:
    """Hand over what is due: failed before, or left by a worker that died. A bounded batch."""
    due = Notification.objects.due().order_by("due_at").values_list("pk", flat=True)
    return sum(attempt(pk) for pk in list(due[:SWEEP_SIZE]))


def hold(incident_number: int, *, until: datetime) -> None:
    """Keep back what is still to be sent about an incident."""
    _about(incident_number).update(held_until=until)


def release(incident_number: int) -> None:
    """Let go what was kept back; the next `retry_due` hands it over."""
    _about(incident_number).update(held_until=None)


def drop(incident_number: int, *, reason: str) -> None:
    """Send nothing of what was kept back: it is no longer true."""
    _about(incident_number).filter(held_until__gt=Now()).update(
        state=Notification.State.DROPPED, error=reason, due_at=None
    )


def _about(incident_number: int) -> NotificationQuerySet:
    return Notification.objects.waiting().filter(incident_number=incident_number)


def send_again(notification: Notification, *, by: object) -> bool:
    """Give a message that was given up a new set of attempts; False when it is not given up."""
    with transaction.atomic():
        renewed = Notification.objects.filter(
            pk=notification.pk, state=Notification.State.FAILED, due_at=None
        ).update(state=Notification.State.PENDING, attempts=0, due_at=Now())
        if renewed:
            audit.record(
                "notification.send_again", actor=by, target=f"notification:{notification.pk}"
            )
    return bool(renewed)
