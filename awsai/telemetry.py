"""A row of the ledger in the words of OpenTelemetry's conventions for generative AI.

The names are those of semantic conventions 0.66b2, where all of `gen_ai.*` is still in development
(since moved to github.com/open-telemetry/semantic-conventions-genai): they stand here alone. What
has no name there, such as money, is under `incidentops.`. No words of a call are ever among them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

# The operation of each of AWS, and of our own algorithms, that generates or retrieves.
_OPERATIONS = {
    "Converse": "chat",
    "ConverseStream": "chat",
    "InvokeModel": "chat",
    "InvokeModelWithResponseStream": "chat",
    "RetrieveAndGenerate": "chat",
    "ChatSync": "chat",
    "InvokeAgent": "invoke_agent",
    "Retrieve": "retrieval",
    "SearchRelevantContent": "retrieval",
    "answer": "chat",
    "explain": "chat",
    "say": "chat",
    "retrieve": "retrieval",
}
_STREAMS = frozenset({"ConverseStream", "InvokeModelWithResponseStream", "InvokeAgent"})
# Those the conventions have no word for are named after the product.
_PROVIDERS = {"q-business": "aws.q_business", "local": "incidentops.local"}


def span(call: Mapping[str, Any]) -> dict[str, Any]:
    """The client span of a call, given as the API shows it (`ledger.call_record`)."""
    found = {name: value for name, value in _attributes(call).items() if value not in (None, "")}
    operation = found.get("gen_ai.operation.name", call["operation"])
    return {
        "name": f"{operation} {call['model_requested']}".strip(),
        "kind": "CLIENT",
        "start_time": call["started_at"],
        "duration_ms": call["latency_ms"],
        "attributes": found,
    }


def is_collected() -> bool:
    """Whether anybody collects logs at the level that calls are logged at."""
    return log.isEnabledFor(logging.DEBUG)


def log_call(call: Mapping[str, Any]) -> None:
    """One line of JSON a call."""
    log.debug("%s", json.dumps(span(call), sort_keys=True))


def _attributes(call: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a call; what is not known is None or empty."""
    return {
        **(_generative(call) if call["operation"] in _OPERATIONS else {}),
        "rpc.method": "" if call["provider"] == "local" else call["operation"],
        "cloud.region": call["region"],
        "aws.request_id": call["request_id"],
        "error.type": "" if call["outcome"] == "succeeded" else _error(call),
        "incidentops.call": call["id"],
        "incidentops.provider": call["provider"],
        "incidentops.service": call["service"],
        "incidentops.operation": call["operation"],
        "incidentops.outcome": call["outcome"],
        "incidentops.incident": call["incident"],
        "incidentops.route_decision": call["route_decision"],
        "incidentops.attempts": call["attempts"],
        "incidentops.usage.confidence": call["usage_confidence"],
        "incidentops.cost.nano_usd": call["nano_usd"],
        "incidentops.cost.list_price_nano_usd": call["list_price_nano_usd"],
        "incidentops.cost.price_version": call["price_version"],
    }


def _generative(call: Mapping[str, Any]) -> dict[str, Any]:
    first_ms = call["first_token_ms"]
    return {
        "gen_ai.operation.name": _OPERATIONS[call["operation"]],
        "gen_ai.provider.name": _PROVIDERS.get(call["service"], "aws.bedrock"),
        "gen_ai.agent.name": call["agent"],
        "gen_ai.request.model": call["model_requested"],
        "gen_ai.request.stream": True if call["operation"] in _STREAMS else None,
        "gen_ai.response.id": call["request_id"],
        "gen_ai.response.model": call["model_invoked"],
        "gen_ai.response.finish_reasons": [call["stop_reason"]] if call["stop_reason"] else None,
        "gen_ai.response.time_to_first_chunk": None if first_ms is None else first_ms / 1000,
        **_usage(call["tokens"]),
    }


def _usage(tokens: Mapping[str, int]) -> dict[str, int]:
    """The conventions count what came from or went to a cache as input; Bedrock does not."""
    if not any(tokens.values()):
        return {}
    return {
        "gen_ai.usage.input_tokens": tokens["input"] + tokens["cache_read"] + tokens["cache_write"],
        "gen_ai.usage.output_tokens": tokens["output"],
        "gen_ai.usage.cache_read.input_tokens": tokens["cache_read"],
        "gen_ai.usage.cache_creation.input_tokens": tokens["cache_write"],
    }


def _error(call: Mapping[str, Any]) -> str:
    return str(call["error_code"] or call["outcome"])
