"""Converse, ConverseStream, CountTokens and InvokeModel as boto3 meets them."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from awsai import prompts, tokens
from awsai.emulator.catalogue import Model
from awsai.emulator.emulator import Emulator
from awsai.ports import Passage, Piece, Question
from tests.awsai.emulator.clients import (
    HAIKU,
    NOVA,
    ClientError,
    EventStreamError,
    client,
    drain,
    last,
    streamed,
    text_of,
    user,
)
from tests.awsai.emulator.word_counter import WordCounter

SONNET = "us.anthropic.claude-sonnet-5-5"
LONG = "word " * 1200  # 1500 tokens, beyond the least that a cache keeps
CACHE_POINT = {"cachePoint": {"type": "default"}}


def refused(code: str, match: str = ""):
    return pytest.raises(ClientError, match=f"{code}.*{match}")


# --- Converse ----------------------------------------------------------------------------------


def test_the_provider_answers_and_what_it_used_is_told_and_billed(emulator):
    response = client(emulator).converse(
        modelId=HAIKU, system=[{"text": "Repeat"}], messages=user("the pool is full")
    )
    assert text_of(response) == "Repeat: the pool is full "
    assert response["stopReason"] == "end_turn"
    usage = response["usage"]
    assert usage["inputTokens"] == tokens.estimate("Repeatthe pool is full")
    assert usage["outputTokens"] == tokens.estimate("Repeat: the pool is full ")
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    assert last(emulator).tokens == {
        "input": usage["inputTokens"],
        "output": usage["outputTokens"],
    }
    assert last(emulator).request_id == response["ResponseMetadata"]["RequestId"]


def test_a_question_survives_the_wire(emulator):
    question = Question(
        task="summary",
        instruction="Count.",
        passages=(Passage(id="log-1", text="two words"), Passage(id="log-2", text='say "hi"')),
        schema={"type": "object"},
    )
    response = client(emulator).converse(
        modelId=HAIKU,
        system=[{"text": prompts.system_text(question)}],
        messages=user(prompts.user_text(question)),
        outputConfig={
            "textFormat": {
                "type": "json_schema",
                "structure": {"jsonSchema": {"schema": json.dumps(question.schema)}},
            }
        },
    )
    assert json.loads(text_of(response)) == {"task": "summary", "words": {"log-1": 2, "log-2": 2}}


def test_earlier_turns_are_passages_of_the_question(emulator):
    response = client(emulator).converse(
        modelId=HAIKU,
        messages=[
            *user("first"),
            {"role": "assistant", "content": [{"text": "second"}]},
            *user("third"),
        ],
    )
    assert text_of(response) == "first second third "


@pytest.mark.parametrize(
    "model_id",
    [
        "anthropic.claude-haiku-4-5-20251001-v1:0",
        HAIKU,
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
        f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{HAIKU}",
    ],
)
def test_ids_with_colons_and_slashes_name_their_model(emulator, model_id):
    client(emulator).converse(modelId=model_id, messages=user("hello"))
    assert last(emulator).model_requested == model_id
    assert last(emulator).model_invoked == "anthropic.claude-haiku-4-5-20251001-v1:0"


def test_text_beyond_the_limit_is_cut_and_says_so(emulator):
    response = client(emulator).converse(
        modelId=HAIKU,
        messages=user("one two three four five six"),
        inferenceConfig={"maxTokens": 3},
    )
    assert text_of(response) == "one two thre"
    assert response["stopReason"] == "max_tokens"
    assert response["usage"]["outputTokens"] == 3


def test_a_stop_sequence_ends_the_text_and_is_left_out(emulator):
    response = client(emulator).converse(
        modelId=HAIKU,
        messages=user("one two three"),
        inferenceConfig={"stopSequences": ["two"]},
    )
    assert (text_of(response), response["stopReason"]) == ("one ", "stop_sequence")


def test_a_model_that_nobody_has_is_not_found(emulator):
    with refused("ResourceNotFoundException"):
        client(emulator).converse(modelId="anthropic.claude-none-v1:0", messages=user("hello"))
    assert last(emulator).status == 404


def test_a_model_past_its_end_of_life_is_not_found(provider):
    clock = {"now": datetime(2026, 9, 13, tzinfo=UTC)}
    model = Model(
        id="amazon.nova-old-v1:0",
        name="Nova Old",
        provider_name="Amazon",
        end_of_life_at=datetime.now(UTC) + timedelta(minutes=1),
    )
    clock["now"] = datetime.now(UTC)
    with Emulator(provider, models=[model], clock=lambda: clock["now"]) as emulator:
        runtime = client(emulator)
        runtime.converse(modelId=model.id, messages=user("hello"))
        clock["now"] += timedelta(minutes=2)
        with refused("ResourceNotFoundException", "end of its life"):
            runtime.converse(modelId=model.id, messages=user("hello"))


@pytest.mark.parametrize(
    "closed", ["bedrock-runtime", "bedrock-runtime.Converse", "amazon.nova-lite-v1:0"]
)
def test_what_the_account_is_not_onboarded_to_is_denied(provider, closed):
    with (
        Emulator(provider, not_onboarded=[closed]) as emulator,
        refused("AccessDeniedException"),
    ):
        client(emulator).converse(modelId=NOVA, messages=user("hello"))


@pytest.mark.parametrize(
    "extra",
    [
        {"inferenceConfig": {"temperature": 0.2}},
        {"inferenceConfig": {"topP": 0.9}},
        {"additionalModelRequestFields": {"top_k": 5}},
    ],
)
def test_a_model_without_sampling_parameters_refuses_them(emulator, extra):
    with refused("ValidationException", "does not support"):
        client(emulator).converse(modelId=SONNET, messages=user("hello"), **extra)
    client(emulator).converse(modelId=HAIKU, messages=user("hello"), **extra)


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([], "start with a user"),
        ([{"role": "assistant", "content": [{"text": "hi"}]}], "start with a user"),
        ([*user("hi"), {"role": "system", "content": [{"text": "hi"}]}, *user("hi")], "no system"),
        ([*user("hi"), {"role": "assistant", "content": [{"text": "hi"}]}], "end with a user"),
        (
            [
                {
                    "role": "user",
                    "content": [{"image": {"format": "png", "source": {"bytes": b"x"}}}],
                }
            ],
            "does not read image",
        ),
    ],
)
def test_conversations_that_no_model_takes_are_refused(emulator, messages, why):
    with refused("ValidationException", why):
        client(emulator).converse(modelId=HAIKU, messages=messages)


def test_more_tokens_than_a_model_can_write_are_refused(emulator):
    with refused("ValidationException", "model limit of 10000"):
        client(emulator).converse(
            modelId=NOVA, messages=user("hello"), inferenceConfig={"maxTokens": 10001}
        )


@pytest.mark.parametrize(
    ("word", "code", "status"),
    [
        ("BROKEN", "ModelErrorException", 424),
        ("THROTTLED", "ThrottlingException", 429),
        ("REFUSED", "ValidationException", 400),
        ("UNAVAILABLE", "ServiceUnavailableException", 503),
        ("DEFECT", "InternalServerException", 500),
    ],
)
def test_a_failing_provider_is_a_failing_service(emulator, word, code, status):
    with refused(code):
        client(emulator).converse(modelId=HAIKU, messages=user(word))
    assert (last(emulator).status, last(emulator).error) == (status, code)
    assert last(emulator).tokens == {}


def test_an_answer_the_model_forbids_is_an_error_of_the_emulator(emulator):
    with refused("InternalServerException", "own answer is invalid"):
        client(emulator).converse(modelId=HAIKU, messages=user("NONSENSE"))
    assert "stopReason" in last(emulator).problem


def test_sixteen_threads_share_a_client(emulator):
    runtime = client(emulator)

    def ask(number: int) -> str:
        return text_of(runtime.converse(modelId=HAIKU, messages=user(f"number {number}")))

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(96)))
    assert answers == [f"number {number} " for number in range(96)]
    entries = emulator.log.entries()
    assert len({entry.request_id for entry in entries}) == 96


# --- Prompt caching ----------------------------------------------------------------------------


def test_a_second_call_reads_the_prefix_that_the_first_wrote(emulator):
    runtime = client(emulator)
    system = [{"text": LONG}, CACHE_POINT]
    first = runtime.converse(modelId=HAIKU, system=system, messages=user("one"))["usage"]
    second = runtime.converse(modelId=HAIKU, system=system, messages=user("two more"))["usage"]
    prefix = tokens.estimate(LONG)
    assert (first["cacheWriteInputTokens"], first["cacheReadInputTokens"]) == (prefix, 0)
    assert first["cacheDetails"] == [{"ttl": "5m", "inputTokens": prefix}]
    assert (second["cacheWriteInputTokens"], second["cacheReadInputTokens"]) == (0, prefix)
    assert second["inputTokens"] == tokens.estimate(LONG + "two more") - prefix
    assert last(emulator).tokens["cache_read"] == prefix


def test_another_prefix_another_model_and_a_short_prefix_are_not_read(emulator):
    runtime = client(emulator)

    def read(model_id: str, text: str) -> int:
        usage = runtime.converse(
            modelId=model_id, system=[{"text": text}, CACHE_POINT], messages=user("hello")
        )["usage"]
        return int(usage["cacheReadInputTokens"])

    assert [read(HAIKU, LONG), read(HAIKU, "x" + LONG), read(NOVA, LONG)] == [0, 0, 0]
    assert [read(HAIKU, "short"), read(HAIKU, "short")] == [0, 0]


def test_a_prefix_is_forgotten_after_its_lifetime(provider):
    clock = {"now": datetime.now(UTC)}
    with Emulator(provider, clock=lambda: clock["now"]) as emulator:
        runtime = client(emulator)

        def usage(ttl: str):
            return runtime.converse(
                modelId=HAIKU,
                system=[{"text": LONG}, {"cachePoint": {"type": "default", "ttl": ttl}}],
                messages=user("hello"),
            )["usage"]

        assert usage("5m")["cacheReadInputTokens"] == 0
        clock["now"] += timedelta(minutes=4)
        assert usage("5m")["cacheReadInputTokens"] > 0
    assert emulator.log.entries()[0].tokens["cache_write_5m"] == tokens.estimate(LONG)


# --- CountTokens -------------------------------------------------------------------------------


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(st.text(max_size=200), min_size=1, max_size=4), system=st.text(min_size=1))
def test_counted_tokens_are_the_tokens_billed(emulator, texts, system):
    runtime = client(emulator)
    asked = {"system": [{"text": system}], "messages": user(*texts)}
    counted = runtime.count_tokens(modelId=HAIKU, input={"converse": asked})["inputTokens"]
    assert counted == runtime.converse(modelId=HAIKU, **asked)["usage"]["inputTokens"]


def test_counting_is_refused_for_a_model_that_cannot_count(emulator):
    with refused("ValidationException", "counting tokens"):
        client(emulator).count_tokens(
            modelId=SONNET, input={"converse": {"messages": user("hello")}}
        )


# --- ConverseStream ----------------------------------------------------------------------------


def test_a_stream_has_the_events_of_a_conversation_in_order(emulator):
    response = client(emulator).converse_stream(modelId=HAIKU, messages=user("one two"))
    names = [name for event in response["stream"] for name in event]
    assert names == [
        "messageStart",
        "contentBlockDelta",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert last(emulator).ended == "complete"


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(alphabet="ab cd", min_size=1, max_size=120),
    limit=st.integers(1, 12),
    stops=st.lists(st.sampled_from(["a", "bb", "c d", "dcba"]), max_size=2),
)
def test_a_stream_says_what_the_same_request_says_at_once(emulator, text, limit, stops):
    runtime = client(emulator)
    asked = {
        "modelId": HAIKU,
        "messages": user(text),
        "inferenceConfig": {"maxTokens": limit, "stopSequences": stops},
    }
    whole = runtime.converse(**asked)
    text, events = streamed(runtime.converse_stream(**asked))
    assert text == text_of(whole)
    assert events["messageStop"]["stopReason"] == whole["stopReason"]
    assert events["metadata"]["usage"] == whole["usage"]


class Halting(WordCounter):
    """Writes one word and goes on only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go_on = threading.Event()
        self.has_ended = threading.Event()

    def reasoner(self, region: str = ""):
        return self

    def stream(self, question, *, model):
        try:
            yield Piece(text="first ")
            assert self.may_go_on.wait(10)
            yield Piece(text="second ")
        finally:
            self.has_ended.set()


