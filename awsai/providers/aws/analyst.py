"""Comprehend: one text by itself, several in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from awsai.ports import (
    ProviderName,
    Sentiment,
    Sentiments,
    Served,
    Span,
    Spans,
)
from awsai.providers.aws import hooks
from awsai.providers.aws.calls import merged
from awsai.providers.aws.endpoint import Endpoint

BATCH = 25
MOST_BYTES = 5000
MOST_BYTES_OF_PII = 100_000
_LABELS = ("positive", "negative", "neutral", "mixed")

R = TypeVar("R")
# A text and what Comprehend told of it, as a result.
Reader = Callable[[str, Mapping[str, Any]], R]


@dataclass(kw_only=True)
class _Findings(Generic[R]):
    """One result a text, by index; `errors` has the others."""

    results: list[R | None]
    errors: dict[int, str] = field(default_factory=dict)
    served: list[Served] = field(default_factory=list)


class ComprehendAnalyst:
    def __init__(self, *, provider: ProviderName) -> None:
        self._provider = provider
        self._endpoint = Endpoint(service="comprehend", product="comprehend", provider=provider)

    def sentiments(self, texts: Sequence[str]) -> Sentiments:
        found = self._detect("sentiment", texts, _sentiment)
        return Sentiments(
            results=tuple(found.results),
            errors=found.errors,
            served=self._served(found, "DetectSentiment"),
        )

    def entities(self, texts: Sequence[str]) -> Spans:
        found = self._detect("entities", texts, _entities)
        return Spans(
            results=tuple(found.results),
            errors=found.errors,
            served=self._served(found, "DetectEntities"),
        )

    def key_phrases(self, texts: Sequence[str]) -> Spans:
        found = self._detect("key_phrases", texts, _key_phrases)
        return Spans(
            results=tuple(found.results),
            errors=found.errors,
            served=self._served(found, "DetectKeyPhrases"),
        )

    def pii(self, text: str) -> Spans:
        if why := _unfit(text, MOST_BYTES_OF_PII):
            return Spans(
                results=(None,), errors={0: why}, served=self._unasked("DetectPiiEntities")
            )
        told = self._endpoint.call("detect_pii_entities", Text=text, LanguageCode="en")
        return Spans(results=(_entities(text, told),), errors={}, served=hooks.served(told))

    def _detect(self, what: str, texts: Sequence[str], read: Reader[R]) -> _Findings[R]:
        found: _Findings[R] = _Findings(results=[None] * len(texts))
        fit = []
        for index, text in enumerate(texts):
            # One such text would cost the others of its batch their results.
            if why := _unfit(text, MOST_BYTES):
                found.errors[index] = why
            else:
                fit.append(index)
        if len(fit) == 1:
            self._one(what, fit[0], texts[fit[0]], read, found)
            return found
        for start in range(0, len(fit), BATCH):
            self._batch(what, fit[start : start + BATCH], texts, read, found)
        return found

    def _one(self, what: str, index: int, text: str, read: Reader[R], found: _Findings[R]) -> None:
        told = self._endpoint.call(f"detect_{what}", Text=text, LanguageCode="en")
        found.results[index] = read(text, told)
        found.served.append(hooks.served(told))

    def _batch(
        self,
        what: str,
        indices: Sequence[int],
        texts: Sequence[str],
        read: Reader[R],
        found: _Findings[R],
    ) -> None:
        told = self._endpoint.call(
            f"batch_detect_{what}",
            TextList=[texts[index] for index in indices],
            LanguageCode="en",
        )
        for result in told["ResultList"]:
            index = indices[result["Index"]]
            found.results[index] = read(texts[index], result)
        for error in told["ErrorList"]:
            reason = f"{error.get('ErrorCode', '')}: {error.get('ErrorMessage', '')}"
            found.errors[indices[error["Index"]]] = reason
        found.served.append(hooks.served(told))

    def _served(self, found: _Findings[Any], operation: str) -> Served:
        return merged(*found.served) if found.served else self._unasked(operation)

    def _unasked(self, operation: str) -> Served:
        return Served(provider=self._provider, service="comprehend", operation=operation)


def _unfit(text: str, most_bytes: int) -> str:
    """Why the service would refuse this text, "" if it takes it."""
    if not text.strip():
        return "The text is empty."
    if len(text.encode("utf-8", "replace")) > most_bytes:
        return f"The text is longer than {most_bytes} bytes."
    return ""


def _sentiment(text: str, told: Mapping[str, Any]) -> Sentiment:
    scores = told["SentimentScore"]
    return Sentiment(
        label=told["Sentiment"].lower(),
        scores={label: scores[label.capitalize()] for label in _LABELS},
    )


def _entities(text: str, told: Mapping[str, Any]) -> tuple[Span, ...]:
    return tuple(_span(text, one, one["Type"]) for one in told["Entities"])


def _key_phrases(text: str, told: Mapping[str, Any]) -> tuple[Span, ...]:
    return tuple(_span(text, one, "PHRASE") for one in told["KeyPhrases"])


def _span(text: str, told: Mapping[str, Any], kind: str) -> Span:
    # Offsets count characters, not bytes. Of personal data no text is told.
    begin, end = told["BeginOffset"], told["EndOffset"]
    return Span(begin=begin, end=end, kind=kind, text=text[begin:end], score=told["Score"])
