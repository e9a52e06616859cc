"""What routing reads of the ledger: its last calls, and those that followed a decision."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

from django.conf import settings
from django.db.models import OuterRef, QuerySet, Subquery

from awsai.models import AwsCall, RouteDecision

# A bounded look at the ledger.
LOOKED_AT = 2000
_IDS_AT_ONCE = 500
_COLUMNS = (
    "sequence",
    "hash",
    "service",
    "provider",
    "model_invoked",
    "model_requested",
    "region",
    "route_decision",
    "outcome",
    "tokens",
    "latency_ms",
    "started_at",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PastCall:
    """What routing reads of a row of the ledger. `task` is that of the decision it followed."""

    service: str
    provider: str
    model: str
    region: str
    decision: int | None
    task: str | None
    outcome: str
    tokens: Mapping[str, int]
    latency_ms: int | None
    started_at: datetime


def recent() -> list[PastCall]:
    """The last calls by the configured provider, the newest first."""
    return _tail.read(settings.AWSAI_PROVIDER)


def of(decisions: Iterable[int]) -> dict[int, list[PastCall]]:
    """The calls that followed each decision, in their order; decisions without calls are left out."""
    found: dict[int, list[PastCall]] = defaultdict(list)
    ids = list(decisions)
    for start in range(0, len(ids), _IDS_AT_ONCE):
        calls = AwsCall.objects.filter(route_decision__in=ids[start : start + _IDS_AT_ONCE])
        for row in _rows(calls.order_by("sequence")):
            found[row["route_decision"]].append(_past_call(row))
    return found


class _Tail:
    """The end of the ledger. A row is read once, since no row of the chain ever changes."""

    def __init__(self, most: int) -> None:
        self._most, self._provider = most, ""
        self._calls: deque[PastCall] = deque(maxlen=most)
        self._newest = 0, ""
        self._change = Lock()

    def read(self, provider: str) -> list[PastCall]:
        """The calls by this provider, the newest first."""
        with self._change:
            new = self._new(provider)
            self._calls.extendleft(_past_call(row) for row in reversed(new))
            if new:
                self._newest = new[0]["sequence"], new[0]["hash"]
            return list(self._calls)

    def _new(self, provider: str) -> list[Mapping[str, Any]]:
        """What has come since the last look; everything, unless the row we knew still stands there."""
        calls = AwsCall.objects.filter(provider=provider).order_by("-sequence")
        sequence, digest = self._newest
        if provider == self._provider:
            *new, known = _rows(calls.filter(sequence__gte=sequence)[: self._most + 1]) or [{}]
            if known and (known["sequence"], known["hash"]) == (sequence, digest):
                return new
        self._provider, self._newest = provider, (0, "")
        self._calls.clear()
        return _rows(calls[: self._most])


_tail = _Tail(LOOKED_AT)


def _rows(calls: QuerySet[AwsCall]) -> list[Mapping[str, Any]]:
    decision = RouteDecision.objects.filter(pk=OuterRef("route_decision"))
    return list(calls.values(*_COLUMNS, task=Subquery(decision.values("task"))))


def _past_call(row: Mapping[str, Any]) -> PastCall:
    return PastCall(
        service=row["service"],
        provider=row["provider"],
        # A call that failed was answered by no model.
        model=row["model_invoked"] or row["model_requested"],
        region=row["region"],
        decision=row["route_decision"],
        task=row["task"],
        outcome=row["outcome"],
        tokens=row["tokens"],
        latency_ms=row["latency_ms"],
        started_at=row["started_at"],
    )
