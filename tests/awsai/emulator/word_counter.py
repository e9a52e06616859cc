"""A provider for tests of the wire: it does simple things to its input, and really does them.

It repeats passages, finds the words it was asked about, and reads text. Words in capitals steer it:
BLOCKED is not allowed, SECRET and TOKEN are masked, IGNORE looks like an attack, and BROKEN fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from awsai import tokens
from awsai.ports import (
    Answer,
    Assessment,
    CallFailed,
    CitedAnswer,
    Document,
    Excerpt,
    Excerpts,
    Line,
    Memory,
    Passage,
    Piece,
    ProviderName,
    Question,
    Ranking,
    Recollection,
    Sentiment,
    Sentiments,
    Served,
    Span,
    Spans,
    Table,
    Trouble,
)


def served(operation: str) -> Served:
    return Served(provider="local", service="word-counter", operation=operation)


def fail_if_asked(*texts: str) -> None:
    for text in texts:
        for word, trouble in (
            ("BROKEN", Trouble.BROKEN),
            ("THROTTLED", Trouble.THROTTLED),
            ("REFUSED", Trouble.REFUSED),
            ("UNAVAILABLE", Trouble.UNAVAILABLE),
        ):
            if word in text:
                raise CallFailed(trouble, f"The text says {word}.")
        if "DEFECT" in text:
            raise ZeroDivisionError("a defect")


class Writer:
    """Repeats what it was given, passage by passage; with a schema it counts the words of each."""

    def answer(self, question: Question, *, model: str) -> Answer:
        pieces = list(self._pieces(question))
        text = "".join(pieces)
        stop_reason = "nonsense" if "NONSENSE" in text else "end_turn"
        return Answer(text=text, stop_reason=stop_reason, served=served("answer"))

    def stream(self, question: Question, *, model: str) -> Iterator[Piece | Answer]:
        said = ""
        for text in self._pieces(question):
            said += text
            yield Piece(text=text)
        yield Answer(text=said, stop_reason="end_turn", served=served("stream"))

    def count_tokens(self, question, *, model):
        return tokens.estimate(question.instruction), "estimated"

    def _pieces(self, question: Question) -> Iterator[str]:
        fail_if_asked(*(passage.text for passage in question.passages))
        if question.schema is not None:
            counts = {one.id: len(one.text.split()) for one in question.passages}
            yield json.dumps({"task": question.task, "words": counts})
            return
        if question.instruction:
            yield f"{question.instruction}: "
        for passage in question.passages:
            for word in passage.text.split():
                yield f"{word} "
                if word == "BREAKS":
                    raise CallFailed(Trouble.BROKEN, "The text says BREAKS.")


@dataclass
class Companion:
    sessions: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def say(
        self,
        text: str,
        *,
        session_id: str,
        memory_id: str,
        facts: Sequence[Passage] = (),
        ends_session: bool = False,
    ) -> Answer:
        fail_if_asked(text, *(fact.text for fact in facts))
        said = self.sessions.setdefault((memory_id, session_id), [])
        said.append(text)
        return Answer(text=f"{len(said)}: {text}", stop_reason="end_turn", served=served("say"))

    def recall(self, *, memory_id: str, limit: int = 10) -> Recollection:
        memories = [
            Memory(
                session_id=session,
                summary=" / ".join(said),
                at=datetime(2026, 11, 22, 12, tzinfo=UTC),
            )
            for (memory, session), said in self.sessions.items()
            if memory == memory_id
        ]
        return Recollection(memories=tuple(memories[:limit]), served=served("recall"))

    def forget(self, *, memory_id: str, session_id: str = "") -> Served:
        self.sessions = {
            key: said
            for key, said in self.sessions.items()
            if key[0] != memory_id or session_id not in ("", key[1])
        }
        return served("forget")


SHELF = (
    ("rb-1", "Restart the pool", "s3://runbooks/pool.md", "restart the connection pool of orders"),
    ("rb-2", "Drain a node", "https://wiki.example/drain", "drain the node before a restart"),
    ("rb-3", "Rotate keys", "note:keys", "rotate the keys of the gateway"),
)


class Shelf:
    """Texts by how many words of the query they have."""

    def retrieve(self, query: str, *, limit: int = 5) -> Excerpts:
        fail_if_asked(query)
        found = [
            Excerpt(id=id, title=title, uri=uri, text=text, score=float(common(query, text)))
            for id, title, uri, text in SHELF
            if common(query, text)
        ]
        found.sort(key=lambda one: -one.score)
        return Excerpts(found=tuple(found[:limit]), served=served("retrieve"))

    def answer(self, query: str, *, limit: int = 5) -> CitedAnswer:
        cited = self.retrieve(query, limit=limit).found
        text = " ".join(f"{one.title}: {one.text}." for one in cited) or "Nothing is known of it."
        return CitedAnswer(text=text, cited=cited, served=served("answer"))

    def rerank(self, query: str, texts: Sequence[str], *, limit: int = 10) -> Ranking:
        scored = [
            (index, common(query, text) / max(1, len(set(query.split()))))
            for index, text in enumerate(texts)
        ]
        scored.sort(key=lambda pair: -pair[1])
        return Ranking(order=tuple(scored[:limit]), served=served("rerank"))


def common(one: str, other: str) -> int:
    return len(set(one.lower().split()) & set(other.lower().split()))


class Watch:
    def check(self, text: str, *, direction: Literal["input", "output"]) -> Assessment:
        reasons = []
        if "BLOCKED" in text or (direction == "output" and "UNSPEAKABLE" in text):
            reasons.append("topic:credentials")
        if "SECRET" in text:
            reasons.append("pii:PASSWORD")
        if "TOKEN" in text:
            reasons.append("pii:TOKEN")
        if "IGNORE" in text:
            reasons.append("attack:prompt")
        is_allowed = "topic:credentials" not in reasons
        masked = text.replace("SECRET", "{PASSWORD}").replace("TOKEN", "{KEY}")
        return Assessment(
            is_allowed=is_allowed,
            text=masked if is_allowed else "",
            reasons=tuple(reasons),
            served=served("check"),
        )


class Analyst:
    """Good and bad words; numbers are quantities; capitalised words are phrases; @ makes an e-mail."""

    def sentiments(self, texts: Sequence[str]) -> Sentiments:
        errors = {place: "foreign" for place, text in enumerate(texts) if "FOREIGN" in text}
        results = [None if i in errors else self._sentiment(text) for i, text in enumerate(texts)]
        return Sentiments(results=tuple(results), errors=errors, served=served("sentiments"))

    def _sentiment(self, text: str) -> Sentiment:
        good, bad = text.lower().count("good"), text.lower().count("bad")
        label = "neutral" if good == bad else ("positive" if good > bad else "negative")
        total = good + bad + 1
        scores = {"positive": good / total, "negative": bad / total, "neutral": 1 / total}
        return Sentiment(label=label, scores=scores | {"mixed": 0.0})

    def entities(self, texts: Sequence[str]) -> Spans:
        numbers = self._spans(texts, r"\d+", "QUANTITY").results
        pods = self._spans(texts, r"pod-\w+", "POD").results
        both = tuple((one or ()) + (two or ()) for one, two in zip(numbers, pods, strict=True))
        return Spans(results=both, errors={}, served=served("entities"))

    def key_phrases(self, texts: Sequence[str]) -> Spans:
        return self._spans(texts, r"[A-Z]\w+(?: [A-Z]\w+)*", "PHRASE")

    def pii(self, text: str) -> Spans:
        mails = self._spans([text], r"\S+@\S+", "EMAIL")
        tokens_too = self._spans([text], "TOKEN", "TOKEN")
        found = (mails.results[0] or ()) + (tokens_too.results[0] or ())
        return Spans(results=(found,), errors={}, served=served("pii"))

    def _spans(self, texts: Sequence[str], pattern: str, kind: str) -> Spans:
        fail_if_asked(*texts)
        results = tuple(
            tuple(
                Span(begin=hit.start(), end=hit.end(), kind=kind, text=hit[0], score=1.0)
                for hit in re.finditer(pattern, text)
            )
            for text in texts
        )
        return Spans(results=results, errors={}, served=served("spans"))


@dataclass
class Reader:
    """Reads what follows the magic of a format as text: pages by form feed, cells by `|`."""

    objects: dict[tuple[str, str], bytes] = field(default_factory=dict)
    jobs: dict[str, tuple[str, str]] = field(default_factory=dict)
    is_busy: bool = False

    def read(self, content: bytes, *, media_type: str) -> Document:
        if media_type != "application/pdf":
            raise CallFailed(Trouble.REFUSED, f"{media_type} is not read.")
        pages = content.partition(b"\n")[2].decode().split("\f")
        lines = tuple(
            Line(page=number, text=line, confidence=0.875)
            for number, page in enumerate(pages, start=1)
            for line in page.splitlines()
        )
        return Document(lines=lines, tables=(), pages=len(pages), served=served("read"))

    def analyze(self, content: bytes, *, media_type: str) -> Document:
        read = self.read(content, media_type=media_type)
        tables = tuple(
            Table(page=page, rows=rows)
            for page in range(1, read.pages + 1)
            if (
                rows := tuple(
                    tuple(cell.strip() for cell in line.text.split("|"))
                    for line in read.lines
                    if line.page == page and "|" in line.text
                )
            )
        )
        return Document(lines=read.lines, tables=tables, pages=read.pages, served=read.served)

    def start(self, bucket: str, key: str, *, token: str) -> tuple[str, Served]:
        if (bucket, key) not in self.objects:
            raise CallFailed(Trouble.REFUSED, "There is no such object.")
        job = f"job-{len(self.jobs) + 1}"
        self.jobs[job] = (bucket, key)
        return job, served("start")

    def collect(self, job: str) -> Document | None:
        if self.is_busy:
            return None
        return self.analyze(self.objects[self.jobs[job]], media_type="application/pdf")


@dataclass
class WordCounter:
    name: ProviderName = "local"
    companion: Companion = field(default_factory=Companion)
    reader: Reader = field(default_factory=Reader)

    def reasoner(self, region: str = "") -> Writer:
        return Writer()

    def assistant(self) -> Companion:
        return self.companion

    def retriever(self, service: str = "bedrock-knowledge-bases") -> Shelf:
        return Shelf()

    def guard(self) -> Watch:
        return Watch()

    def text_analyst(self) -> Analyst:
        return Analyst()

    def document_reader(self) -> Reader:
        return self.reader
