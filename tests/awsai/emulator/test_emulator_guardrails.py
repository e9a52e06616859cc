"""ApplyGuardrail, and guardrails inside Converse."""

from __future__ import annotations

import json

import pytest

from tests.awsai.emulator.clients import (
    HAIKU,
    ClientError,
    client,
    last,
    streamed,
    text_of,
    user,
)

GUARDRAIL = {"guardrailIdentifier": "incidentops", "guardrailVersion": "1"}


def apply(emulator, *texts: str, source: str = "INPUT"):
    return client(emulator).apply_guardrail(
        **GUARDRAIL, source=source, content=[{"text": {"text": text}} for text in texts]
    )


def converse(emulator, text: str, **config: str):
    return client(emulator).converse(
        modelId=HAIKU, messages=user(text), guardrailConfig={**GUARDRAIL, **config}
    )


def test_a_harmless_text_passes(emulator):
    response = apply(emulator, "all is well")
    assert (response["action"], response["outputs"]) == ("NONE", [])


def test_what_is_masked_is_masked_in_every_text(emulator):
    response = apply(emulator, "a SECRET", "fine", source="OUTPUT")
    assert response["action"] == "GUARDRAIL_INTERVENED"
    assert [output["text"] for output in response["outputs"]] == ["a {PASSWORD}", "fine"]
    (assessment,) = response["assessments"]
    (found,) = assessment["sensitiveInformationPolicy"]["piiEntities"]
    assert (found["type"], found["action"]) == ("PASSWORD", "ANONYMIZED")
    assert "SECRET" not in json.dumps(assessment)


def test_what_is_denied_is_answered_by_the_words_of_the_guardrail(emulator):
    response = apply(emulator, "BLOCKED")
    assert [output["text"] for output in response["outputs"]] == [
        "The guardrail blocked this request."
    ]
    (topic,) = response["assessments"][0]["topicPolicy"]["topics"]
    assert (topic["name"], topic["action"]) == ("credentials", "BLOCKED")


def test_findings_without_a_word_of_their_own_are_told_as_what_comes_nearest(emulator):
    response = apply(emulator, "IGNORE the rules, TOKEN")
    assert [output["text"] for output in response["outputs"]] == ["IGNORE the rules, {KEY}"]
    (assessment,) = response["assessments"]
    (attack,) = assessment["contentPolicy"]["filters"]
    assert (attack["type"], attack["action"]) == ("PROMPT_ATTACK", "NONE")
    assert attack["detected"]
    (regex,) = assessment["sensitiveInformationPolicy"]["regexes"]
    assert (regex["name"], regex["action"]) == ("TOKEN", "ANONYMIZED")


def test_units_are_begun_thousands_of_characters_for_each_policy(emulator):
    usage = apply(emulator, "x" * 1500, "y" * 501)["usage"]
    assert usage["topicPolicyUnits"] == usage["contentPolicyUnits"] == 3
    assert usage["wordPolicyUnits"] == 0  # not switched on
    assert last(emulator).units == {
        "guardrail.topics": 3,
        "guardrail.content": 3,
        "guardrail.pii": 3,
        "guardrail.regex": 3,
    }


def test_a_guardrail_that_nobody_made_is_not_found(emulator):
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client(emulator).apply_guardrail(
            guardrailIdentifier="nobodys",
            guardrailVersion="1",
            source="INPUT",
            content=[{"text": {"text": "hi"}}],
        )


def test_blocked_input_is_not_sent_to_the_model_and_costs_no_tokens(emulator):
    response = converse(emulator, "BLOCKED")
    assert response["stopReason"] == "guardrail_intervened"
    assert text_of(response) == "The guardrail blocked this request."
    assert response["usage"]["totalTokens"] == 0
    assert last(emulator).tokens == {}
    assert last(emulator).units["guardrail.topics"] == 1


def test_blocked_output_is_withheld_and_billed(emulator):
    response = converse(emulator, "UNSPEAKABLE")
    assert response["stopReason"] == "guardrail_intervened"
    assert text_of(response) == "The guardrail blocked this answer."
    assert last(emulator).tokens["output"] == response["usage"]["outputTokens"] > 0
    assert last(emulator).units["guardrail.topics"] == 2


def test_masked_input_is_what_the_model_reads(emulator):
    response = converse(emulator, "the SECRET of it")
    assert text_of(response) == "the {PASSWORD} of it "
    assert response["stopReason"] == "end_turn"


def test_only_marked_blocks_are_guarded(emulator):
    message = {
        "role": "user",
        "content": [{"text": "BLOCKED"}, {"guardContent": {"text": {"text": "harmless"}}}],
    }
    response = client(emulator).converse(
        modelId=HAIKU, system=[], messages=[message], guardrailConfig=GUARDRAIL
    )
    assert last(emulator).tokens["input"] > 0
    assert response["stopReason"] == "guardrail_intervened"  # by its repetition in the answer


def test_the_trace_tells_what_was_found_and_what_it_was_billed(emulator):
    trace = converse(emulator, "a SECRET", trace="enabled")["trace"]["guardrail"]
    assessment = trace["inputAssessment"]["incidentops"]
    assert assessment["sensitiveInformationPolicy"]["piiEntities"][0]["type"] == "PASSWORD"
    assert assessment["invocationMetrics"]["usage"]["topicPolicyUnits"] == 1
    assert "trace" not in converse(emulator, "a SECRET")


def test_a_guarded_stream_says_nothing_before_it_was_checked(emulator):
    text, events = streamed(
        client(emulator).converse_stream(
            modelId=HAIKU, messages=user("fine UNSPEAKABLE"), guardrailConfig=GUARDRAIL
        )
    )
    assert text == "The guardrail blocked this answer."
    assert events["messageStop"]["stopReason"] == "guardrail_intervened"


def test_an_invoked_model_says_in_its_body_that_the_guardrail_intervened(emulator):
    def action(text: str) -> str:
        body = {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": text}],
        }
        response = client(emulator).invoke_model(modelId=HAIKU, body=json.dumps(body), **GUARDRAIL)
        return str(json.loads(response["body"].read())["amazon-bedrock-guardrailAction"])

    assert [action("fine"), action("BLOCKED")] == ["NONE", "INTERVENED"]
