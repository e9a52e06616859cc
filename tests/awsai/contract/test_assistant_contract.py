from __future__ import annotations

import pytest

from tests.awsai.contract.promises import assert_labelled, assert_refused

FACT = "The payments pool is exhausted."


def test_an_answer_is_labelled(provider):
    answer = provider.assistant().say(FACT, session_id="session-1", memory_id="memory-1")
    assert answer.text.strip()
    assert answer.stop_reason
    assert_labelled(answer.served, provider)


def test_what_was_said_is_known_later_in_the_session(provider):
    assistant = provider.assistant()
    assistant.say(FACT, session_id="session-1", memory_id="memory-1")
    answer = assistant.say("What about the pool?", session_id="session-1", memory_id="memory-1")
    assert "exhausted" in answer.text


def test_a_session_that_ended_is_remembered_in_the_next_one(provider):
    assistant = provider.assistant()
    assistant.say(FACT, session_id="session-1", memory_id="memory-1", ends_session=True)
    recollection = assistant.recall(memory_id="memory-1")
    assert_labelled(recollection.served, provider)
    (memory,) = recollection.memories
    assert memory.session_id == "session-1"
    assert "exhausted" in memory.summary
    assert memory.at is None or memory.at.tzinfo is not None
    answer = assistant.say("What about the pool?", session_id="session-2", memory_id="memory-1")
    assert "exhausted" in answer.text


def test_a_memory_is_nobody_elses(provider):
    assistant = provider.assistant()
    assistant.say(FACT, session_id="session-1", memory_id="memory-1", ends_session=True)
    assert assistant.recall(memory_id="memory-2").memories == ()
    answer = assistant.say("What about the pool?", session_id="session-3", memory_id="memory-2")
    assert "exhausted" not in answer.text


def test_no_more_is_recalled_than_asked_for(provider):
    assistant = provider.assistant()
    for number in range(3):
        session = f"session-{number}"
        assistant.say(FACT, session_id=session, memory_id="memory-1", ends_session=True)
    assert len(assistant.recall(memory_id="memory-1", limit=2).memories) == 2


def test_one_session_or_all_can_be_forgotten(provider):
    assistant = provider.assistant()
    for session in ("session-1", "session-2", "session-3"):
        assistant.say(FACT, session_id=session, memory_id="memory-1", ends_session=True)
    assert_labelled(assistant.forget(memory_id="memory-1", session_id="session-2"), provider)
    left = {memory.session_id for memory in assistant.recall(memory_id="memory-1").memories}
    assert left == {"session-1", "session-3"}
    assistant.forget(memory_id="memory-1")
    assert assistant.recall(memory_id="memory-1").memories == ()


@pytest.mark.parametrize("memory_id", ["a", "not allowed", "x" * 101])
def test_an_impossible_memory_id_is_refused(provider, memory_id):
    assistant = provider.assistant()
    assert_refused(lambda: assistant.say(FACT, session_id="session-1", memory_id=memory_id))
    assert_refused(lambda: assistant.recall(memory_id=memory_id))
    assert_refused(lambda: assistant.forget(memory_id=memory_id))
