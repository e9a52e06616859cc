from __future__ import annotations

from celery import shared_task

from incidentops.notifications import delivery


@shared_task
def retry() -> None:
    delivery.retry_due()
