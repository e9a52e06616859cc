"""What may be asked and what may be said: no question and no answer passes unguarded.

The local rules come first, so that no secret leaves this installation; then the guardrail of the
account, where one is configured. A guardrail that gives no verdict forbids the models it guards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings

from awsai.ports import (
    Answer,
    Assessment,
    CallFailed,
    CitedAnswer,
    Excerpt,
    Excerpts,
    Guard,
    Passage,
    Question,
    Recollection,
    Trouble,
)
from awsai.providers import provider
from awsai.providers.local.sentences import visible
from awsai.schemas import parsed

BLOCKED = "Guard"


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """The question as it may be asked; of the local provider alone when `is_closed`."""

    question: Question
    notes: tuple[str, ...] = ()
    is_closed: bool = False


def guard_question(question: Question, *, may_leave: bool) -> Guarded:
    """Mask what must not be seen; the account's guardrail is asked when the question may leave.

    Raises:
        CallFailed: BLOCKED, the question may not be asked of anybody.
    """
    passages, notes = _checked(provider("local").guard(), question.passages)
    guarded = Guarded(question=replace(question, passages=passages), notes=notes)
    if not (may_leave and _has_guardrail()):
        return guarded
    try:
        passages, more = _checked(provider().guard(), passages)
    except CallFailed as failed:
        if failed.code == BLOCKED:
            raise
        why = f"The guardrail gave no verdict ({failed}): no model may be asked."
        return replace(guarded, notes=(*notes, why), is_closed=True)
    return Guarded(question=replace(question, passages=passages), notes=(*notes, *more))


def guard_answer(answer: Answer) -> Answer:
    """Mask what must not be told.

    Raises:
        CallFailed: BLOCKED, it may not be told; else the guardrail gave no verdict, with its trouble.
    """
    if not answer.text:
        # The end of a session is answered without a word, and a guardrail takes no empty text.
        return answer
    rules = provider("local").guard()
    guards = [rules]
    if answer.served.provider != "local" and _has_guardrail():
        guards.append(provider().guard())
    text = answer.text
    for guard in guards:
        text = _allowed(guard.check(text, direction="output"), "answer").text
    data = answer.data if text == answer.text else parsed(text)
    if data is not None:
        # JSON can spell any letter as \u0041, which no rule reads in the text.
        plain = _each_string(
            data, lambda one: _allowed(rules.check(one, direction="output"), "answer").text
        )
        text, data = (text if plain == data else json.dumps(plain)), plain
    return answer if text == answer.text else replace(answer, text=text, data=data)


def guard_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """The texts as they may leave this installation: masked, without what people cannot see.

    Invisible characters could cut a secret into parts that no mask finds.

    Raises:
        CallFailed: BLOCKED, one of them may not.
    """
    rules = provider("local").guard()
    checked = (rules.check(visible(text), direction="input") for text in texts)
    return tuple(_allowed(one, "question").text for one in checked)


def guard_facts(facts: Sequence[Passage]) -> tuple[Passage, ...]:
    """The facts as they may be told an assistant, without those that may not.

    Anybody can write into an alert or a file what the guard forbids: that must not keep people from
    asking about the rest.
    """
    rules = provider("local").guard()
    checked = [(fact, rules.check(visible(fact.text), direction="input")) for fact in facts]
    return tuple(replace(fact, text=one.text) for fact, one in checked if one.is_allowed)


def guard_excerpts(excerpts: Excerpts) -> Excerpts:
    """Mask what must not be told in what was found, and leave out what may not be told at all."""
    return replace(excerpts, found=_tellable(excerpts.found))


def guard_cited(answer: CitedAnswer) -> CitedAnswer:
    """As `guard_answer`; the service itself applies the account's guardrail to such an answer.

    Raises:
        CallFailed: BLOCKED, it may not be told.
    """
    rules = provider("local").guard()
    text = _allowed(rules.check(answer.text, direction="output"), "answer").text
    return replace(answer, text=text, cited=_tellable(answer.cited))


def guard_recollection(recollection: Recollection) -> Recollection:
    """As `guard_excerpts`, for what was kept of earlier sessions."""
    rules = provider("local").guard()
    checked = [
        (memory, rules.check(memory.summary, direction="output"))
        for memory in recollection.memories
    ]
    return replace(
        recollection,
        memories=tuple(
            replace(memory, summary=one.text) for memory, one in checked if one.is_allowed
        ),
    )


def _tellable(found: Sequence[Excerpt]) -> tuple[Excerpt, ...]:
    rules = provider("local").guard()
    kept = []
    for excerpt in found:
        text, title = (
            rules.check(part, direction="output") for part in (excerpt.text, excerpt.title)
        )
        if text.is_allowed and title.is_allowed:
            kept.append(replace(excerpt, text=text.text, title=title.text))
    return tuple(kept)


def _each_string(value: Any, change: Callable[[str], str]) -> Any:
    """The same JSON with every string in it changed, names of members too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_string(item, change) for item in value]
    if isinstance(value, dict):
        return {change(name): _each_string(item, change) for name, item in value.items()}
    return value


def may_stream(*, is_local: bool) -> bool:
    """Whether words may be shown before the whole answer was guarded.

    Local answers quote guarded passages; models are guarded on the way by the account's guardrail.
    """
    return is_local or _has_guardrail()


def _has_guardrail() -> bool:
    return settings.AWSAI_PROVIDER != "local" and bool(settings.AWS_GUARDRAIL_ID)


def _checked(
    guard: Guard, passages: Sequence[Passage]
) -> tuple[tuple[Passage, ...], tuple[str, ...]]:
    """The passages as the guard lets them through, checked in one call, and what it masked."""
    if not passages:
        return (), ()
    mark = _mark(passages)
    joined = "".join(f"{mark}\n{passage.text}\n" for passage in passages)
    assessment = _allowed(guard.check(joined, direction="input"), "question")
    _, *texts = ("\n" + assessment.text.removesuffix("\n")).split(f"\n{mark}\n")
    if len(texts) != len(passages):
        raise CallFailed(Trouble.BLOCKED, "The guard lost a passage.", code=BLOCKED)
    kept = tuple(replace(passage, text=text) for passage, text in zip(passages, texts, strict=True))
    found = ", ".join(assessment.reasons)
    return kept, ((f"The guard found {found} in the evidence.",) if found else ())


def _mark(passages: Sequence[Passage]) -> str:
    """A line that no passage contains, since it is made from all of them."""
    content = "\x00".join(f"{passage.id}\x00{passage.text}" for passage in passages)
    return f"[passage {hashlib.sha256(content.encode('utf-8', 'replace')).hexdigest()[:16]}]"


def _allowed(assessment: Assessment, what: str) -> Assessment:
    if not assessment.is_allowed:
        why = ", ".join(assessment.reasons) or "no reason given"
        raise CallFailed(Trouble.BLOCKED, f"The guard forbids the {what}: {why}.", code=BLOCKED)
    return assessment
