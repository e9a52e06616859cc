"""Faults on demand: what the wire and the services do when they do not do their work.

A fault is armed for every client by `POST /_emulator/faults`, or asked for by one request in its
header `x-iop-fault`; either way as JSON, one object or a list. Without either there is none.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any

MAX_STALL_SECONDS = 300


class Kind(StrEnum):
    # Before the answer:
    ERROR = "error"  # `code`, and `status` where the operation does not model the code
    STALL = "stall"  # `seconds`
    RESET = "reset"
    # In a stream, once `after` events are out:
    STREAM_EXCEPTION = "stream_exception"  # `code`
    STREAM_CUT = "stream_cut"
    STREAM_STALL = "stream_stall"  # `seconds`
    STREAM_BAD_CRC = "stream_bad_crc"


# A request can wait more than once, but it ends only once.
_STALLS = frozenset({Kind.STALL, Kind.STREAM_STALL})


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`times` requests of the operation, in the region ("*": any), meet it, then it is spent."""

    kind: Kind
    operation: str = "*"
    region: str = "*"
    times: int = 1
    code: str = "InternalServerException"
    status: int | None = None
    message: str = "This failure was asked for."
    seconds: float = 0.0
    after: int = 0

    @property
    def is_in_stream(self) -> bool:
        return self.kind.startswith("stream_")

    @property
    def is_stall(self) -> bool:
        return self.kind in _STALLS

    def concerns(self, operation: str, region: str) -> bool:
        return self.operation in ("*", operation) and self.region in ("*", region)


def parse(document: str | bytes) -> list[Fault]:
    """The faults of a JSON object or list.

    Raises:
        ValueError: it is no JSON, or has a member or a value that faults do not have.
    """
    parsed = json.loads(document)
    return [_fault(one) for one in (parsed if isinstance(parsed, list) else [parsed])]


def _fault(members: Any) -> Fault:
    if not isinstance(members, dict):
        raise ValueError("A fault is a JSON object.")
    if unknown := set(members) - {field.name for field in fields(Fault)}:
        raise ValueError(f"Unknown members: {', '.join(sorted(unknown))}")
    for name, value in members.items():
        if not _is_valid(name, value):
            raise ValueError(f"{name} cannot be {value!r}.")
    if "kind" not in members:
        raise ValueError(f"A fault has a kind, one of {', '.join(Kind)}.")
    return Fault(**members | {"kind": Kind(members["kind"])})


def _is_valid(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return False
    match name:
        case "kind":
            return value in list(Kind)
        case "times" | "after":
            return isinstance(value, int) and value >= 0
        case "status":
            return isinstance(value, int) and 400 <= value <= 599
        case "seconds":
            return isinstance(value, int | float) and 0 <= value <= MAX_STALL_SECONDS
        case _:
            return isinstance(value, str)


class Faults:
    """The faults that are armed, in the order they came."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []
        self._lock = threading.Lock()

    def arm(self, faults: Iterable[Fault]) -> None:
        with self._lock:
            self._armed += [fault for fault in faults if fault.times > 0]

    def clear(self) -> None:
        with self._lock:
            self._armed.clear()

    def armed(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(fault) for fault in self._armed]

    def take(
        self, operation: str, *, region: str, is_stream: bool, asked_for: Iterable[Fault]
    ) -> list[Fault]:
        """What one request meets: stalls, up to and with the first fault that ends it.

        Faults behind that one, and those of streams for an operation without, wait for another
        request. `asked_for` are the request's own and come first.
        """
        met: list[Fault] = []
        with self._lock:
            for fault in [*asked_for, *self._armed]:
                if not fault.concerns(operation, region) or (fault.is_in_stream and not is_stream):
                    continue
                met.append(fault)
                if not fault.is_stall:
                    break
            self._armed = [left for fault in self._armed if (left := _left(fault, met)).times > 0]
        return met


def _left(fault: Fault, met: list[Fault]) -> Fault:
    # By identity: equal faults that were armed one after the other are spent one after the other.
    is_met = any(fault is one for one in met)
    return replace(fault, times=fault.times - 1) if is_met else fault
