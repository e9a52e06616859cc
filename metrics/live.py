"""Keep the numbers on the sockets current."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils.timezone import now

from incidentops.incidents.models import Incident
from incidentops.realtime import outbox
from metrics import kpis, queries
from metrics.events import KpisUpdated
from metrics.models import PublishedKpis

WINDOW = "7d"
ORIGIN = Incident.Origin.LIVE.value
# Unchanged numbers are published anew at this age, so that the shown window does not fall behind.
LONGEST_SILENCE = timedelta(minutes=5)


def refresh() -> bool:
    """Compute the live numbers and publish them if they changed; True when they were published."""
    at = now()
    content = {
        "kpis": kpis.compute(WINDOW, ORIGIN, at=at),
        "in_progress": queries.in_progress(origin=ORIGIN),
    }
    with transaction.atomic():
        row, is_new = PublishedKpis.objects.select_for_update().get_or_create(
            window=WINDOW, origin=ORIGIN, defaults={"computed_at": at}
        )
        if not is_new and not _is_news(row, content, at - row.computed_at):
            return False
        row.version, row.content, row.computed_at = row.version + 1, content, at
        row.save()
        outbox.publish(KpisUpdated(version=row.version, **content))
    return True


def _is_news(row: PublishedKpis, content: dict[str, Any], age: timedelta) -> bool:
    """False also for numbers older than those published: another worker was quicker."""
    if age <= timedelta(0):
        return False
    return age >= LONGEST_SILENCE or _values(content) != _values(row.content)


def _values(content: dict[str, Any]) -> tuple[Any, Any]:
    """What is shown but for the window's ends, which move with every second."""
    return content["kpis"]["kpis"], content["in_progress"]


def published(part: str) -> Any:
    """A part of the topic as last published; computed first when it never was."""
    row = PublishedKpis.objects.filter(window=WINDOW, origin=ORIGIN).first()
    if row is None:
        refresh()
        row = PublishedKpis.objects.get(window=WINDOW, origin=ORIGIN)
    return row.content[part]
