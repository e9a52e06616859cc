"""Questions that people ask about an incident: kept, handed to whoever answers, and shown.

Nothing on this floor can answer. Who answers, above, takes a question by `claim` and tells how it
ended by `record_answer`, `record_failure` or `put_off`. An answer is shown and does nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TypedDict

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from incidentops.incidents import claims, lifecycle
from incidentops.incidents.models import Incident, Question

LONGEST = 2000
MOST_WAITING = 5
ASKED, ANSWERED = "question.asked", "question.answered"


class Source(TypedDict):
    """What an answer cites: the fact's id in the answer, where it comes from, where to see it."""

    id: str
    title: str
    uri: str


class Refused(Exception):
    """The question is not taken. Nothing has changed."""


class TooMany(Refused):
    """As many questions wait as may wait."""


def ask(incident: Incident, *, text: str, by: object) -> Question:
    """Keep a question; whoever answers learns of it by the event.

    Raises:
        Refused: it is empty or too long, or too many wait.
    """
    text = text.strip()
    if not 0 < len(text) <= LONGEST:
        raise Refused(f"A question has 1 to {LONGEST} characters.")
    with transaction.atomic():
        incident = lifecycle.lock(incident)
        if _waiting().filter(incident=incident).count() >= MOST_WAITING:
            raise TooMany(
                f"{MOST_WAITING} questions about incident {incident.number} wait for their answer, "
                f"which is the most."
            )
        question = Question.objects.create(
            incident=incident, text=text, asked_by=str(by)[:120], due_at=Now()
        )
        detail = {"question": question.pk}
        lifecycle.commit(incident, ASKED, f"{by} asked: {text}", by=by, detail=detail)
    return question


# --- For whoever answers -----------------------------------------------------------------------


def claim(question_id: int, *, lease: timedelta) -> Question | None:
    """Take a waiting question for as long as the lease; None when there is nothing to do."""
    if not claims.claim(Question.objects.unanswered(), question_id, lease=lease):
        return None
    return Question.objects.select_related("incident__assignee").filter(pk=question_id).first()


def record_answer(
    claimed: Question,
    *,
    text: str,
    sources: Sequence[Source],
    provider: str,
    call: int | None,
    note: str = "",
) -> bool:
    """Keep the answer; False when the claim was lost meanwhile.

    `note` says what people should know of how it came about.
    """
    return _finish(
        claimed,
        ANSWERED,
        f"A question of {claimed.asked_by} was answered.",
        state=Question.State.ANSWERED,
        answer=text,
        sources=list(sources),
        provider=provider,
        call=call,
        note=note,
        reason="",
        answered_at=Now(),
    )


def record_failure(claimed: Question, *, reason: str) -> bool:
    """Keep why nobody answers it; False as in `record_answer`."""
    return _finish(
        claimed,
        "question.failed",
        f"A question of {claimed.asked_by} was not answered: {reason}",
        state=Question.State.FAILED,
        reason=reason,
    )


def put_off(claimed: Question, *, reason: str, wait: timedelta) -> None:
    """Have it answered again after a while; `reason` says what was in the way."""
    claims.put_off(_waiting(), claimed, reason=reason, wait=wait)


def _waiting() -> QuerySet[Question]:
    return Question.objects.filter(state=Question.State.WAITING)


def _finish(claimed: Question, kind: str, told: str, **fields: object) -> bool:
    with transaction.atomic():
        incident = lifecycle.lock(claimed.incident)
        if not claims.held(_waiting(), claimed).update(**fields):
            return False
        detail = {"question": claimed.pk}
        lifecycle.commit(incident, kind, told, by=lifecycle.ANSWERING, detail=detail)
    return True
