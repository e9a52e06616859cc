"""Prompt caching: a prefix that ends at a cache point is paid for once and then read for less.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from awsai import tokens
from awsai.emulator.catalogue import Model

LIFETIMES = {"5m": timedelta(minutes=5), "1h": timedelta(hours=1)}
_KEPT = 1000


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """All that stands before a cache point, by its hash and its size."""

    digest: str
    tokens: int
    ttl: str


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What goes into a model, as it is counted. `prefixes` from the shortest to the longest."""

    tokens: int
    prefixes: tuple[Prefix, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CacheUse:
    """The tokens of a prompt by how they are billed; the rest of it is plain input."""

    read: int = 0
    written: Mapping[str, int] = field(default_factory=dict)


def prompt_of(conversation: Mapping[str, Any]) -> Prompt:
    """The prompt of a conversation in the form of Converse: tools, then system, then messages."""
    text, digest, prefixes = "", hashlib.sha256(), []
    for label, block in _blocks(conversation):
        if "cachePoint" in block:
            prefixes.append(
                Prefix(
                    digest=digest.hexdigest(),
                    tokens=tokens.estimate(text),
                    ttl=block["cachePoint"].get("ttl", "5m"),
                )
            )
            continue
        content = _text(block)
        text += content
        digest.update(json.dumps([label, content]).encode())
    return Prompt(tokens=tokens.estimate(text), prefixes=tuple(prefixes))


class PromptCache:
    """The prefixes that models have seen lately."""

    def __init__(self) -> None:
        self._expires_at: OrderedDict[tuple[str, str], datetime] = OrderedDict()
        self._lock = threading.Lock()

    def use(self, model: Model, prompt: Prompt, *, at: datetime) -> CacheUse:
        """Read the longest known prefix, write those beyond it, and keep all of them alive."""
        if model.cache_minimum_tokens is None:
            return CacheUse()
        prefixes = [one for one in prompt.prefixes if one.tokens >= model.cache_minimum_tokens]
        with self._lock:
            known = [one.tokens for one in prefixes if self._is_known(model, one, at)]
            for prefix in prefixes:
                key = (model.id, prefix.digest)
                self._expires_at[key] = at + LIFETIMES[prefix.ttl]
                self._expires_at.move_to_end(key)
            while len(self._expires_at) > _KEPT:
                self._expires_at.popitem(last=False)
        read = reached = max(known, default=0)
        written: dict[str, int] = {}
        for prefix in prefixes:
            if prefix.tokens > reached:
                written[prefix.ttl] = written.get(prefix.ttl, 0) + prefix.tokens - reached
                reached = prefix.tokens
        return CacheUse(read=read, written=written)

    def _is_known(self, model: Model, prefix: Prefix, at: datetime) -> bool:
        return self._expires_at.get((model.id, prefix.digest), at) > at


def _blocks(conversation: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for tool in conversation.get("toolConfig", {}).get("tools", ()):
        yield "tool", tool
    if "outputConfig" in conversation:
        yield "format", conversation["outputConfig"]
    for block in conversation.get("system", ()):
        yield "system", block
    for message in conversation.get("messages", ()):
        for block in message["content"]:
            yield message["role"], block


def _text(block: Mapping[str, Any]) -> str:
    if "text" in block:
        return str(block["text"])
    if "guardContent" in block:
        return str(block["guardContent"].get("text", {}).get("text", ""))
    return json.dumps(block, ensure_ascii=False, default=str)
