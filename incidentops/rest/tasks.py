from __future__ import annotations

from celery import shared_task

from incidentops.rest import idempotency


@shared_task
def prune() -> None:
    idempotency.prune()
