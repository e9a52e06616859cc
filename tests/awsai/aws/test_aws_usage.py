from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from awsai import tokens
from awsai.ports import NOTHING_USED, TOKEN_METERS, Usage
from awsai.providers.aws import usage
from awsai.providers.aws.streams import AgentReading, ConverseReading

COUNT = st.integers(0, 10**7)


def told(**members):
    return {"inputTokens": 10, "outputTokens": 3, "totalTokens": 13, **members}


def test_what_was_written_to_a_cache_is_told_apart_by_how_long_it_is_kept():
    given = told(
        cacheReadInputTokens=7,
        cacheWriteInputTokens=100,
        cacheDetails=[{"ttl": "5m", "inputTokens": 60}, {"ttl": "1h", "inputTokens": 40}],
    )
    assert usage.of("Converse", {}, {"usage": given}).tokens == {
        "input": 10,
        "output": 3,
        "cache_read": 7,
        "cache_write_5m": 60,
        "cache_write_1h": 40,
    }


def test_a_cache_that_says_nothing_else_is_kept_for_five_minutes():
    used = usage.converse(told(cacheWriteInputTokens=100))
    assert used.tokens == {"input": 10, "output": 3, "cache_write_5m": 100}


@given(read=COUNT, five=COUNT, hour=COUNT, inputs=COUNT, outputs=COUNT)
def test_no_token_is_lost_or_counted_twice(read, five, hour, inputs, outputs):
    used = usage.converse(
        {
            "inputTokens": inputs,
            "outputTokens": outputs,
            "totalTokens": inputs + outputs + read + five + hour,
            "cacheReadInputTokens": read,
            "cacheWriteInputTokens": five + hour,
            "cacheDetails": [{"ttl": "1h", "inputTokens": hour}],
        }
    )
    assert sum(used.tokens.values()) == inputs + outputs + read + five + hour
    assert set(used.tokens) <= set(TOKEN_METERS)


def test_a_guardrail_inside_a_call_is_billed_by_what_its_trace_tells():
    metrics = {"invocationMetrics": {"usage": {"contentPolicyUnits": 2, "topicPolicyUnits": 1}}}
    trace = {
        "guardrail": {"inputAssessment": {"g": metrics}, "outputAssessments": {"g": [metrics]}}
    }
    used = usage.of("Converse", {}, {"usage": told(), "trace": trace})
    assert used.units == {"guardrail.content": 4, "guardrail.topics": 2}


def test_both_families_tell_their_usage_inside_the_body():
    claude = {
        "usage": {
            "input_tokens": 5,
            "output_tokens": 6,
            "cache_read_input_tokens": 7,
            "cache_creation_input_tokens": 9,
            "cache_creation": {"ephemeral_5m_input_tokens": 8, "ephemeral_1h_input_tokens": 1},
        }
    }
    nova = {"usage": {"inputTokens": 5, "outputTokens": 6, "cacheReadInputTokenCount": 7}}
    assert usage.invoke_model(json.dumps(claude).encode()).tokens == {
        "input": 5,
        "output": 6,
        "cache_read": 7,
        "cache_write_5m": 8,
        "cache_write_1h": 1,
    }
    assert usage.invoke_model(json.dumps(nova).encode()).tokens == {
        "input": 5,
        "output": 6,
        "cache_read": 7,
    }


def test_a_body_that_tells_nothing_is_not_reported_as_nothing():
    for body in (b"", b"[]", b'{"usage": 3}', b'{"usage": {}}'):
        assert usage.invoke_model(body) == Usage(confidence="estimated")


def test_an_answer_without_its_usage_is_not_reported_as_nothing():
    assert usage.of("Converse", {}, {}) == Usage(confidence="estimated")


def test_an_operation_that_bills_nothing_uses_nothing():
    assert usage.of("UpdateService", {"service": "orders"}, {}) is NOTHING_USED


@given(st.lists(st.text(min_size=1, max_size=900), min_size=1, max_size=25), st.data())
def test_a_batch_is_billed_by_each_of_its_texts_that_was_answered(texts, data):
    answered = data.draw(st.sets(st.integers(0, len(texts) - 1)))
    batch = usage.of(
        "BatchDetectEntities",
        {"TextList": texts},
        {"ResultList": [{"Index": index} for index in answered], "ErrorList": []},
    )
    alone = usage.total(
        usage.of("DetectEntities", {"Text": texts[index]}, {}) for index in answered
    )
    assert batch.units == alone.units
    for text in texts:
        (units,) = usage.of("DetectSentiment", {"Text": text}, {}).units.values()
        assert units >= 3
        assert 100 * (units - 1) < max(len(text), 201) <= 100 * max(units, 3)


