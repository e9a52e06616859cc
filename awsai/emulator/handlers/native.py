"""The bodies of InvokeModel: each family of models has a form of its own, read into Converse's.

Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html
and https://docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from awsai.emulator import shapes
from awsai.emulator.catalogue import Model
from awsai.emulator.errors import AwsError, invalid
from awsai.emulator.operations import service_model

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Family:
    """`read` gives a conversation in the form of Converse, `write` the body of an answer."""

    read: Callable[[Body], Body]
    write: Callable[[Model, str, str, Mapping[str, Any]], Body]


def family_of(model: Model) -> Family:
    """Raises: AwsError, ValidationException: the body of these models is not known here."""
    if model.id.startswith("anthropic."):
        return Family(read=_read_claude, write=_write_claude)
    if model.id.startswith("amazon.nova-"):
        return Family(read=_read_nova, write=_write_nova)
    raise invalid(f"InvokeModel does not serve {model.id} here.")


def document(body: bytes) -> Body:
    """Raises: AwsError, ValidationException."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise malformed("the body is not JSON") from None
    if not isinstance(parsed, dict):
        raise malformed("the body is not an object")
    return parsed


def encoded(body: Body) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def check(asked: Body) -> None:
    """Raises: AwsError, ValidationException, where it is no request that Converse would take."""
    shape = service_model("bedrock-runtime").operation_model("Converse").input_shape
    if found := shapes.problems(shape, asked):
        raise malformed("; ".join(found))


def malformed(what: str) -> AwsError:
    return invalid(f"Malformed input request: {what}, please reformat your input and try again.")


# --- Claude: the Messages API ------------------------------------------------------------------


def _read_claude(body: Body) -> Body:
    for name in ("anthropic_version", "max_tokens", "messages"):
        if name not in body:
            raise malformed(f"#: required key [{name}] not found")
    config = {
        name: body[key]
        for name, key in (
            ("maxTokens", "max_tokens"),
            ("temperature", "temperature"),
            ("topP", "top_p"),
            ("stopSequences", "stop_sequences"),
        )
        if key in body
    }
    asked: Body = {
        "messages": [
            {"role": _get(one, "role"), "content": _claude_blocks(_get(one, "content"))}
            for one in _list(body["messages"])
        ],
        "inferenceConfig": config,
    }
    if "system" in body:
        asked["system"] = _claude_blocks(body["system"])
    if "top_k" in body:
        asked["additionalModelRequestFields"] = {"top_k": body["top_k"]}
    return asked


def _claude_blocks(content: Any) -> list[Body]:
    if isinstance(content, str):
        return [{"text": content}]
    blocks: list[Body] = []
    for block in _list(content):
        if _get(block, "type") != "text":
            raise malformed(f"content of type {block['type']} is not read here")
        blocks.append({"text": _get(block, "text")})
        if cache := block.get("cache_control"):
            ttl = {"ttl": cache["ttl"]} if "ttl" in cache else {}
            blocks.append({"cachePoint": {"type": "default", **ttl}})
    return blocks


def _write_claude(model: Model, text: str, stop_reason: str, usage: Mapping[str, Any]) -> Body:
    written = {one["ttl"]: one["inputTokens"] for one in usage.get("cacheDetails", ())}
    return {
        "id": f"msg_bdrk_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": model.id.removeprefix("anthropic."),
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn" if stop_reason == "guardrail_intervened" else stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": usage["inputTokens"],
            "cache_creation_input_tokens": usage.get("cacheWriteInputTokens", 0),
            "cache_creation": {
                f"ephemeral_{ttl}_input_tokens": written.get(ttl, 0) for ttl in ("5m", "1h")
            },
            "cache_read_input_tokens": usage.get("cacheReadInputTokens", 0),
            "output_tokens": usage["outputTokens"],
        },
    }


# --- Nova: nearly Converse itself --------------------------------------------------------------


def _read_nova(body: Body) -> Body:
    if "messages" not in body:
        raise malformed("#: required key [messages] not found")
    asked: Body = {
        name: body[name] for name in ("messages", "system", "inferenceConfig") if name in body
    }
    config = asked.get("inferenceConfig")
    if isinstance(config, dict):
        config = dict(config)
        if "max_new_tokens" in config:
            config["maxTokens"] = config.pop("max_new_tokens")
        extra = {name: config.pop(name) for name in ("topK",) if name in config}
        asked |= {"inferenceConfig": config, "additionalModelRequestFields": extra}
    return asked


def _write_nova(model: Model, text: str, stop_reason: str, usage: Mapping[str, Any]) -> Body:
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": stop_reason,
        "usage": {
            "inputTokens": usage["inputTokens"],
            "outputTokens": usage["outputTokens"],
            "totalTokens": usage["totalTokens"],
            "cacheReadInputTokenCount": usage.get("cacheReadInputTokens", 0),
            "cacheWriteInputTokenCount": usage.get("cacheWriteInputTokens", 0),
        },
    }


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise malformed("an array is expected")
    return value


def _get(value: Any, key: str) -> Any:
    if not isinstance(value, dict) or key not in value:
        raise malformed(f"#: required key [{key}] not found")
    return value[key]
