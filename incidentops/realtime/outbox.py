"""Publish an event inside the transaction that makes it true."""

from __future__ import annotations

from django.db import transaction
from django.utils.timezone import now

from incidentops.realtime.events import Event
from incidentops.realtime.models import OutboxEvent


def publish(event: Event) -> OutboxEvent:
    """Store the event with the caller's transaction and wake the relay once it has committed.

    Raises:
        TransactionManagementError: there is no transaction, so the event could outlive its cause.
    """
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("publish() needs a transaction")
    return OutboxEvent.objects.create(
        type=event.type, version=event.version, data=event.data(), at=now()
    )
