from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from awsai import knowledge
from awsai.models import Knowledge, KnowledgeKind

pytestmark = pytest.mark.django_db
POOL = "The pool of payments-db was exhausted; restarting the pool helped."


def learn(ref: str = "INC-1", text: str = POOL, title: str = "Checkout outage") -> Knowledge:
    return knowledge.learn(KnowledgeKind.LESSON, ref, title=title, text=text, uri="/incidents/1/")


def found(query: str) -> list[str]:
    return [excerpt.id for excerpt in knowledge.search(query, 5)]


def test_what_was_learnt_is_found_by_its_words_and_its_title():
    learn()
    learn("INC-2", "Certificates expired on the edge.", "Login failures")
    assert found("pool exhausted") == ["lesson:INC-1#1"]
    assert found("login") == ["lesson:INC-2#1"]
    assert found("zebra") == []
    (excerpt,) = knowledge.search("certificates", 5)
    assert (excerpt.title, excerpt.uri, excerpt.score) == ("Login failures", "/incidents/1/", 1.0)


def test_learning_again_changes_only_what_changed():
    first = learn()
    assert learn().pk == first.pk
    assert Knowledge.objects.get().version == 1
    assert Knowledge.objects.get().learnt_at == first.learnt_at
    learn(text="Now it is a certificate.")
    assert Knowledge.objects.get().version == 2
    assert found("exhausted") == []
    assert found("certificate") == ["lesson:INC-1#1"]


def test_what_no_database_stores_is_left_out():
    assert learn(text="po\x00ol \ud800 full").text == "pool ? full"


def test_what_is_forgotten_is_not_found():
    learn()
    assert found("pool")
    assert knowledge.forget(KnowledgeKind.LESSON, "INC-1")
    assert found("pool") == []
    assert not knowledge.forget(KnowledgeKind.LESSON, "INC-1")


def test_a_change_that_was_rolled_back_leaves_no_trace_in_the_index():
    learn("INC-1", "Certificates expired.")

    def abandoned() -> None:
        with transaction.atomic():
            learn("INC-2", "A zebra.")
            assert found("zebra")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        abandoned()
    learn("INC-3", "A lion.")
    assert found("zebra") == []
    assert found("lion") == ["lesson:INC-3#1"]


def test_the_best_comes_first_and_the_limit_holds():
    for number in range(9):
        learn(f"INC-{number}", f"pool {'pool ' * number} other words")
    scores = [excerpt.score for excerpt in knowledge.search("pool", 4)]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)


def test_learning_one_document_reads_no_other():
    learn("INC-1", "The pool was exhausted.")
    assert found("pool") == ["lesson:INC-1#1"]
    # Behind the back of `learn`, so nothing tells of it: whoever reads this text anew would notice.
    Knowledge.objects.update(text="The disk was exhausted.")
    learn("INC-2", "The pool leaked.")
    assert found("pool") == ["lesson:INC-1#1", "lesson:INC-2#1"]
    assert found("disk") == []


def test_an_index_that_was_kept_up_to_date_answers_as_a_new_one(monkeypatch):
    rng = random.Random(3)
    query = " ".join("abcdef")
    for _ in range(60):
        ref = f"INC-{rng.randrange(8)}"
        if rng.random() < 0.3:
            knowledge.forget(KnowledgeKind.LESSON, ref)
        else:
            learn(ref, " ".join(rng.choice("abcdef") for _ in range(rng.randrange(1, 1200))))
        kept = knowledge.search(query, 50)
        with monkeypatch.context() as anew:
            anew.setattr(knowledge, "_index", knowledge._Index())
            assert knowledge.search(query, 50) == kept


@pytest.mark.django_db(transaction=True)
def test_concurrent_learning_is_found_in_the_end():
    def work(number: int) -> None:
        try:
            learn(f"INC-{number % 4}", f"word{number % 4} pool")
            found("pool")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(12)))
    assert sorted(found("pool")) == [f"lesson:INC-{number}#1" for number in range(4)]
    assert set(Knowledge.objects.values_list("version", flat=True)) == {1}


@settings(deadline=None)
@given(st.text(alphabet="ab .\n", max_size=6000))
def test_passages_leave_nothing_out_and_are_bounded(text):
    found = knowledge.passages(text)
    assert all(len(passage) <= knowledge.LONGEST_PASSAGE for passage in found)
    assert all(passage in text for passage in found)
    place = 0
    for passage in found:
        at = text.find(passage, max(0, place - knowledge.LONGEST_PASSAGE))
        assert not text[place:at].strip()
        place = max(place, at + len(passage))
    assert not text[place:].strip()


def test_neighbouring_passages_overlap():
    text = " ".join(f"word{number}" for number in range(600))
    first, second, *_ = knowledge.passages(text)
    assert first[-60:] in second