def test_increments_arrive_before_the_answer_is_finished():
    provider = Halting()
    with Emulator(provider) as emulator:
        stream = iter(client(emulator).converse_stream(modelId=HAIKU, messages=user("x"))["stream"])
        assert "messageStart" in next(stream)
        assert next(stream)["contentBlockDelta"]["delta"]["text"] == "first "
        assert not provider.has_ended.is_set()
        provider.may_go_on.set()
        assert next(stream)["contentBlockDelta"]["delta"]["text"] == "second "
        assert "metadata" in list(stream)[-1]


def test_a_stream_left_early_ends_the_call_and_is_billed_as_far_as_it_came():
    provider = Halting()
    with Emulator(provider) as emulator:
        stream = client(emulator).converse_stream(modelId=HAIKU, messages=user("x"))["stream"]
        events = iter(stream)
        assert [next(events), next(events)]
        stream.close()
        provider.may_go_on.set()
        assert provider.has_ended.wait(10)
    entry = last(emulator)
    assert entry.ended in ("abandoned", "complete")  # the socket may take the rest unread
    assert entry.tokens["output"] >= tokens.estimate("first ")


def test_a_failure_in_the_middle_is_an_exception_of_the_stream(emulator):
    stream = client(emulator).converse_stream(modelId=HAIKU, messages=user("a BREAKS b"))["stream"]
    seen, error = drain(stream)
    assert isinstance(error, EventStreamError)
    assert "modelStreamErrorException" in str(error)
    assert len(seen) == 3
    assert last(emulator).ended == "exception"
    assert last(emulator).tokens["output"] == tokens.estimate("a BREAKS ")


