"""Telemetry is kept for as long as responses need it, then deleted in small bites."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.utils.timezone import now

from incidentops.telemetry.models import LogLine, Sample, Series

SAMPLES_KEPT = timedelta(days=14)
LOGS_KEPT = timedelta(days=7)
BATCH = 5000
BATCHES = 20


def prune(*, at: datetime | None = None, batches: int = BATCHES) -> dict[str, int]:
    """Delete what is past its time, at most `batches` bites of each kind; returns how many rows.

    Series without samples go with their last ones, so a service's room for new series comes back.
    """
    at = at or now()
    empty = Series.objects.filter(
        ~Exists(Sample.objects.filter(series=OuterRef("pk"))),
        created_at__lt=at - timedelta(hours=1),
    )
    return {
        "samples": _delete(Sample.objects.filter(at__lt=at - SAMPLES_KEPT), batches),
        "logs": _delete(LogLine.objects.filter(at__lt=at - LOGS_KEPT), batches),
        "series": _delete(empty, batches),
    }


def _delete(rows: QuerySet[Any], batches: int) -> int:
    deleted = 0
    for _ in range(batches):
        bite = list(rows.values_list("pk", flat=True)[:BATCH])
        if not bite:
            break
        deleted += rows.filter(pk__in=bite).delete()[0]
    return deleted
