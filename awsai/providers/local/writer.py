"""The evidence-bound writer: it answers with sentences of the passages, and cites each.

It is an algorithm, no model: it does not understand a question, it finds what is said about it. So
it can state nothing that no passage says and follow no instruction a passage contains. The same
question gives the same answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from awsai import prompts, schemas, tokens
from awsai.ports import Answer, CallFailed, Confidence, Piece, Question, Served, Trouble
from awsai.providers.local.filling import Limits, Unfillable, cited, fill
from awsai.providers.local.labels import label
from awsai.providers.local.ranking import WORTH_SAYING, Evidence, Sentence

SERVICE = "local-writer"
MODEL = "local/evidence-writer"
NOTHING = "Nothing is known about this: no passage speaks of it."
END, CUT = "end_turn", "max_tokens"
MOST_SENTENCES = 6
_SMALLER = (Limits(), Limits(items=3, sentences=2), Limits(items=1, sentences=1))
_PIECE = 80


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What was written, in pieces that join to the text; `passages` are the ids it rests on."""

    pieces: tuple[str, ...]
    stop_reason: str
    passages: tuple[str, ...]
    data: Any = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def write(question: Question, *, only_about: str | None = None) -> Draft:
    """`only_about` leaves out, in prose, the sentences that share no word with it.

    Raises:
        CallFailed: REFUSED, the schema asks for what no passage says.
    """
    evidence = Evidence(question.passages, f"{question.task} {question.instruction}")
    if question.schema is None:
        best = evidence.best
        if only_about is not None:
            about = evidence.matching(only_about)
            best = tuple(one for one in best if one.place in about)
        return _prose(best, question.max_tokens)
    try:
        schemas.check(question.schema)
        return _json(question, evidence)
    except (schemas.UnsupportedSchema, Unfillable) as error:
        raise CallFailed(
            Trouble.REFUSED, f"The schema cannot be filled: {error}.", code="Unfillable"
        ) from error


def _prose(best: Sequence[Sentence], most_tokens: int) -> Draft:
    """The best sentences in the order of the passages, a line each, as far as the tokens go."""
    floor = max((one.score for one in best[:1]), default=0.0) * WORTH_SAYING
    wanted = [one for one in best[:MOST_SENTENCES] if one.score >= floor]
    chosen: list[Sentence] = []
    for sentence in wanted:
        text = "\n".join(cited(one) for one in [*chosen, sentence])
        if tokens.estimate(text) <= most_tokens:
            chosen.append(sentence)
    if not chosen:
        return _cut_off(cited(wanted[0]) if wanted else NOTHING, most_tokens)
    chosen.sort(key=lambda sentence: sentence.place)
    first, *others = (cited(sentence) for sentence in chosen)
    return Draft(
        pieces=(first, *(f"\n{text}" for text in others)),
        stop_reason=END if len(chosen) == len(wanted) else CUT,
        passages=tuple(dict.fromkeys(id_ for one in chosen for id_ in one.passages[:1])),
    )


def _json(question: Question, evidence: Evidence) -> Draft:
    """The filled schema, with fewer sentences if it must be shorter; broken off as a last resort."""
    text = ""
    for limits in _SMALLER:
        data, passages = fill(question.schema or {}, evidence, limits)
        text = json.dumps(data, ensure_ascii=False)
        if tokens.estimate(text) <= question.max_tokens:
            return Draft(pieces=_pieces(text), stop_reason=END, passages=tuple(passages), data=data)
    return _cut_off(text, question.max_tokens)


def _cut_off(text: str, most_tokens: int) -> Draft:
    """A text without citations to count on: its end may be missing."""
    kept = tokens.cut(text, most_tokens)
    return Draft(pieces=_pieces(kept), stop_reason=END if kept == text else CUT, passages=())


def _pieces(text: str) -> tuple[str, ...]:
    return tuple(text[at : at + _PIECE] for at in range(0, len(text), _PIECE))


class EvidenceWriter:
    """The `Reasoner` of this installation, whatever model is asked for; it says who it is."""

    def answer(self, question: Question, *, model: str) -> Answer:
        return _answer(write(question), question, model, "write")

    def stream(self, question: Question, *, model: str) -> Iterator[Piece | Answer]:
        draft = write(question)
        for piece in draft.pieces:
            yield Piece(text=piece)
        yield _answer(draft, question, model, "stream")

    def count_tokens(self, question: Question, *, model: str) -> tuple[int, Confidence]:
        del model
        return _input_tokens(question), "estimated"


def _answer(draft: Draft, question: Question, model: str, operation: str) -> Answer:
    return Answer(
        text=draft.text,
        stop_reason=draft.stop_reason,
        served=served(question, draft, service=SERVICE, operation=operation, model=model),
        data=draft.data,
    )


def served(question: Question, draft: Draft, *, service: str, operation: str, model: str) -> Served:
    return label(
        service,
        operation,
        model_requested=model,
        model_invoked=MODEL,
        tokens={"input": _input_tokens(question), "output": tokens.estimate(draft.text)},
    )


def _input_tokens(question: Question) -> int:
    return tokens.estimate(prompts.system_text(question)) + tokens.estimate(
        prompts.user_text(question)
    )