def test_a_failure_before_the_first_word_is_an_error_of_http(emulator):
    with refused("ThrottlingException"):
        client(emulator).converse_stream(modelId=HAIKU, messages=user("THROTTLED"))
    assert last(emulator).status == 429


# --- InvokeModel -------------------------------------------------------------------------------


def invoke(emulator: Emulator, model_id: str, body: object, **more: str):
    response = client(emulator).invoke_model(modelId=model_id, body=json.dumps(body), **more)
    return json.loads(response["body"].read())


def claude_body(text: str, **more: object):
    return {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": text}],
        **more,
    }


def test_claude_is_invoked_by_its_messages_form(emulator):
    answer = invoke(emulator, HAIKU, claude_body("one two", system="Say"))
    assert answer["content"] == [{"type": "text", "text": "Say: one two "}]
    assert answer["stop_reason"] == "end_turn"
    assert answer["usage"]["input_tokens"] == tokens.estimate("Sayone two")
    assert last(emulator).tokens["output"] == answer["usage"]["output_tokens"]


def test_claude_s_own_cache_marks_are_cache_points(emulator):
    marked = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    first, second = (
        invoke(emulator, HAIKU, claude_body("hello", system=[marked]))["usage"] for _ in range(2)
    )
    prefix = tokens.estimate(LONG)
    assert first["cache_creation"] == {
        "ephemeral_5m_input_tokens": 0,
        "ephemeral_1h_input_tokens": prefix,
    }
    assert second["cache_read_input_tokens"] == prefix


def test_nova_is_invoked_by_its_messages_form(emulator):
    answer = invoke(
        emulator,
        NOVA,
        {
            "schemaVersion": "messages-v1",
            "system": [{"text": "Say"}],
            "messages": [{"role": "user", "content": [{"text": "one two three"}]}],
            "inferenceConfig": {"maxTokens": 2},
        },
    )
    assert answer["output"]["message"]["content"] == [{"text": "Say: one"}]
    assert answer["stopReason"] == "max_tokens"
    assert answer["usage"]["outputTokens"] == 2


@pytest.mark.parametrize(
    ("model_id", "body"),
    [
        (HAIKU, {"messages": []}),
        (HAIKU, claude_body("hi", messages="hi")),
        (HAIKU, claude_body("hi", max_tokens="many")),
        (HAIKU, [1]),
        (NOVA, {"messages": [{"role": "robot", "content": [{"text": "hi"}]}]}),
        (NOVA, {}),
    ],
)
def test_bodies_that_no_model_knows_are_refused(emulator, model_id, body):
    with refused("ValidationException", "Malformed input request"):
        invoke(emulator, model_id, body)
