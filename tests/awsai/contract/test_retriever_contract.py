from __future__ import annotations

import pytest

from awsai import knowledge
from awsai.models import KnowledgeKind
from tests.awsai.contract.promises import assert_labelled, assert_refused

POOL = "The payments connection pool was exhausted. Restarting the pool helped."
CERTIFICATE = "The certificate of the edge expired and logins failed."


@pytest.fixture(params=["bedrock-knowledge-bases", "q-business"])
def retriever(request, provider):
    for ref, text in (("INC-1", POOL), ("INC-2", CERTIFICATE), ("INC-3", "A pool of buses.")):
        knowledge.learn(
            KnowledgeKind.LESSON, ref, title=f"Lesson {ref}", text=text, uri=f"https://x.test/{ref}"
        )
    return provider.retriever(request.param)


def test_excerpts_are_labelled_named_and_in_order(provider, retriever):
    excerpts = retriever.retrieve("payments pool exhausted", limit=5)
    assert_labelled(excerpts.served, provider)
    assert excerpts.found
    assert len({excerpt.id for excerpt in excerpts.found}) == len(excerpts.found)
    scores = [excerpt.score for excerpt in excerpts.found]
    assert scores == sorted(scores, reverse=True)


def test_the_best_excerpt_is_what_was_learnt(retriever):
    best = retriever.retrieve("payments pool exhausted", limit=5).found[0]
    assert best.text == POOL
    assert best.uri == "https://x.test/INC-1"


def test_no_more_excerpts_are_found_than_asked_for(retriever):
    assert len(retriever.retrieve("pool", limit=1).found) == 1


def test_what_was_forgotten_is_found_no_more(retriever):
    knowledge.forget(KnowledgeKind.LESSON, "INC-1")
    assert POOL not in [excerpt.text for excerpt in retriever.retrieve("payments pool").found]


def test_an_answer_rests_on_excerpts(provider, retriever):
    answer = retriever.answer("Why was the payments pool exhausted?")
    assert_labelled(answer.served, provider)
    assert answer.text.strip()
    assert answer.cited
    assert {excerpt.text for excerpt in answer.cited} <= {POOL, CERTIFICATE, "A pool of buses."}


def test_an_answer_about_nothing_known_cites_nothing(retriever):
    answer = retriever.answer("zebra")
    assert answer.text.strip()
    assert answer.cited == ()


def test_a_ranking_orders_the_texts_it_was_given(provider):
    texts = ["zebra", POOL, CERTIFICATE, "pool"]
    ranking = provider.retriever().rerank("payments pool exhausted", texts, limit=3)
    assert_labelled(ranking.served, provider)
    indices = [index for index, _ in ranking.order]
    assert indices[0] == 1
    assert len(indices) == len(set(indices)) <= 3
    assert set(indices) <= set(range(len(texts)))
    relevance = [value for _, value in ranking.order]
    assert relevance == sorted(relevance, reverse=True)
    assert all(0 <= value <= 1 for value in relevance)


def test_ranking_nothing_is_refused(provider):
    assert_refused(lambda: provider.retriever().rerank("pool", []))
