"""Looking things up in what this installation has learnt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from awsai.ports import (
    CallFailed,
    CitedAnswer,
    Excerpt,
    Excerpts,
    Passage,
    Question,
    Ranking,
    Trouble,
)
from awsai.providers.local import writer
from awsai.providers.local.labels import label
from incidentops.incidents.similarity import TfIdf

ALGORITHM = "local/bm25"
RERANKING = "local/tf-idf"

# (query, limit) -> the best excerpts first
Search = Callable[[str, int], Sequence[Excerpt]]


class KnowledgeRetriever:
    """`service` is the one this stands in for."""

    def __init__(self, search: Search, *, service: str) -> None:
        self._search, self._service = search, service

    def retrieve(self, query: str, *, limit: int = 5) -> Excerpts:
        found = tuple(self._search(_asked(query), limit))
        served = label(self._service, "retrieve", model_invoked=ALGORITHM)
        return Excerpts(found=found, served=served)

    def answer(self, query: str, *, limit: int = 5) -> CitedAnswer:
        """The sentences about the query, from the excerpts found for it."""
        found = self._search(_asked(query), limit)
        question = Question(
            task="answer",
            instruction=query,
            passages=tuple(Passage(id=one.id, text=one.text, source=one.uri) for one in found),
        )
        draft = writer.write(question, only_about=query)
        return CitedAnswer(
            text=draft.text,
            cited=tuple(one for one in found if one.id in draft.passages),
            served=writer.served(
                question, draft, service=self._service, operation="answer", model=""
            ),
        )

    def rerank(self, query: str, texts: Sequence[str], *, limit: int = 10) -> Ranking:
        """By the cosine of the texts to the query; those that share no word with it come last."""
        if not texts:
            raise CallFailed(Trouble.REFUSED, "There are no texts to rank.", code="NoTexts")
        matches = TfIdf(texts).most_similar(_asked(query), limit=len(texts))
        order = {match.index: min(1.0, match.score) for match in matches}
        order |= {index: 0.0 for index in range(len(texts)) if index not in order}
        return Ranking(
            order=tuple(order.items())[:limit],
            served=label(self._service, "rerank", model_invoked=RERANKING),
        )


def _asked(query: str) -> str:
    if not query.strip():
        raise CallFailed(Trouble.REFUSED, "The query is empty.", code="EmptyQuery")
    return query
