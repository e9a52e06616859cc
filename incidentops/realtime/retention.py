"""Forget events that no cursor needs any more."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Max, Q
from django.utils.timezone import now

from incidentops.realtime.models import OutboxEvent

KEPT_FOR = timedelta(hours=24)
KEPT_EVENTS = 500_000
BATCH = 500
# About an hour and a half of redelivery.
HOPELESS = 20


def prune(*, batch: int = BATCH) -> int:
    """Delete the oldest handled, or hopeless, events past their time or number, with their entries; how many.

    A client whose cursor is older is answered with a snapshot. The heads stay: positions go on.
    """
    newest = OutboxEvent.objects.aggregate(newest=Max("pk"))["newest"]
    if newest is None:
        return 0
    # By id alone: a condition on the time would read the whole table while nothing is old enough.
    oldest = (
        OutboxEvent.objects.filter(Q(handled_at__isnull=False) | Q(attempts__gte=HOPELESS))
        .order_by("pk")
        .values_list("pk", "at")[:batch]
    )
    expired_before = now() - KEPT_FOR
    ids = [pk for pk, at in oldest if at < expired_before or pk <= newest - KEPT_EVENTS]
    if ids:
        OutboxEvent.objects.filter(pk__in=ids).delete()
    return len(ids)
