"""What people ask about an incident, answered by the assistant outside of every request.

The assistant is given what is known of the incident as data and answers in words, which are shown and
do nothing else. A session lasts as long as its incident; its memory is that of the service, so at the
next incident of that service it is known what came of this one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from django.db.models import QuerySet
from django.db.models.functions import Now

from awsai import gateway, guarding
from awsai.errands import SWEEP_SIZE, Errand
from awsai.gateway import Asker
from awsai.knowledge import passages, storable
from awsai.models import Conversation, Knowledge
from awsai.ports import CallFailed, Passage, Trouble
from incidentops.incidents import briefing, claims, questions
from incidentops.incidents.briefing import Fact
from incidentops.incidents.models import Incident, Question
from incidentops.incidents.questions import Source
from incidentops.incidents.similarity import Bm25

MOST_FACTS = 90
MOST_ATTACHED = 6
LONGEST_FACT = 1200
# The page has the last answers whole, and is sent anew with every change.
LONGEST_ANSWER = 8000
# Of what a session ends with: a local memory keeps no more of one turn.
LONGEST_ENDING = 3500

_PLAIN = re.compile(r"[0-9a-zA-Z._:-]{1,80}")
_CITED = re.compile(r"\[([\w.:#/-]{1,200})\]")
_REMEMBERED = re.compile(r"memory-incident:(\d+):\d+")
_LEARNT = re.compile(r"(lesson|runbook|page):(.+)#\d+")


# --- Answering ---------------------------------------------------------------------------------


def answer(question_id: int) -> bool:
    """Answer a question that waits, unless somebody else does; True when this call did.

    What nobody can answer is kept as failed, with the reason.
    """
    return _ANSWERING.attempt(question_id)


def waiting() -> list[int]:
    """What is to be answered now, the longest due first: a bounded batch."""
    due = Question.objects.unanswered().order_by("due_at", "pk")
    return list(due.values_list("pk", flat=True)[:SWEEP_SIZE])


def _answer(claimed: Question) -> None:
    incident = claimed.incident
    facts = _about(briefing.facts(incident), claimed.text)
    session = _session_of(incident)
    notes: list[str] = []
    answered = gateway.say(
        claimed.text,
        session_id=session.session_id,
        memory_id=session.memory_id,
        asker=_asker(incident, f"question:{claimed.pk}"),
        facts=_as_passages(facts),
        on_note=notes.append,
    )
    text, served = storable(answered.text).strip(), answered.served
    if not text:
        raise CallFailed(Trouble.BROKEN, "The answer has no words.", service=served.service)
    questions.record_answer(
        claimed,
        text=text if len(text) <= LONGEST_ANSWER else f"{text[: LONGEST_ANSWER - 1]}…",
        sources=list(_sources(text, facts)),
        provider=served.provider,
        call=served.call,
        note=storable(" ".join(notes)),
    )


_ANSWERING = Errand(
    worker="whoever was to answer",
    claim=lambda pk, lease: questions.claim(pk, lease=lease),
    run=_answer,
    put_off=lambda claimed, reason, wait: questions.put_off(claimed, reason=reason, wait=wait),
    give_up=lambda claimed, reason: questions.record_failure(claimed, reason=reason),
)


def _asker(incident: Incident, run: str) -> Asker:
    return Asker(incident=incident.number, severity=incident.severity, run_ref=run)


# --- What the assistant is told ----------------------------------------------------------------


def _about(facts: Iterable[Fact], question: str) -> list[Fact]:
    """The facts, bounded: of the texts of files the passages closest to the question."""
    short: list[Fact] = []
    stretches: list[Fact] = []
    beginnings: list[Fact] = []
    for fact in facts:
        parts = passages(fact.text)
        if len(parts) < 2:
            short.append(fact)
            continue
        of_fact = [
            Fact(id=f"{fact.id}.{place}", text=part, source=fact.source, uri=fact.uri)
            for place, part in enumerate(parts, start=1)
        ]
        beginnings.append(of_fact[0])
        stretches += of_fact
    matches = Bm25([one.text for one in stretches]).most_similar(question, limit=MOST_ATTACHED)
    closest = [stretches[match.index] for match in matches]
    # What no word of the question finds may still be what it asks for.
    chosen = closest or beginnings[:MOST_ATTACHED]
    return [*short[: MOST_FACTS - len(chosen)], *chosen]


def _as_passages(facts: Iterable[Fact]) -> tuple[Passage, ...]:
    return tuple(
        Passage(id=fact.id, text=storable(fact.text)[:LONGEST_FACT], source=fact.source)
        for fact in facts
    )


# --- What an answer cites ----------------------------------------------------------------------


def _sources(text: str, facts: Sequence[Fact]) -> Iterator[Source]:
    """What the ids in square brackets stand for; what stands for nothing is no source."""
    known = {fact.id: fact for fact in facts}
    for id_ in dict.fromkeys(_CITED.findall(text)):
        if fact := known.get(id_):
            yield Source(id=id_, title=storable(fact.source)[:300], uri=fact.uri)
        elif remembered := _REMEMBERED.fullmatch(id_):
            number = remembered[1]
            title = f"what was said about incident #{number}"
            yield Source(id=id_, title=title, uri=f"/incidents/{number}/")
        elif learnt := _LEARNT.fullmatch(id_):
            row = Knowledge.objects.filter(kind=learnt[1], ref=learnt[2]).first()
            if row is not None:
                yield Source(id=id_, title=f"{row.kind} {row.title}"[:300], uri=row.uri)


# --- Sessions and what is remembered of them ---------------------------------------------------


def _session_of(incident: Incident) -> Conversation:
    """The session of an incident; one that was reopened has another, as the one before has ended."""
    session, _ = Conversation.objects.get_or_create(
        incident=incident,
        cycle=incident.reopen_count,
        defaults={"memory_id": memory_of(incident), "due_at": Now()},
    )
    return session


def memory_of(incident: Incident) -> str:
    """The name of the memory: that of the service, or the incident's own when it names none."""
    if not incident.service:
        return f"incident:{incident.number}"
    name = incident.service
    if not _PLAIN.fullmatch(name):
        name = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
    return f"{incident.origin}:{name}"


