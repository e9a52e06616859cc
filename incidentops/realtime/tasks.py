from __future__ import annotations

from celery import shared_task

from incidentops.realtime import outbox, retention


@shared_task
def sweep() -> None:
    """Do what a crash, or a broker that was away, left undone."""
    outbox.relay()
    outbox.redeliver()
    retention.prune()
