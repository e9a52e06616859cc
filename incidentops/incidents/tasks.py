from __future__ import annotations

from celery import shared_task

from incidentops.incidents import grouping, lifecycle


@shared_task(ignore_result=True)
def correlate() -> None:
    """Attach whatever waits. Called on every delivery and by the sweep; safe at any time."""
    grouping.attach_pending()


@shared_task(ignore_result=True)
def wake() -> None:
    """End snoozes that are over; safe at any time."""
    lifecycle.wake_due()
