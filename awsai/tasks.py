from __future__ import annotations

import logging

from celery import shared_task

from awsai import attachments, conversation, health, ledger, memories, payloads, refresh
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
def forget_memories() -> None:
    memories.forget_expired()


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


@shared_task
def answer_question(question_id: int) -> None:
    conversation.answer(question_id)


@shared_task
def end_conversation(conversation_id: int) -> None:
    conversation.end(conversation_id)


@shared_task
def converse() -> None:
    """As `read_attachments`, for questions that wait and sessions that are to end."""
    for question_id in conversation.waiting():
        answer_question.apply_async(args=(question_id,), expires=SWEEP_SECONDS, retry=False)
    for conversation_id in conversation.ending():
        end_conversation.apply_async(args=(conversation_id,), expires=SWEEP_SECONDS, retry=False)
