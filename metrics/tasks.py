from __future__ import annotations

from celery import shared_task
from django.core.cache import cache

from metrics import live

SCHEDULED = "metrics:refresh-scheduled"


@shared_task
def refresh() -> None:
    # Before reading: what changes from here on asks for another refresh.
    cache.delete(SCHEDULED)
    live.refresh()


def schedule_refresh() -> None:
    """Refresh in a second, once for all the changes until then."""
    if cache.add(SCHEDULED, 1, timeout=5):
        refresh.apply_async(countdown=1, expires=60)
