from __future__ import annotations

from celery import shared_task

from incidentops.telemetry import retention


@shared_task
def prune() -> None:
    retention.prune()
