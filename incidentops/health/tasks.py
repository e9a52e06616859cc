"""What beat asks of health."""

from __future__ import annotations

from celery import shared_task

from incidentops.health import bulletin


@shared_task
def publish() -> None:
    bulletin.publish()