def end(conversation_id: int) -> bool:
    """End the session of an incident that was closed, unless somebody else does or did.

    Its last words say what the incident was and what came of it: that is what is remembered.
    """
    return _ENDING.attempt(conversation_id)


def ending(number: int | None = None) -> list[int]:
    """Sessions that are to end now, of one incident or of all: a bounded batch."""
    due = Conversation.objects.to_end().order_by("due_at", "pk")
    if number is not None:
        due = due.filter(incident=number)
    return list(due.values_list("pk", flat=True)[:SWEEP_SIZE])


def _claim(conversation_id: int, lease: timedelta) -> Conversation | None:
    if not claims.claim(Conversation.objects.to_end(), conversation_id, lease=lease):
        return None
    rows = Conversation.objects.select_related("incident__assignee")
    return rows.filter(pk=conversation_id).first()


def _end(claimed: Conversation) -> None:
    incident = claimed.incident
    gateway.say(
        _last_words(incident),
        session_id=claimed.session_id,
        memory_id=claimed.memory_id,
        asker=_asker(incident, f"conversation:{claimed.pk}"),
        ends=True,
    )
    _open(claimed).update(state=Conversation.State.ENDED, ended_at=Now(), reason="")


def _give_up(claimed: Conversation, reason: str) -> None:
    """The assistant forgets an idle session by itself; nothing else waits for its end."""
    _open(claimed).update(state=Conversation.State.FAILED, reason=reason)


def _open(claimed: Conversation) -> QuerySet[Conversation]:
    return claims.held(Conversation.objects.filter(state=Conversation.State.OPEN), claimed)


def _last_words(incident: Incident) -> str:
    """What lasts of what is known, as far as a memory keeps it."""
    lasting = _as_passages(fact for fact in briefing.facts(incident) if fact.lasts)
    text = ""
    for fact in guarding.guard_facts(lasting):
        if len(text) + len(fact.text) < LONGEST_ENDING:
            text += f"{fact.text}\n"
    return text


_ENDING = Errand(
    worker="whoever was to end the session",
    claim=_claim,
    run=_end,
    put_off=lambda claimed, reason, wait: claims.put_off(
        Conversation.objects.all(), claimed, reason=reason, wait=wait
    ),
    give_up=_give_up,
)
