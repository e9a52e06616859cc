"""What the product asks of AI services: six ports, their questions and their answers.

A port is served by AWS, by the emulator over the same wire, or by the algorithms of this
installation (`local`). Every answer says who served it and what that used, so that code above the
ports never has to know which it was. Text that came from outside (alerts, logs, documents) travels
as a `Passage`: labelled data, never part of an instruction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

ProviderName = Literal["aws", "emulator", "local"]
# How a count came about: told by the service, counted by its own counter, or reckoned here.
Confidence = Literal["reported", "counted", "estimated"]
TOKEN_METERS = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")


# --- What a call used, and who served it -------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a call is billed by.

    `tokens` has some of `TOKEN_METERS`; `input` excludes what was read from or written to a cache.
    `units` counts what other services bill: "chars100", "page.detect", "guardrail.content",
    "query", "chat_unit". `confidence` is that of the least certain figure.
    """

    tokens: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, int] = field(default_factory=dict)
    confidence: Confidence = "reported"


NOTHING_USED = Usage()


@dataclass(frozen=True, kw_only=True)
class Served:
    """Who answered. `call` is the ledger's row of the call, once it has one."""

    provider: ProviderName
    service: str
    operation: str
    model_requested: str = ""
    model_invoked: str = ""
    request_id: str = ""
    usage: Usage = NOTHING_USED
    call: int | None = None


class Trouble(StrEnum):
    """Why a call gave no answer, as far as the caller must tell cases apart."""

    THROTTLED = "throttled"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    # The service does not know us, the resource or the model: not onboarded.
    DENIED = "denied"
    # The request was wrong; the same request fails anywhere.
    REFUSED = "refused"
    # The answer broke off or was damaged on the way.
    BROKEN = "broken"
    # A guardrail, a budget or a residency rule of ours stopped it.
    BLOCKED = "blocked"


class CallFailed(Exception):
    """A call gave no answer. `code` is the service's own word for it."""

    def __init__(
        self, trouble: Trouble, message: str, *, code: str = "", service: str = ""
    ) -> None:
        super().__init__(message)
        self.trouble, self.code, self.service = trouble, code, service

    @property
    def may_pass(self) -> bool:
        """Whether the same request can succeed later or elsewhere."""
        return self.trouble not in (Trouble.REFUSED, Trouble.BLOCKED)


# --- Reasoner ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Text from outside, under the id by which an answer may cite it. Data, whatever it says."""

    id: str
    text: str
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Question:
    """`instruction` is ours and trusted; `passages` are not.

    `task` is the class of task the router learns by ("summary", "hypotheses", "update", ...).
    With `schema`, a JSON schema, the answer is that JSON alone.
    """

    task: str
    instruction: str
    passages: tuple[Passage, ...] = ()
    schema: Mapping[str, Any] | None = None
    max_tokens: int = 1024


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`data` is the parsed JSON of a question with a schema, None when it was not valid."""

    text: str
    stop_reason: str
    served: Served
    data: Any = None


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The next words of an answer that is still being written."""

    text: str


class Reasoner(Protocol):
    """Claude and Nova on Bedrock, or the evidence-bound writer. `model` is a catalogue id."""

    def answer(self, question: Question, *, model: str) -> Answer:
        """Raises: CallFailed."""

    def stream(self, question: Question, *, model: str) -> Iterator[Piece | Answer]:
        """Pieces, and last the whole answer. Closing the iterator ends the call. Raises: CallFailed."""

    def count_tokens(self, question: Question, *, model: str) -> tuple[int, Confidence]:
        """The input tokens of a question. Never fails: what cannot be counted is estimated."""


# --- Assistant with memory ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What the assistant keeps of an earlier session."""

    session_id: str
    summary: str
    at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Recollection:
    memories: tuple[Memory, ...]
    served: Served


class Assistant(Protocol):
    """A conversation partner that remembers: `memory_id` outlives sessions."""

    def say(
        self,
        text: str,
        *,
        session_id: str,
        memory_id: str,
        facts: Sequence[Passage] = (),
        ends_session: bool = False,
    ) -> Answer:
        """Answer from the facts and from what it remembers; facts are data, and cited by their id.

        Raises: CallFailed.
        """

    def recall(self, *, memory_id: str, limit: int = 10) -> Recollection:
        """Raises: CallFailed."""

    def forget(self, *, memory_id: str, session_id: str = "") -> Served:
        """Forget one session, or all. Raises: CallFailed."""


