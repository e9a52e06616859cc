"""The text analyst: lexicons and patterns behind the form of Comprehend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from awsai.ports import Sentiments, Served, Span, Spans
from awsai.providers.local import sensitive
from awsai.providers.local.entities import entities
from awsai.providers.local.labels import label
from awsai.providers.local.phrases import phrases
from awsai.providers.local.sentiment import sentiment

SERVICE = "comprehend"
# The limits of Comprehend, so that a text is as welcome here as there.
LONGEST_TEXT = 5_000
LONGEST_PII_TEXT = 100_000

R = TypeVar("R")


class LexicalAnalyst:
    def sentiments(self, texts: Sequence[str]) -> Sentiments:
        results, errors = _each(texts, sentiment, LONGEST_TEXT)
        return Sentiments(results=results, errors=errors, served=_served("sentiments", "lexicon"))

    def entities(self, texts: Sequence[str]) -> Spans:
        return self._spans(texts, entities, "entities", "patterns")

    def key_phrases(self, texts: Sequence[str]) -> Spans:
        return self._spans(texts, phrases, "key_phrases", "rake")

    def pii(self, text: str) -> Spans:
        return self._spans([text], sensitive.find, "pii", "patterns", LONGEST_PII_TEXT)

    def _spans(
        self,
        texts: Sequence[str],
        analysis: Callable[[str], tuple[Span, ...]],
        operation: str,
        algorithm: str,
        longest: int = LONGEST_TEXT,
    ) -> Spans:
        results, errors = _each(texts, analysis, longest)
        return Spans(results=results, errors=errors, served=_served(operation, algorithm))


def _each(
    texts: Sequence[str], analysis: Callable[[str], R], longest: int
) -> tuple[tuple[R | None, ...], Mapping[int, str]]:
    """The analysis of every text that has one; the others, by index, with the reason."""
    errors = {index: error for index, text in enumerate(texts) if (error := _fault(text, longest))}
    results = tuple(None if index in errors else analysis(text) for index, text in enumerate(texts))
    return results, errors


def _fault(text: str, longest: int) -> str:
    if not text.strip():
        return "The text is empty."
    size = len(text.encode("utf-8", "replace"))
    return f"The text has {size} bytes, more than {longest}." if size > longest else ""


def _served(operation: str, algorithm: str) -> Served:
    return label(SERVICE, operation, model_invoked=f"local/{algorithm}")
