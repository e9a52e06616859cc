"""Which sentences of some passages matter most for a question. Pure.

A sentence's score is a weighted sum of four figures in [0, 1]: how central it is among all
sentences (PageRank over their similarity, as in LexRank), how much it is about the question, how
early it stands in its passage, and whether it names figures and things. Centrality and relevance
are relative to the best sentence at hand, so scores compare sentences of one question; they are no
probabilities.

Sources: Erkan & Radev, LexRank (JAIR 22, 2004); Mihalcea & Tarau, TextRank (EMNLP 2004); Carbonell
& Goldstein, The Use of MMR (SIGIR 1998). The weights are set by hand, not learnt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from awsai.ports import Passage
from awsai.providers.local.sentences import split
from incidentops.incidents.similarity import TfIdf

CENTRALITY, RELEVANCE, POSITION, SPECIFICS = 0.35, 0.40, 0.10, 0.15
MOST_SENTENCES = 200  # the similarity of all pairs is computed
MOST_BEST = 60
NEIGHBOURS = 12
DAMPING = 0.85
NOVELTY = 0.3  # weight of what is new against what scores high
DUPLICATE = 0.95
WORTH_SAYING = 0.25  # of the best score; below that a sentence only fills the page

# They read single sentences, which are short.
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*", re.ASCII)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?|\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?Z?", re.ASCII
)
_FIGURE = re.compile(
    r"\d\s?(?:%|(?i:ms|µs|us|s|sec|seconds?|min|minutes?|h|hours?|[kmgt]i?b|rps|qps|req/s|/s))(?:\W|$)",
    re.ASCII,
)
_NAME = re.compile(r"(?<![A-Za-z])[A-Za-z][A-Za-z0-9]*[-_./:][A-Za-z0-9]")


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """`text` stands in these passages; `place` orders all sentences of a question."""

    text: str
    passages: tuple[str, ...]
    place: int
    score: float


class Evidence:
    """The sentences of a question's passages, ranked once."""

    def __init__(self, passages: Sequence[Passage], query: str) -> None:
        found = _select(_unranked(passages), query)
        texts = [one.text for one in found]
        self._index = TfIdf(texts)
        self._alike = _similarities(self._index, texts)
        scores = _scores(self._index, self._alike, found, query)
        self.sentences = tuple(
            Sentence(text=one.text, passages=tuple(one.passages), place=place, score=score)
            for place, (one, score) in enumerate(zip(found, scores, strict=True))
        )
        self.best = tuple(self.sentences[place] for place in self._without_repetition())

    def matching(self, words: str) -> dict[int, float]:
        """The places of sentences that share a term with `words`, and how alike they are."""
        matches = self._index.most_similar(words, limit=len(self.sentences))
        return {match.index: match.score for match in matches}

    def similarity(self, one: Sentence, two: Sentence) -> float:
        return float(self._alike[one.place, two.place])

    def _without_repetition(self) -> list[int]:
        """Places, best first: each is the one that scores highest for what it adds to those before.

        What says the same as a chosen sentence, with the same figures, is left out; of lines that
        differ in their figures alone, two stay.
        """
        scores = np.array([(1 - NOVELTY) * sentence.score for sentence in self.sentences])
        figures = [_figures(sentence.text) for sentence in self.sentences]
        repeated = np.zeros(len(scores))
        is_left = np.ones(len(scores), dtype=bool)
        chosen: list[int] = []
        while is_left.any() and len(chosen) < MOST_BEST:
            place = int(np.argmax(np.where(is_left, scores - repeated, -np.inf)))
            is_second = repeated[place] >= NOVELTY * DUPLICATE
            chosen.append(place)
            is_left[place] = False
            repeated = np.maximum(repeated, NOVELTY * self._alike[place])
            for at in np.flatnonzero(is_left & (self._alike[place] >= DUPLICATE)):
                is_left[at] = not is_second and figures[at] != figures[place]
        return chosen


@dataclass(kw_only=True)
class _Found:
    """A text, the passages it stands in, and its place in the first of them, from 0."""

    text: str
    place: int
    passages: dict[str, None]


def _unranked(passages: Iterable[Passage]) -> list[_Found]:
    """All sentences in order, each text once."""
    found: dict[str, _Found] = {}
    for passage in passages:
        for place, text in enumerate(split(passage.text)):
            first = found.setdefault(text, _Found(text=text, place=place, passages={}))
            first.passages[passage.id] = None
    return list(found.values())


def _select(found: list[_Found], query: str) -> list[_Found]:
    """As many as can be compared in pairs: those about the question, then the earliest."""
    if len(found) <= MOST_SENTENCES:
        return found
    matches = TfIdf(one.text for one in found).most_similar(query, limit=MOST_SENTENCES)
    kept = {match.index for match in matches}
    early = sorted(range(len(found)), key=lambda index: (found[index].place, index))
    for index in early:
        if len(kept) == MOST_SENTENCES:
            break
        kept.add(index)
    return [found[index] for index in sorted(kept)]


def _similarities(index: TfIdf, texts: Sequence[str]) -> NDArray[np.float64]:
    """The cosine of every pair, (n, n), zero on the diagonal."""
    alike = np.zeros((len(texts), len(texts)))
    for row, text in enumerate(texts):
        for match in index.most_similar(text, limit=len(texts)):
            alike[row, match.index] = min(1.0, match.score)
    np.fill_diagonal(alike, 0.0)
    return alike


def _scores(
    index: TfIdf, alike: NDArray[np.float64], found: Sequence[_Found], query: str
) -> list[float]:
    relevance = np.zeros(len(found))
    for match in index.most_similar(query, limit=len(found)):
        relevance[match.index] = match.score
    position = np.array([1 / (1 + one.place) for one in found])
    specifics = np.array([_specifics(one.text) for one in found])
    score = (
        CENTRALITY * _relative(centrality(alike))
        + RELEVANCE * _relative(relevance)
        + POSITION * position
        + SPECIFICS * specifics
    )
    return [float(value) for value in np.clip(score, 0.0, 1.0)]


def centrality(alike: NDArray[np.float64], *, rounds: int = 50) -> NDArray[np.float64]:
    """PageRank of the graph that links each sentence to its nearest neighbours, weighted; sums to 1.

    `alike` is (n, n), symmetric, not negative, zero on the diagonal. A sentence that is like no
    other hands its rank to all alike.
    """
    n = len(alike)
    if n < 2:
        return np.ones(n)
    links = alike.copy()
    if n > NEIGHBOURS:
        threshold = np.partition(links, n - NEIGHBOURS, axis=1)[:, n - NEIGHBOURS]
        links[links < threshold[:, None]] = 0.0
        links = np.maximum(links, links.T)
    totals = links.sum(axis=1, keepdims=True)
    step = np.divide(links, totals, out=np.full_like(links, 1 / n), where=totals > 0)
    rank = np.full(n, 1 / n)
    for _ in range(rounds):
        rank = (1 - DAMPING) / n + DAMPING * rank @ step
    return rank


def _relative(values: NDArray[np.float64]) -> NDArray[np.float64]:
    top = values.max(initial=0.0)
    return values / top if top > 0 else values


def _specifics(text: str) -> float:
    bare = _TIME.sub("", text)
    signs = (_NUMBER, _FIGURE, _NAME)
    return sum(sign.search(bare) is not None for sign in signs) / len(signs)


def _figures(text: str) -> frozenset[str]:
    """Its numbers, except those that tell a time."""
    return frozenset(_NUMBER.findall(_TIME.sub("", text)))
