"""What the emulator was asked and what it billed, so that both can be counted independently."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from awsai.emulator.exchange import Request

KEPT = 10_000
_ATTEMPT = re.compile(r"\battempt=(\d+)")


@dataclass(kw_only=True)
class Entry:
    """One HTTP request, entered before it is answered.

    `tokens` and `units` are by the meters of `awsai.ports.Usage`, and are what the request is billed
    by; those of a stream come as it ends. `ended` says how a stream ended: "complete", "exception",
    "cut" or "abandoned". `problem` is what was wrong with an answer of the emulator's own.
    """

    request_id: str
    at: datetime
    invocation_id: str = ""
    attempt: int | None = None
    service: str = ""
    operation: str = ""
    region: str = ""
    principal_arn: str = ""
    model_requested: str = ""
    model_invoked: str = ""
    service_tier: str = "default"
    params_digest: str = ""
    status: int | None = None
    error: str = ""
    faults: tuple[str, ...] = ()
    tokens: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, int] = field(default_factory=dict)
    ended: str = ""
    problem: str = ""

    def bill(
        self,
        *,
        tokens: Mapping[str, int] | None = None,
        units: Mapping[str, int] | None = None,
    ) -> None:
        """Add to what the request is billed by; what is nought is left out."""
        self.tokens = _sum(self.tokens, tokens or {})
        self.units = _sum(self.units, units or {})


def entry_of(request: Request, *, request_id: str, at: datetime) -> Entry:
    attempt = _ATTEMPT.search(request.headers.get("amz-sdk-request", ""))
    content = request.target.encode() + b"\n" + request.body
    return Entry(
        request_id=request_id,
        at=at,
        invocation_id=request.headers.get("amz-sdk-invocation-id", ""),
        attempt=int(attempt[1]) if attempt else None,
        params_digest=hashlib.sha256(content).hexdigest(),
    )


class RequestLog:
    """The last requests, the oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._lock = threading.Lock()

    def append(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)

    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries)

    def rows(self) -> list[dict[str, Any]]:
        """As JSON has it."""
        return [asdict(entry) | {"at": entry.at.isoformat()} for entry in self.entries()]


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    added = {meter: one.get(meter, 0) + other.get(meter, 0) for meter in {**one, **other}}
    return {meter: count for meter, count in added.items() if count}
