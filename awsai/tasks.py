from __future__ import annotations

import logging

from celery import shared_task

from awsai import attachments, health, ledger, payloads, refresh
from awsai.ports import CallFailed

log = logging.getLogger(__name__)

# A wake-up that nobody took by the next sweep is sent again by that.
SWEEP_SECONDS = 15


@shared_task
def reconcile() -> None:
    ledger.reconcile()


@shared_task
def publish_health() -> None:
    health.publish()


@shared_task
def forget_payloads() -> None:
    payloads.forget_expired()


@shared_task
def sync_catalogue() -> None:
    if not refresh.is_possible():
        return
    try:
        refresh.sync_catalogue()
    except CallFailed as failed:
        # Tomorrow is another day; until then the catalogue is as old as it says.
        log.warning("The catalogue was not synced: %s", failed)


@shared_task
def refresh_prices() -> None:
    if not refresh.is_possible():
        return
    try:
        refresh.draft_prices()
    except CallFailed as failed:
        log.warning("No prices were fetched: %s", failed)


@shared_task
def read_attachment(attachment_id: int) -> None:
    attachments.read(attachment_id)


@shared_task
def read_attachments() -> None:
    """Wake readers for what was put off, and for what lost messages and dead readers left."""
    for attachment_id in attachments.waiting():
        read_attachment.apply_async(args=(attachment_id,), expires=SWEEP_SECONDS, retry=False)
