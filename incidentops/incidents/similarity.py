"""How alike texts are, by their words. Pure: texts in, numbers out.

Lexical methods lead on incident texts, and they can say which words they saw.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

_WORD = re.compile(r"[a-z][a-z0-9]*|\d+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_STOP = frozenset(
    {
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "from",
        "has",
        "have",
        "in",
        "into",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "over",
        "than",
        "that",
        "the",
        "this",
        "to",
        "under",
        "was",
        "were",
        "will",
        "with",
    }
)


def words(text: str) -> list[str]:
    """Lower-case words, CamelCase taken apart, numbers all alike, little words left out."""
    found = _WORD.findall(_CAMEL.sub(" ", text).lower())
    return ["#" if word.isdigit() else word for word in found if word not in _STOP]


def terms(text: str) -> list[str]:
    """Words and pairs of neighbouring words: what texts are compared by."""
    single = words(text)
    return [*single, *(f"{one} {two}" for one, two in pairwise(single))]


def cosine(one: Counter[str], two: Counter[str]) -> float:
    """The cosine of two bags of words, in [0, 1]; an empty bag is like nothing."""
    if not one or not two:
        return 0.0
    if len(two) < len(one):
        one, two = two, one
    dot = sum(count * two[word] for word, count in one.items() if word in two)
    return min(1.0, dot / (_norm(one) * _norm(two)))


def _norm(bag: Counter[str]) -> float:
    return math.sqrt(sum(count * count for count in bag.values()))


@dataclass(frozen=True, kw_only=True)
class Match:
    """`index` is the text's place in the corpus, `score` its similarity to the query."""

    index: int
    score: float


class TfIdf:
    """A corpus that answers which of its texts a query resembles.

    Weights are (1 + ln tf) * (1 + ln((1 + n) / (1 + df))) over words and word pairs, vectors of
    unit length, similarity their cosine in [0, 1].

    Source: Manning, Raghavan & Schütze, Introduction to Information Retrieval, ch. 6 (ltc.ltc,
    with the smoothing of df that keeps terms of every text from vanishing).
    """

    def __init__(self, texts: Iterable[str]) -> None:
        bags = [Counter(terms(text)) for text in texts]
        self._size = len(bags)
        self._frequency = Counter(term for bag in bags for term in bag)
        self._postings: dict[str, list[tuple[int, float]]] = {}
        for index, bag in enumerate(bags):
            for term, weight in self._vector(bag).items():
                self._postings.setdefault(term, []).append((index, weight))

    def most_similar(self, text: str, *, limit: int = 10) -> list[Match]:
        """The texts that share a term with the query, the most similar first."""
        scores: dict[int, float] = {}
        for term, weight in self._vector(Counter(terms(text))).items():
            for index, other in self._postings.get(term, ()):
                scores[index] = scores.get(index, 0.0) + weight * other
        return _best(scores, limit)

    def similarity(self, one: str, two: str) -> float:
        """The cosine of two texts, whether of the corpus or not, under its weights."""
        first, second = self._vector(Counter(terms(one))), self._vector(Counter(terms(two)))
        return min(1.0, sum(weight * second.get(term, 0.0) for term, weight in first.items()))

    def _vector(self, bag: Counter[str]) -> dict[str, float]:
        raw = {
            term: (1 + math.log(count))
            * (1 + math.log((1 + self._size) / (1 + self._frequency[term])))
            for term, count in bag.items()
        }
        norm = math.sqrt(sum(weight * weight for weight in raw.values()))
        return {term: weight / norm for term, weight in raw.items()} if norm else {}


class Bm25:
    """A corpus ranked by Okapi BM25. Scores have no upper bound: they rank, they do not measure.

    A text has its place in `texts` for an index, or the one it is added with. What depends on the
    whole corpus is computed for the words of a query, so that adding or removing a text costs as
    much as that text is long.

    Source: Robertson & Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009),
    with idf = ln(1 + (n - df + 0.5) / (df + 0.5)), which is never negative.
    """

    def __init__(self, texts: Sequence[str] = (), *, k1: float = 1.2, b: float = 0.75) -> None:
        self._k1, self._b = k1, b
        self._lengths: dict[int, int] = {}
        self._total = 0
        self._postings: dict[str, dict[int, int]] = {}
        for index, text in enumerate(texts):
            self.add(index, text)

    def add(self, index: int, text: str) -> None:
        bag = Counter(words(text))
        self._lengths[index] = bag.total()
        self._total += bag.total()
        for word, count in bag.items():
            self._postings.setdefault(word, {})[index] = count

    def remove(self, index: int, text: str) -> None:
        """Take out a text; it must be the one that was added."""
        self._total -= self._lengths.pop(index)
        for word in set(words(text)):
            with_it = self._postings[word]
            del with_it[index]
            if not with_it:
                del self._postings[word]

    def most_similar(self, text: str, *, limit: int = 10) -> list[Match]:
        k1, b, lengths, n = self._k1, self._b, self._lengths, len(self._lengths)
        mean = self._total / n if n else 0.0
        scores: dict[int, float] = {}
        for word, asked in Counter(words(text)).items():
            postings = self._postings.get(word, {})
            df = len(postings)
            idf = math.log(1 + (n - df + 0.5) / (df + 0.5))
            for index, count in postings.items():
                damping = k1 * (1 - b + b * lengths[index] / mean)
                weight = idf * count * (k1 + 1) / (count + damping)
                scores[index] = scores.get(index, 0.0) + asked * weight
        return _best(scores, limit)


def _best(scores: dict[int, float], limit: int) -> list[Match]:
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [Match(index=index, score=score) for index, score in ranked[:limit]]
