from __future__ import annotations

from celery import shared_task

from incidentops.incidents import grouping


@shared_task(ignore_result=True)
def correlate() -> None:
    """Attach whatever waits. Called on every delivery and by the sweep; safe at any time."""
    grouping.attach_pending()
