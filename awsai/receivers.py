from __future__ import annotations

import logging
from typing import Any

from kombu.exceptions import OperationalError

from awsai import conversation, tasks
from incidentops.incidents import attachments, lifecycle, questions
from incidentops.incidents.events import IncidentUpdated
from incidentops.realtime.events import receives

log = logging.getLogger(__name__)


@receives(IncidentUpdated)
def read_attachment_soon(event: IncidentUpdated) -> None:
    if event.change == attachments.ADDED:
        _wake(tasks.read_attachment, event.entry["detail"]["attachment"])


@receives(IncidentUpdated)
def answer_question_soon(event: IncidentUpdated) -> None:
    if event.change == questions.ASKED:
        _wake(tasks.answer_question, event.entry["detail"]["question"])


@receives(IncidentUpdated)
def end_conversation_soon(event: IncidentUpdated) -> None:
    if event.change == lifecycle.CLOSED:
        for session in conversation.ending(event.number):
            _wake(tasks.end_conversation, session)


def _wake(task: Any, pk: int) -> None:
    try:
        task.apply_async(args=(pk,), retry=False)
    except OperationalError as error:
        # The sweep finds it in the database.
        log.warning("%s of %s waits for the sweep: %s", task.name, pk, error)
