"""The one way to an AI service: guard, route, reserve, call, settle; the ledger sees every call.

Whoever asks gets an answer from somebody: from the model that is worth its price for this task, else
from one that stands in, at last from the algorithms of this installation. Only what a guard forbids,
and what nobody at all can answer, is an error. Nothing here knows AWS: providers do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Protocol, TypeVar

from django.conf import settings
from django.utils.timezone import now

from awsai import (
    budgets,
    guarding,
    ledger,
    prices,
    pricing,
    purpose,
    router,
    routes,
    schemas,
    tokens,
)
from awsai.breaker import Target, breakers
from awsai.models import Outcome
from awsai.models.routes import OutcomeKind
from awsai.ports import (
    Answer,
    CallFailed,
    CitedAnswer,
    Document,
    Excerpt,
    Excerpts,
    Passage,
    Provider,
    ProviderName,
    Question,
    Recollection,
    Sentiments,
    Served,
    Trouble,
    Usage,
)
from awsai.prompts import system_text, user_text
from awsai.providers import provider
from awsai.router import Candidate, Level, Request, Residency

log = logging.getLogger(__name__)

# Well below the time limit of a task, whatever the cascade tries.
ANSWER_WITHIN_SECONDS = 120.0
LOCAL: ProviderName = "local"
Q_BUSINESS = "q-business"
OVER_BUDGET = "OverBudget"
LEFT_ALONE = "BreakerOpen"


@dataclass(frozen=True, kw_only=True)
class Asker:
    """For whom: what is spent counts for the day, this incident and this run."""

    incident: int | None = None
    severity: str = "medium"
    agent: str = ""
    run_ref: str = ""

    def serving(self) -> AbstractContextManager[Any]:
        return purpose.serving(
            incident=self.incident,
            severity=self.severity,
            agent=self.agent,
            run_ref=self.run_ref,
        )

    def level(self) -> Level:
        """What the budgets leave this asker to ask."""
        return budgets.level(
            day=now().date(), incident=self.incident, run=self.run_ref, severity=self.severity
        )


@dataclass(frozen=True, kw_only=True)
class Reply:
    """`notes` say, in sentences for people, what was masked, and who was asked in vain and why."""

    answer: Answer
    decision: int
    notes: tuple[str, ...] = ()

    @property
    def provider(self) -> ProviderName:
        return self.answer.served.provider


# --- Asking a model ----------------------------------------------------------------------------


def ask(
    question: Question,
    *,
    asker: Asker,
    on_piece: Callable[[str], None] | None = None,
    is_grounded: Callable[[Answer], bool] | None = None,
) -> Reply:
    """Answer a question; the local writer answers what no model could.

    `on_piece` is given the words while they are written, and "" when they begin anew after an
    attempt that failed. `is_grounded` tells whether the evidence that an answer cites exists.

    Raises:
        CallFailed: BLOCKED, a guard forbids the question; otherwise nobody could answer it, not
            even from its own passages.
    """
    with asker.serving():
        is_remote = settings.AWSAI_PROVIDER != LOCAL
        level = asker.level() if is_remote else Level.NORMAL
        may_leave = is_remote and level is not Level.LOCAL
        guarded = guarding.guard_question(question, may_leave=may_leave)
        is_remote = is_remote and not guarded.is_closed
        input_tokens = tokens.estimate(system_text(guarded.question) + user_text(guarded.question))
        route = _route(
            guarded.question,
            asker,
            level,
            input_tokens=input_tokens,
            regions=_regions() if is_remote else (),
        )
        notes = [*guarded.notes]
        if level is not Level.NORMAL or (is_remote and route.is_local):
            notes.append(route.choice.reason)
        cascade = _Cascade(
            question=guarded.question,
            input_tokens=input_tokens,
            asker=asker,
            route=route,
            on_piece=on_piece,
            is_grounded=is_grounded,
            notes=notes,
        )
        return cascade.run()


def _route(
    question: Question, asker: Asker, level: Level, *, input_tokens: int, regions: Sequence[str]
) -> routes.Route:
    return routes.decide(
        Request(
            task=question.task,
            severity=asker.severity,
            input_tokens=tokens.rounded(input_tokens),
            max_tokens=question.max_tokens,
            needs=frozenset() if question.schema is None else frozenset({"json_schema"}),
        ),
        regions=regions,
        residency=_residency(),
        level=level,
        incident=asker.incident,
        run=asker.run_ref,
    )


def _regions() -> Sequence[str]:
    """Where models may be asked, home first. A guardrail lives in one region, so its models do."""
    elsewhere = () if settings.AWS_GUARDRAIL_ID else settings.AWS_FALLBACK_REGIONS
    return (settings.AWS_REGION, *elsewhere)


def _residency() -> Residency:
    match settings.AWSAI_RESIDENCY:
        case "global" | "in-region" as reach:
            return Residency(reach=reach, region=settings.AWS_REGION)
        case geography:
            return Residency(reach="geo", geography=geography, region=settings.AWS_REGION)


@dataclass(kw_only=True)
class _Cascade:
    """One question on its way along a route. `input_tokens` is an estimate."""

    question: Question
    input_tokens: int
    asker: Asker
    route: routes.Route
    on_piece: Callable[[str], None] | None
    is_grounded: Callable[[Answer], bool] | None
    notes: list[str]
    tried: list[Candidate] = field(default_factory=list)
    ends_at: float = field(default_factory=lambda: monotonic() + ANSWER_WITHIN_SECONDS)

    def run(self) -> Reply:
        """Ask one after the other until an answer is one to use."""
        failure = CallFailed(Trouble.UNAVAILABLE, "Nobody may be asked.")
        candidate = next(iter(self.route.choice.cascade), None)
        while candidate is not None:
            self.tried.append(candidate)
            try:
                answer = guarding.guard_answer(self._answer_of(candidate))
            except CallFailed as failed:
                failure = failed
                candidate = self._instead_of(candidate, failed)
                continue
            if why_not := self._objection(candidate, answer):
                self.notes.append(f"{candidate.model}: {why_not}")
                failure = CallFailed(Trouble.BROKEN, why_not, service=candidate.service)
                candidate = router.escalate(self.route.choice, self.tried)
                continue
            return Reply(answer=answer, decision=self.route.kept(), notes=tuple(self.notes))
        self.route.kept()
        raise failure

    def _instead_of(self, candidate: Candidate, failed: CallFailed) -> Candidate | None:
        self.notes.append(f"{candidate.model}: {failed}")
        if self.on_piece is not None:
            self.on_piece("")
        choice = self.route.choice
        if monotonic() > self.ends_at:
            return next((one for one in choice.admitted if one.is_local and one != candidate), None)
        return router.fall_back(choice, candidate, self.tried)

    def _answer_of(self, candidate: Candidate) -> Answer:
        if candidate.is_local:
            return _locally("answer", lambda local: self._read(local, candidate))
        return _remotely(
            Target(service=candidate.service, model=candidate.model, region=candidate.region),
            lambda remote: self._read(remote, candidate),
            at_most=self._ceiling(candidate),
            decision=self.route.decision,
            words=user_text(self.question),
        )

    def _read(self, who: Provider, candidate: Candidate) -> Answer:
        reasoner = who.reasoner(candidate.region)
        if self.on_piece is None or not guarding.may_stream(is_local=candidate.is_local):
            return reasoner.answer(self.question, model=candidate.model)
        for piece in reasoner.stream(self.question, model=candidate.model):
            if isinstance(piece, Answer):
                return piece
            self.on_piece(piece.text)
        raise CallFailed(Trouble.BROKEN, "The stream had no end.", service=candidate.service)

    def _objection(self, candidate: Candidate, answer: Answer) -> str:
        """Why an answer is not one to use; empty when it is. What could be checked is counted."""
        schema = self.question.schema
        faults = [] if schema is None else schemas.errors(answer.data, schema)
        if schema is not None:
            self._count(candidate, OutcomeKind.SCHEMA_VALID, is_good=not faults)
        if faults:
            return f"its answer does not fit the schema: {faults[0]}"
        if self.is_grounded is not None:
            is_grounded = self.is_grounded(answer)
            self._count(candidate, OutcomeKind.EVIDENCE_EXISTS, is_good=is_grounded)
            if not is_grounded:
                return "its answer cites evidence that does not exist"
        if not candidate.is_local and router.must_escalate(answer.stop_reason):
            return f"its answer ended with {answer.stop_reason}"
        return ""

    def _count(self, candidate: Candidate, kind: OutcomeKind, *, is_good: bool) -> None:
        if not candidate.is_local:
            routes.report_outcome(
                self.route.kept(), model=candidate.model, kind=kind, is_good=is_good
            )

    def _ceiling(self, candidate: Candidate) -> int:
        """The most a call can cost, in nano-USD: estimates of input may be a third too low."""
        rates = prices.in_force()
        if rates is None:
            return candidate.price
        most = Usage(
            tokens={"input": self.input_tokens * 4 // 3, "output": self.question.max_tokens}
        )
        cost = pricing.cost(
            most,
            service=candidate.service,
            model=candidate.model,
            region=candidate.region,
            at=now(),
            rates=rates,
        )
        return cost.nano_usd if cost.nano_usd is not None else candidate.price


# --- The other services ------------------------------------------------------------------------


def retrieve(query: str, *, asker: Asker, limit: int = 5) -> Excerpts:
    """What is known that bears on this, the best first, each under the name of who found it.

    It is looked up in the knowledge base where there is one, else in our own; and in Q Business
    beside that, if it is configured. Whoever gives no answer only leaves out its own part.

    Raises:
        CallFailed: not even our own knowledge answered.
    """
    found = _served(
        asker,
        Target(service="bedrock-knowledge-bases"),
        "retrieve",
        lambda who, texts: who.retriever().retrieve(*texts, limit=limit),
        texts=(query,),
        guard=guarding.guard_excerpts,
        is_configured=bool(settings.AWS_KNOWLEDGE_BASE_ID),
    )
    more = _of_q_business(query, asker=asker, limit=limit)
    return _merged([found] if more is None else [found, more], limit=limit)


def _of_q_business(query: str, *, asker: Asker, limit: int) -> Excerpts | None:
    with asker.serving():
        if not (settings.AWS_Q_APPLICATION_ID and settings.AWS_Q_RETRIEVER_ID):
            return None
        if not _may_leave(asker):
            return None
        try:
            return _abroad(
                Target(service=Q_BUSINESS),
                lambda who, texts: who.retriever(Q_BUSINESS).retrieve(*texts, limit=limit),
                guarding.guard_texts((query,)),
                guarding.guard_excerpts,
            )
        except CallFailed as failed:
            log.warning("Q Business found nothing, others may have: %s", failed)
            return None


def _merged(answers: Sequence[Excerpts], *, limit: int) -> Excerpts:
    """The best of each service, then the second of each; a text that both have, once.

    Scores of two services cannot be compared, so where there are two the place becomes the score.
    """
    by_place = sorted(
        (
            (place, replace(excerpt, served=answer.served))
            for answer in answers
            for place, excerpt in enumerate(answer.found)
        ),
        key=lambda pair: pair[0],
    )
    if len(answers) > 1:
        by_place = [(place, replace(one, score=1.0 / (1 + place))) for place, one in by_place]
    texts: dict[str, Excerpt] = {}
    for _, excerpt in by_place:
        texts.setdefault(excerpt.text, excerpt)
    return replace(answers[0], found=tuple(texts.values())[:limit])


def explain(query: str, *, asker: Asker, limit: int = 5) -> CitedAnswer:
    """An answer from what is known, with its sources.

    Raises:
        CallFailed: nobody answered.
    """
    return _served(
        asker,
        Target(service="bedrock-knowledge-bases"),
        "explain",
        lambda who, texts: who.retriever().answer(*texts, limit=limit),
        texts=(query,),
        guard=guarding.guard_cited,
        is_configured=bool(settings.AWS_KNOWLEDGE_BASE_ID),
    )


def sentiments(texts: Sequence[str], *, asker: Asker) -> Sentiments:
    """How each of the texts sounds.

    Raises:
        CallFailed: nobody answered.
    """
    return _served(
        asker,
        Target(service="comprehend"),
        "sentiments",
        lambda who, texts: who.text_analyst().sentiments(texts),
        texts=texts,
    )


def read_document(content: bytes, *, media_type: str, asker: Asker) -> Document:
    """The text of a document: read here where the format can be, else by Textract.

    Raises:
        CallFailed: nobody can read it.
    """
    with asker.serving():
        try:
            return _locally(
                "read", lambda local: local.document_reader().read(content, media_type=media_type)
            )
        except CallFailed as failed:
            if failed.trouble is not Trouble.REFUSED or not _may_leave(asker):
                raise
            return _remotely(
                Target(service="textract"),
                lambda who: who.document_reader().read(content, media_type=media_type),
            )


def say(
    text: str,
    *,
    session_id: str,
    memory_id: str,
    asker: Asker,
    facts: Sequence[Passage] = (),
    ends: bool = False,
    on_note: Callable[[str], None] = lambda _: None,
) -> Answer:
    """Talk to the assistant, which remembers under `memory_id` what was said in other sessions.

    What it is told is remembered, so it is guarded whoever answers. `on_note` is told in a sentence
    why the local provider answers where another was configured.

    Raises:
        CallFailed: BLOCKED, the guard forbids the text or the answer; else nobody answered.
    """
    told, known = guarding.guard_texts((text,)), guarding.guard_facts(facts)
    answer = _served(
        asker,
        Target(service="bedrock-agents"),
        "say",
        lambda who, texts: who.assistant().say(
            *texts, session_id=session_id, memory_id=memory_id, facts=known, ends_session=ends
        ),
        texts=told,
        guard=guarding.guard_answer,
        is_configured=bool(settings.AWS_AGENT_ID),
        on_note=on_note,
    )
    return guarding.guard_answer(answer) if answer.served.provider == LOCAL else answer


def recall(*, memory_id: str, asker: Asker) -> Recollection:
    return _served(
        asker,
        Target(service="bedrock-agents"),
        "recall",
        lambda who, _: who.assistant().recall(memory_id=memory_id),
        guard=guarding.guard_recollection,
        is_configured=bool(settings.AWS_AGENT_ID),
    )


# --- Calls -------------------------------------------------------------------------------------


class _HasServed(Protocol):
    """Any answer of a port: a dataclass that says who gave it."""

    @property
    def served(self) -> Served: ...


A = TypeVar("A", bound=_HasServed)


def _served(
    asker: Asker,
    target: Target,
    operation: str,
    call: Callable[[Provider, Sequence[str]], A],
    *,
    texts: Sequence[str] = (),
    guard: Callable[[A], A] = lambda answer: answer,
    is_configured: bool = True,
    on_note: Callable[[str], None] = lambda _: None,
) -> A:
    """The configured provider's answer, or the local one's when it has none or may not be asked.

    `texts` is what `call` asks with: guarded where it leaves, as it is here. A text that may not leave
    may still be answered here: else anybody could keep an incident from what is known, by writing what
    the guard forbids into an alert. `guard` guards what comes back from elsewhere.

    Raises:
        CallFailed: the local provider gave no answer either.
    """
    with asker.serving():
        if is_configured and settings.AWSAI_PROVIDER != LOCAL:
            if not _may_leave(asker):
                on_note(f"A budget is spent, so {target.service} was not asked.")
            else:
                try:
                    return _abroad(target, call, guarding.guard_texts(texts), guard)
                except CallFailed as failed:
                    log.warning("%s gave no answer, the local provider does: %s", target, failed)
                    on_note(f"{target.service} gave no answer: {failed}")
        return _locally(operation, lambda who: call(who, texts))


def _abroad(
    target: Target,
    call: Callable[[Provider, Sequence[str]], A],
    leaving: Sequence[str],
    guard: Callable[[A], A],
) -> A:
    """The configured provider's answer, guarded, to texts that were guarded."""
    return guard(_remotely(target, lambda who: call(who, leaving)))


