"""What happened, as frozen values in the past tense.

An event is published in the transaction that made it true (`outbox.publish`) and reaches receivers
and live topics after that transaction has committed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events. Fields are JSON values; they are the event's `data` on the wire.

    `type` is the name clients see. `version` is the version of the entity the event tells about:
    applying an event whose version is not newer than what one holds is harmless.
    """

    type: ClassVar[str]
    version: int = 0

    def data(self) -> dict[str, Any]:
        fields = dict(vars(self))
        del fields["version"]
        return fields


E = TypeVar("E", bound=Event)
Receiver = Callable[[E], None]

_types: dict[str, type[Event]] = {}
_receivers: dict[str, list[Callable[[Any], None]]] = defaultdict(list)


def register(event_type: type[E]) -> type[E]:
    """Class decorator: make a concrete event type known by its wire name."""
    known = _types.setdefault(event_type.type, event_type)
    if known is not event_type:
        raise ValueError(f"Two event types are named {event_type.type!r}.")
    return event_type


def receives(event_type: type[E]) -> Callable[[Receiver[E]], Receiver[E]]:
    """Decorator: call the function, at least once, after an event of this type is committed.

    Receivers live in an app's `receivers.py`, enqueue a task and return; they must be idempotent.
    """

    def add(receiver: Receiver[E]) -> Receiver[E]:
        _receivers[event_type.type].append(receiver)
        return receiver

    return add


def receivers_of(type_name: str) -> list[Callable[[Any], None]]:
    return list(_receivers.get(type_name, ()))


def is_unheard(type_name: str) -> bool:
    """Whether the type is known here and nobody receives it."""
    return type_name in _types and not _receivers.get(type_name)


def rebuild(type_name: str, data: dict[str, Any], version: int) -> Event:
    """The event a stored row stands for."""
    return _types[type_name](version=version, **data)