def test_pages_are_billed_by_what_was_looked_for():
    answer = {"DocumentMetadata": {"Pages": 4}}
    assert usage.of("DetectDocumentText", {}, answer).units == {"page.detect": 4}
    asked = {"FeatureTypes": ["TABLES", "FORMS"]}
    assert usage.of("AnalyzeDocument", asked, answer).units == {"page.tables": 4, "page.forms": 4}


def test_a_job_is_billed_once_however_often_it_is_asked():
    done: dict[str, Any] = {"JobStatus": "SUCCEEDED", "DocumentMetadata": {"Pages": 4}}
    calls: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"JobId": "j"}, {"JobStatus": "IN_PROGRESS"}),
        ({"JobId": "j"}, done | {"NextToken": "t"}),
        ({"JobId": "j", "NextToken": "t"}, done),
    ]
    used = usage.total(usage.of("GetDocumentAnalysis", asked, told) for asked, told in calls)
    assert (used.units, used.confidence) == ({"page.tables": 4}, "estimated")


def test_every_begun_hundred_documents_are_a_query():
    asked: list[dict[str, Any]] = [{}]
    assert usage.of("Rerank", {"queries": asked, "sources": asked * 101}, {}).units == {"query": 2}


def test_a_chat_is_two_units():
    used = usage.of("ChatSync", {}, {})
    assert (used.units, used.confidence) == ({"chat_unit": 2}, "estimated")


def test_a_generated_answer_is_reckoned_from_what_must_have_been_read():
    reference = {"content": {"text": "restart the pool"}}
    used = usage.of(
        "RetrieveAndGenerate",
        {"input": {"text": "what helps?"}},
        {
            "output": {"text": "a restart"},
            "citations": [{"retrievedReferences": [reference]}],
        },
    )
    read = tokens.estimate("what helps?restart the pool")
    assert used.tokens == {"input": read, "output": tokens.estimate("a restart")}
    assert used.confidence == "estimated"


def test_a_sum_is_as_certain_as_its_least_certain_part():
    parts = [
        Usage(tokens={"input": 1}),
        Usage(tokens={"input": 2, "output": 1}, confidence="counted"),
        Usage(units={"query": 1}, confidence="estimated"),
    ]
    assert usage.total(parts) == Usage(
        tokens={"input": 3, "output": 1}, units={"query": 1}, confidence="estimated"
    )
    assert usage.total(parts[:2]).confidence == "counted"
    assert usage.total([]) == NOTHING_USED


# --- What streams tell -------------------------------------------------------------------------


def test_a_stream_of_converse_tells_all_at_its_end():
    reading = ConverseReading({"messages": [{"role": "user", "content": [{"text": "x" * 40}]}]})
    for event in (
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"text": "y" * 8}}},
    ):
        reading.note(event)
    assert reading.reckoned == Usage(tokens={"input": 10, "output": 2}, confidence="estimated")
    reading.note({"messageStop": {"stopReason": "end_turn"}})
    model = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
    reading.note(
        {"metadata": {"usage": told(), "trace": {"promptRouter": {"invokedModelId": model}}}}
    )
    assert reading.is_final
    assert reading.told == Usage(tokens={"input": 10, "output": 3})
    assert (reading.stop_reason, reading.model) == ("end_turn", model)


def test_an_agent_tells_the_usage_of_each_of_its_steps():
    reading = AgentReading({"inputText": "why?"})

    def step(kind, input_tokens):
        told = {"inputTokens": input_tokens, "outputTokens": 2}
        return {
            "trace": {"trace": {kind: {"modelInvocationOutput": {"metadata": {"usage": told}}}}}
        }

    for event in (
        step("preProcessingTrace", 30),
        {"trace": {"trace": {"orchestrationTrace": {"rationale": {"text": "look"}}}}},
        step("orchestrationTrace", 50),
        {"chunk": {"bytes": b"because"}},
        step("orchestrationTrace", 70),
    ):
        reading.note(event)
    assert reading.told == Usage(tokens={"input": 150, "output": 6})
    # Until the stream has ended there may be more.
    assert reading.reckoned.confidence == "estimated"
