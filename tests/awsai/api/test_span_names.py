from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from awsai import telemetry
from awsai.ledger import call_record
from awsai.ports import Usage
from tests.awsai.health.ledger_rows import make_call

pytestmark = pytest.mark.django_db(transaction=True)
# Of the semantic conventions 0.66b2, those that are used here.
NAMES = {
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.agent.name",
    "gen_ai.request.model",
    "gen_ai.request.stream",
    "gen_ai.response.id",
    "gen_ai.response.model",
    "gen_ai.response.finish_reasons",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "rpc.method",
    "cloud.region",
    "aws.request_id",
    "error.type",
}


def attributes(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = telemetry.span(call_record(make_call(**fields)))["attributes"]
    return found


@pytest.mark.parametrize(
    ("operation", "service", "name"),
    [
        ("Converse", "bedrock-nova", "chat"),
        ("InvokeAgent", "bedrock-agents", "invoke_agent"),
        ("Retrieve", "bedrock-knowledge-bases", "retrieval"),
        ("ChatSync", "q-business", "chat"),
    ],
)
def test_operations_have_the_words_of_the_conventions(operation, service, name):
    found = attributes(operation=operation, service=service)
    assert found["gen_ai.operation.name"] == name
    assert {key for key in found if not key.startswith("incidentops.")} <= NAMES


def test_what_generates_nothing_is_not_called_generative():
    found = attributes(operation="DetectSentiment", service="comprehend", usage=Usage())
    assert found["rpc.method"] == "DetectSentiment"
    assert not [key for key in found if key.startswith("gen_ai.")]


def test_the_local_writer_is_not_called_bedrock():
    found = attributes(operation="answer", service="local", provider="local")
    assert found["gen_ai.provider.name"] == "incidentops.local"
    assert "rpc.method" not in found


def test_a_failure_is_told_by_its_code_else_by_its_outcome():
    assert attributes(outcome="throttled", error_code="Throttling")["error.type"] == "Throttling"
    assert attributes(outcome="lost")["error.type"] == "lost"


def test_what_is_not_known_is_left_out():
    found = attributes(usage=Usage())
    assert not [key for key in found if key.startswith("gen_ai.usage")]
    assert "gen_ai.response.time_to_first_chunk" not in found


def test_every_call_is_logged_once_at_debug_and_never_above(
    caplog, django_capture_on_commit_callbacks
):
    with (
        caplog.at_level(logging.INFO, logger="awsai.telemetry"),
        django_capture_on_commit_callbacks(execute=True),
    ):
        make_call()
    assert not caplog.records
    with (
        caplog.at_level(logging.DEBUG, logger="awsai.telemetry"),
        django_capture_on_commit_callbacks(execute=True),
    ):
        call = make_call()
    (line,) = [record.getMessage() for record in caplog.records if "telemetry" in record.name]
    assert json.loads(line)["attributes"]["incidentops.call"] == call.sequence