def _may_leave(asker: Asker) -> bool:
    return settings.AWSAI_PROVIDER != LOCAL and asker.level() is not Level.LOCAL


def _remotely(
    target: Target,
    call: Callable[[Provider], A],
    *,
    at_most: int | None = None,
    **about: Any,
) -> A:
    """Ask the configured provider, if its breaker and the budgets let us.

    Raises:
        CallFailed: it gave no answer, or was not asked: BLOCKED when a limit has no room.
    """
    condition = breakers().admit(target)
    if condition.is_open:
        why = f"{target} is left alone for now: {condition.reason}"
        raise CallFailed(Trouble.UNAVAILABLE, why, code=LEFT_ALONE, service=target.service)
    serving = purpose.serving(estimated_nano_usd=at_most, **about)
    with _reported(target), serving:
        try:
            return call(provider())
        except budgets.OverBudget as over:
            raise CallFailed(
                Trouble.BLOCKED, str(over), code=OVER_BUDGET, service=target.service
            ) from over


@contextmanager
def _reported(target: Target) -> Iterator[None]:
    """Tell the breaker how it went, whatever happens: a probe that never reports keeps others away."""
    trouble: Trouble | None = Trouble.TIMEOUT
    try:
        yield
        trouble = None
    except CallFailed as failed:
        trouble = failed.trouble
        raise
    finally:
        breakers().report(target, trouble)


def _locally(operation: str, call: Callable[[Provider], A]) -> A:
    """The local provider's answer, in the ledger like any other."""
    entry = ledger.intend(service=LOCAL, operation=operation, provider=LOCAL)
    try:
        answer = call(provider(LOCAL))
    except CallFailed as failed:
        entry.settle(
            ledger.Result(outcome=ledger.outcome_of(failed.trouble), error_code=failed.code)
        )
        raise
    except BaseException:
        # Whatever it is, it goes on: but the call is over, and has its row.
        entry.settle(ledger.Result(outcome=Outcome.ABANDONED))
        raise
    served = answer.served
    row = entry.settle(
        ledger.Result(
            outcome=Outcome.SUCCEEDED, usage=served.usage, model_invoked=served.model_invoked
        )
    )
    return replace(answer, served=replace(served, call=row.sequence))  # type: ignore[type-var]  # every answer is a dataclass
