"""The text frames a socket sends. Pure: what is here was decided elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

REVOKED = '{"type":"revoked"}'


def dumps(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    # Half of a surrogate pair, which JSON can carry and no encoding takes, goes out escaped.
    return text if _is_encodable(text) else json.dumps(value, separators=(",", ":"))


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def event(*, position: int, type: str, at: str, version: int, data: str) -> str:
    """One event of a batch, as text that every client of the topic shares. `data` is JSON text."""
    return (
        f'{{"position":{position},"type":{json.dumps(type)},"at":{json.dumps(at)},'
        f'"version":{version},"data":{data}}}'
    )


def batch(
    topic: str, epoch: str, *, first: int, last: int, sent_at: int, events: Iterable[str]
) -> str:
    """`sent_at` is in milliseconds since 1970; `events` are the texts of `event`."""
    return (
        f'{{"type":"batch","topic":{json.dumps(topic)},"epoch":{json.dumps(epoch)},'
        f'"from":{first},"to":{last},"sent_at":{sent_at},"events":[{",".join(events)}]}}'
    )


def snapshot(topic: str, epoch: str, *, position: int, data: str) -> str:
    """`data` is JSON text."""
    return (
        f'{{"type":"snapshot","topic":{json.dumps(topic)},"epoch":{json.dumps(epoch)},'
        f'"position":{position},"data":{data}}}'
    )


def heartbeat(topic: str, *, position: int, server_time: int) -> str:
    return dumps(
        {"type": "heartbeat", "topic": topic, "position": position, "server_time": server_time}
    )


def pong(t: Any) -> str:
    return dumps({"type": "pong", "t": t})
