from __future__ import annotations

import pytest

from awsai.ports import CallFailed, Excerpt, Trouble
from awsai.providers.local.retriever import KnowledgeRetriever
from awsai.providers.local.writer import NOTHING


def make_retriever(*texts: str) -> KnowledgeRetriever:
    excerpts = [
        Excerpt(id=f"page:{number}#1", text=text, title="", uri="", score=1.0)
        for number, text in enumerate(texts)
    ]
    return KnowledgeRetriever(lambda _query, limit: excerpts[:limit], service="q-business")


def test_an_answer_cites_only_what_it_quotes():
    retriever = make_retriever("Restart the pool. Lunch is at noon.", "Dinner is late.")
    answer = retriever.answer("How to restart the pool")
    assert answer.text == "Restart the pool. [page:0#1]"
    assert [excerpt.id for excerpt in answer.cited] == ["page:0#1"]
    assert answer.served.service == "q-business"


def test_nothing_found_is_nothing_known():
    answer = make_retriever().answer("How to restart the pool")
    assert (answer.text, answer.cited) == (NOTHING, ())


def test_reranking_puts_the_most_alike_first_and_keeps_the_rest():
    ranking = make_retriever().rerank("pool exhausted", ["zebra", "the pool", "pool exhausted"])
    assert [index for index, _ in ranking.order] == [2, 1, 0]
    assert ranking.order[-1] == (0, 0.0)
    assert len(make_retriever().rerank("pool", ["pool"] * 5, limit=3).order) == 3


def test_an_empty_query_is_refused():
    retriever = make_retriever("x")
    for call in (
        retriever.retrieve,
        retriever.answer,
        lambda query: retriever.rerank(query, ["a"]),
    ):
        with pytest.raises(CallFailed) as failed:
            call("  ")
        assert failed.value.trouble is Trouble.REFUSED