# --- Retriever ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """A piece of a known document. `score` orders excerpts of one answer, nothing more.

    `served` is who found it, where several were asked.
    """

    id: str
    text: str
    title: str
    uri: str
    score: float
    served: Served | None = None


@dataclass(frozen=True, kw_only=True)
class Excerpts:
    """The best first."""

    found: tuple[Excerpt, ...]
    served: Served


@dataclass(frozen=True, kw_only=True)
class CitedAnswer:
    """`cited` are the excerpts the text rests on."""

    text: str
    cited: tuple[Excerpt, ...]
    served: Served


class Retriever(Protocol):
    """Knowledge Bases, Q Business, or BM25 over what this installation has learnt."""

    def retrieve(self, query: str, *, limit: int = 5) -> Excerpts:
        """Raises: CallFailed."""

    def answer(self, query: str, *, limit: int = 5) -> CitedAnswer:
        """Raises: CallFailed."""

    def rerank(self, query: str, texts: Sequence[str], *, limit: int = 10) -> Ranking:
        """Raises: CallFailed; REFUSED where the service has no such operation."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """(index into the texts, relevance in [0, 1]), the most relevant first."""

    order: tuple[tuple[int, float], ...]
    served: Served


# --- Guard -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """`text` is what may go on: masked where needed, empty when nothing may.

    `reasons` name what was found ("pii:EMAIL", "topic:credentials"), never the found text.
    """

    is_allowed: bool
    text: str
    reasons: tuple[str, ...]
    served: Served


class Guard(Protocol):
    """Guardrails, or the local rules. Callers fail closed: an error is a refusal."""

    def check(self, text: str, *, direction: Literal["input", "output"]) -> Assessment:
        """Raises: CallFailed."""


# --- Text analyst ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sentiment:
    """`label` is positive, negative, neutral or mixed; `scores` has all four, summing to 1."""

    label: str
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch [begin, end) of the text, of a `kind` the service names (EMAIL, DATE, ...).

    The service has no name for key phrases: each is a PHRASE.
    """

    begin: int
    end: int
    kind: str
    text: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Sentiments:
    """One result a text, None where `errors` says why, by index: a batch can fail in part."""

    results: tuple[Sentiment | None, ...]
    errors: Mapping[int, str]
    served: Served


@dataclass(frozen=True, kw_only=True)
class Spans:
    """As `Sentiments`, with the spans that were found in each text."""

    results: tuple[tuple[Span, ...] | None, ...]
    errors: Mapping[int, str]
    served: Served


class TextAnalyst(Protocol):
    """Comprehend, or lexicons and patterns that say what they are. English texts."""

    def sentiments(self, texts: Sequence[str]) -> Sentiments:
        """Raises: CallFailed."""

    def entities(self, texts: Sequence[str]) -> Spans:
        """Raises: CallFailed."""

    def key_phrases(self, texts: Sequence[str]) -> Spans:
        """Raises: CallFailed."""

    def pii(self, text: str) -> Spans:
        """Raises: CallFailed."""


# --- Document reader ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a page, from 1; `confidence` in [0, 1]."""

    page: int
    text: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Table:
    page: int
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    lines: tuple[Line, ...]
    tables: tuple[Table, ...]
    pages: int
    served: Served

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)


class DocumentReader(Protocol):
    """Textract, or the formats that this installation reads itself.

    REFUSED is raised for a format the provider cannot read: it is never guessed.
    """

    def read(self, content: bytes, *, media_type: str) -> Document:
        """The text of a document. Raises: CallFailed."""

    def analyze(self, content: bytes, *, media_type: str) -> Document:
        """The text and the tables. Raises: CallFailed."""

    def start(self, bucket: str, key: str, *, token: str) -> tuple[str, Served]:
        """Begin reading a long document in S3; the same `token` begins it once. Raises: CallFailed."""

    def collect(self, job: str) -> Document | None:
        """What a job has read, None while it reads. Raises: CallFailed."""


# --- Provider ----------------------------------------------------------------------------------


class Provider(Protocol):
    """One who serves all ports. `name` labels everything it says."""

    name: ProviderName

    def reasoner(self, region: str = "") -> Reasoner:
        """`region` is where models are asked; empty is home."""
        ...

    def assistant(self) -> Assistant: ...

    def retriever(self, service: str = "bedrock-knowledge-bases") -> Retriever: ...

    def guard(self) -> Guard: ...

    def text_analyst(self) -> TextAnalyst: ...

    def document_reader(self) -> DocumentReader: ...
