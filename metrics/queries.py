"""What the numbers are computed from: few columns of the incidents, in one query each."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Count

from incidentops.incidents.models import OPEN_STATUSES, Incident, Severity, Status
from metrics.windows import Window


class Resolved(NamedTuple):
    """The stamps and counts of one resolved incident."""

    detected_at: datetime
    acknowledged_at: datetime | None
    resolved_at: datetime
    reopen_count: int
    failed_action_count: int


def resolved_in(window: Window, *, origin: str) -> list[Resolved]:
    """Incidents whose last resolution lies in the window and still stands; merged ones are none."""
    rows = Incident.objects.filter(
        origin=origin,
        status__in=[Status.RESOLVED, Status.CLOSED],
        resolved_at__gte=window.since,
        resolved_at__lt=window.until,
    ).values_list(
        "detected_at", "acknowledged_at", "resolved_at", "reopen_count", "failed_action_count"
    )
    return [
        Resolved(detected_at, acknowledged_at, resolved_at, reopened, failed)
        for detected_at, acknowledged_at, resolved_at, reopened, failed in rows
        if resolved_at is not None
    ]


def in_progress(*, origin: str) -> dict[str, Any]:
    """How many incidents are open now, by status and severity. Every status and severity is named."""
    by_status = {str(status.value): 0 for status in OPEN_STATUSES}
    by_severity = {str(severity.value): 0 for severity in Severity}
    groups = (
        Incident.objects.open()
        .filter(origin=origin)
        .values_list("status", "severity")
        .annotate(count=Count("pk"))
        .order_by()
    )
    for status, severity, count in groups:
        by_status[status] += count
        by_severity[severity] += count
    return {
        "total": sum(by_status.values()),
        "by_status": by_status,
        "by_severity": by_severity,
    }
