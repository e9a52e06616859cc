from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from awsai import knowledge
from awsai.models import KnowledgeKind, MemoryEntry
from awsai.ports import CallFailed, Trouble
from awsai.providers.local.assistant import RememberingAssistant
from awsai.providers.local.memory import LONGEST_TURN, MOST_TURNS
from awsai.providers.local.writer import NOTHING

pytestmark = pytest.mark.django_db
BEGUN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def make_assistant() -> RememberingAssistant:
    ticks = count()
    return RememberingAssistant(
        knowledge.search, clock=lambda: BEGUN + timedelta(seconds=next(ticks))
    )


def test_it_answers_with_what_it_was_told_in_the_session():
    assistant = make_assistant()
    assistant.say("The payments pool is exhausted.", session_id="s1", memory_id="m1")
    answer = assistant.say("What is wrong with payments?", session_id="s1", memory_id="m1")
    assert answer.text == "The payments pool is exhausted. [turn-1]"
    assert assistant.say("payments?", session_id="s1", memory_id="m2").text == NOTHING


def test_it_does_not_quote_itself():
    assistant = make_assistant()
    first = assistant.say("payments", session_id="s1", memory_id="m1")
    second = assistant.say("What is known?", session_id="s1", memory_id="m1")
    assert first.text == second.text == NOTHING


def test_it_remembers_a_session_that_has_ended():
    assistant = make_assistant()
    assistant.say("The payments pool is exhausted.", session_id="s1", memory_id="m1")
    assert assistant.recall(memory_id="m1").memories == ()
    assistant.say("It was restarted.", session_id="s1", memory_id="m1", ends_session=True)
    (memory,) = assistant.recall(memory_id="m1").memories
    assert memory.session_id == "s1"
    assert "The payments pool is exhausted." in memory.summary
    answer = assistant.say("payments pool", session_id="s2", memory_id="m1")
    assert "exhausted" in answer.text
    assert "[memory-s1]" in answer.text


def test_it_looks_things_up():
    knowledge.learn(KnowledgeKind.RUNBOOK, "pool", title="Pools", text="Restart the pool at night.")
    answer = make_assistant().say("When do we restart the pool?", session_id="s1", memory_id="m1")
    assert answer.text == "Restart the pool at night. [runbook:pool#1]"


def test_the_newest_memories_come_first_and_can_be_forgotten():
    assistant = make_assistant()
    for session in ("s1", "s2", "s3"):
        assistant.say(f"Fact {session}.", session_id=session, memory_id="m1", ends_session=True)
    newest = assistant.recall(memory_id="m1", limit=2).memories
    assert [memory.session_id for memory in newest] == ["s3", "s2"]
    assistant.forget(memory_id="m1", session_id="s3")
    assert [one.session_id for one in assistant.recall(memory_id="m1").memories] == ["s2", "s1"]
    assistant.forget(memory_id="m1")
    assert not MemoryEntry.objects.exists()


def test_a_session_is_bounded():
    assistant = make_assistant()
    for number in range(MOST_TURNS // 2 + 1):
        assistant.say(f"Turn {number}.", session_id="s1", memory_id="m1")
    assistant.say("x" * (LONGEST_TURN + 1), session_id="s1", memory_id="m1")
    turns = MemoryEntry.objects.get().turns
    assert len(turns) == MOST_TURNS
    assert turns[0]["text"] == "Turn 2."
    assert len(turns[-2]["text"]) == LONGEST_TURN


def test_what_no_database_stores_is_said_without_it():
    assistant = make_assistant()
    assistant.say("The \x00pool\ud800 is full.", session_id="s1", memory_id="m1")
    answer = assistant.say("pool?", session_id="s1", memory_id="m1", ends_session=True)
    assert answer.text == "The pool? is full. [turn-1]"


def test_a_session_can_end_without_a_word():
    assistant = make_assistant()
    assistant.say("The pool is exhausted.", session_id="s1", memory_id="m1")
    assert assistant.say("", session_id="s1", memory_id="m1", ends_session=True).text == ""
    assert len(assistant.recall(memory_id="m1").memories) == 1
    with pytest.raises(CallFailed):
        assistant.say("", session_id="s1", memory_id="m1")


@pytest.mark.parametrize("memory_id", ["", "a", "a b", "x" * 101, "m/1"])
def test_an_id_bedrock_would_not_take_is_refused(memory_id):
    with pytest.raises(CallFailed) as failed:
        make_assistant().recall(memory_id=memory_id)
    assert failed.value.trouble is Trouble.REFUSED
