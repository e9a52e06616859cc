"""What the sockets show.

A topic ("ops", "demo", "incident:12") is a stream that readers with a right may follow. It is made
of parts, which the apps that own the data register in their `topics.py`: a key in the snapshot, the
function that fills it, and the events that change it. Pages render the same snapshot function, so a
page and its socket cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from incidentops.realtime.events import Event


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A stream, or a family of streams when names carry a key after a colon.

    `permission` is what a reader needs.
    """

    prefix: str
    permission: str


def as_published(event: Event) -> dict[str, Any] | None:
    return event.data()


@dataclass(frozen=True, kw_only=True)
class Part:
    """One key of a topic's snapshot and the events that change it.

    `snapshot` maps the topic's full name to JSON data and raises `LookupError` when there is no
    such thing. `project` gives what readers of this topic may see of an event, None to leave it
    out. `names` gives the full topic names an event belongs to; the default is the prefix itself.
    """

    topic: str
    key: str
    snapshot: Callable[[str], Any]
    events: tuple[type[Event], ...] = ()
    project: Callable[[Any], dict[str, Any] | None] = as_published
    names: Callable[[Any], tuple[str, ...]] | None = None


_topics: dict[str, Topic] = {}
_parts: dict[tuple[str, str], Part] = {}


def register(topic: Topic) -> Topic:
    if topic.prefix in _topics:
        raise ValueError(f"Two topics are named {topic.prefix!r}.")
    _topics[topic.prefix] = topic
    return topic


def contribute(part: Part) -> Part:
    where = (part.topic, part.key)
    if where in _parts:
        raise ValueError(f"Two parts of topic {part.topic!r} are named {part.key!r}.")
    _parts[where] = part
    return part


def find(name: str) -> Topic | None:
    """The topic a full name such as "ops" or "incident:12" belongs to."""
    return _topics.get(name.partition(":")[0])


def snapshot(name: str) -> dict[str, Any]:
    """Everything a reader of this topic sees now, by part.

    Raises:
        LookupError: the topic is not registered, or its key names nothing.
    """
    prefix = name.partition(":")[0]
    if prefix not in _topics:
        raise LookupError(name)
    return {part.key: part.snapshot(name) for part in _parts.values() if part.topic == prefix}


def route(event: Event) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every (full topic name, data) under which the event is shown, each name once.

    Topics that see the same of it are given the same object.
    """
    seen: set[str] = set()
    projected: dict[Callable[[Any], dict[str, Any] | None], dict[str, Any] | None] = {}
    for part in _parts.values():
        if not isinstance(event, part.events):
            continue
        if part.project not in projected:
            projected[part.project] = part.project(event)
        data = projected[part.project]
        if data is None:
            continue
        for name in part.names(event) if part.names else (part.topic,):
            if name not in seen:
                seen.add(name)
                yield name, data
