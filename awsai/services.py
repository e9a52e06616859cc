"""What the ledger says, summed up: in total, by service and by how calls ended."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict

from django.conf import settings
from django.db.models import (
    Avg,
    BigIntegerField,
    Case,
    Count,
    Expression,
    FloatField,
    Max,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
)
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Floor, Ln

from awsai.models import AwsCall, Outcome
from awsai.ports import TOKEN_METERS

NO_CALLS = "No call was made yet."
NO_LATENCY = "No call with a measured latency yet."


@dataclass(frozen=True, kw_only=True)
class Service:
    """An AI service the product can use; `name` is the word in the ledger's `service` column.

    `needs` names the settings without which it is not asked.
    """

    name: str
    title: str
    needs: tuple[str, ...] = ()


SERVICES = (
    Service(name="bedrock-claude", title="Amazon Bedrock: Claude"),
    Service(name="bedrock-nova", title="Amazon Bedrock: Nova"),
    Service(
        name="bedrock-agents",
        title="Agents for Amazon Bedrock",
        needs=("AWS_AGENT_ID", "AWS_AGENT_ALIAS_ID"),
    ),
    Service(
        name="bedrock-guardrails",
        title="Guardrails for Amazon Bedrock",
        needs=("AWS_GUARDRAIL_ID",),
    ),
    Service(
        name="bedrock-knowledge-bases",
        title="Knowledge Bases for Amazon Bedrock",
        needs=("AWS_KNOWLEDGE_BASE_ID",),
    ),
    Service(
        name="q-business",
        title="Amazon Q Business",
        needs=("AWS_Q_APPLICATION_ID", "AWS_Q_RETRIEVER_ID"),
    ),
    Service(name="comprehend", title="Amazon Comprehend"),
    Service(name="textract", title="Amazon Textract"),
)
LOCAL = Service(name="local", title="This installation")


# --- Any calls, in total -----------------------------------------------------------------------


class Summary(TypedDict):
    """`configured_provider` serves the next call; `by_provider` counts those that served.

    A sum of money is null when none of the calls has a known price.
    """

    configured_provider: str
    calls: int
    failures: int
    unpriced: int
    nano_usd: int | None
    list_price_nano_usd: int | None
    latency_ms: float | None
    latency_ms_reason: str
    last_call_at: Any
    by_provider: dict[str, int]


_UNPRICED = Q(nano_usd=None) | Q(list_price_nano_usd=None)


def summary(calls: QuerySet[AwsCall]) -> Summary:
    found: Any = calls.aggregate(
        calls=Count("pk"),
        failures=Count("pk", filter=~Q(outcome=Outcome.SUCCEEDED)),
        unpriced=Count("pk", filter=_UNPRICED),
        billed=Sum("nano_usd"),
        list_price=Sum("list_price_nano_usd"),
        mean_ms=Avg("latency_ms"),
        last_call_at=Max("started_at"),
    )
    by_provider = calls.values_list("provider").annotate(Count("pk")).order_by("provider")
    return Summary(
        configured_provider=settings.AWSAI_PROVIDER,
        calls=found["calls"],
        failures=found["failures"],
        unpriced=found["unpriced"],
        nano_usd=found["billed"] if found["calls"] else 0,
        list_price_nano_usd=found["list_price"] if found["calls"] else 0,
        latency_ms=found["mean_ms"],
        latency_ms_reason=why_no_latency(found["calls"], found["mean_ms"]),
        last_call_at=found["last_call_at"],
        by_provider=dict(by_provider),
    )


def why_no_latency(calls: int, latency_ms: float | None) -> str:
    if latency_ms is not None:
        return ""
    return NO_LATENCY if calls else NO_CALLS


# --- By service, provider and outcome ----------------------------------------------------------

# Fourteen buckets for each doubling of a latency: their middles are within 2.5 % of what they hold.
_BUCKETS_A_DOUBLING = 14
# Half a millisecond off, whole milliseconds never stand on an edge, and 2^k ms is the last of its
# doubling.
_HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What some calls add up to; those of parts add up to those of the whole.

    `unbilled` calls are not known to have cost something or nothing, of `unlisted` ones the list
    price is not known; `unpriced` counts those of either kind. `latencies` counts calls by bucket of
    `latency_ms`, of which `latency_ms` is the sum.
    `last` is the place of the newest call in the ledger.
    """

    calls: int = 0
    unpriced: int = 0
    unbilled: int = 0
    unlisted: int = 0
    nano_usd: int = 0
    list_price_nano_usd: int = 0
    latency_ms: int = 0
    latencies: Counter[int] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    last: int = 0
    last_at: datetime | None = None

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            calls=self.calls + other.calls,
            unpriced=self.unpriced + other.unpriced,
            unbilled=self.unbilled + other.unbilled,
            unlisted=self.unlisted + other.unlisted,
            nano_usd=self.nano_usd + other.nano_usd,
            list_price_nano_usd=self.list_price_nano_usd + other.list_price_nano_usd,
            latency_ms=self.latency_ms + other.latency_ms,
            latencies=self.latencies + other.latencies,
            tokens=self.tokens + other.tokens,
            last=max(self.last, other.last),
            last_at=max(filter(None, (self.last_at, other.last_at)), default=None),
        )

    @property
    def billed(self) -> int | None:
        """What is known to be billed in nano-USD; None while nothing is known of any call."""
        return None if self.calls and self.unbilled == self.calls else self.nano_usd

    @property
    def list_price(self) -> int | None:
        """As `billed`, by the list."""
        return None if self.calls and self.unlisted == self.calls else self.list_price_nano_usd

    @property
    def timed(self) -> int:
        """How many calls have a latency."""
        return self.latencies.total()

    def quantile_ms(self, q: float) -> int | None:
        """The latency that a share `q` of the calls did not pass, within 2.5 %; None without any."""
        rank, seen = math.ceil(q * self.timed), 0
        for bucket in sorted(self.latencies):
            seen += self.latencies[bucket]
            if seen >= rank:
                return round(2 ** ((bucket + 0.5) / _BUCKETS_A_DOUBLING) + _HALF)
        return None

    def timed_up_to(self, doubling: int) -> int:
        """How many calls took at most 2^doubling ms."""
        edge = doubling * _BUCKETS_A_DOUBLING
        return sum(count for bucket, count in self.latencies.items() if bucket < edge)


@dataclass(frozen=True, kw_only=True)
class Group:
    service: str
    provider: str
    outcome: str


Groups = Mapping[Group, Figures]


def total(parts: Iterable[Figures]) -> Figures:
    return sum(parts, start=Figures())


def _bucket() -> Expression:
    # A call of no measurable length counts as one of a millisecond; what was not measured is null.
    latency_ms = Case(
        When(latency_ms=0, then=Value(1.0)),
        default=Cast("latency_ms", FloatField()),
    )
    shifted = latency_ms - Value(_HALF)
    return Floor(Ln(shifted) * Value(_BUCKETS_A_DOUBLING / math.log(2)))


def groups(calls: QuerySet[AwsCall]) -> Groups:
    """The figures of these calls, added up by the database."""
    rows: Any = (
        calls.order_by()
        .annotate(bucket=_bucket())
        .values("service", "provider", "outcome", "bucket")
        .annotate(
            calls=Count("pk"),
            unpriced=Count("pk", filter=_UNPRICED),
            unbilled=Count("pk", filter=Q(nano_usd=None)),
            unlisted=Count("pk", filter=Q(list_price_nano_usd=None)),
            billed=Sum("nano_usd", default=0),
            list_price=Sum("list_price_nano_usd", default=0),
            waited_ms=Sum("latency_ms", default=0),
            last=Max("sequence"),
            last_at=Max("started_at"),
            **{f"of_{meter}": _tokens(meter) for meter in TOKEN_METERS},
        )
    )
    found: dict[Group, Figures] = {}
    for row in rows:
        group = Group(service=row["service"], provider=row["provider"], outcome=row["outcome"])
        found[group] = found.get(group, Figures()) + _figures(row)
    return found


def _tokens(meter: str) -> Sum:
    return Sum(Cast(KT(f"tokens__{meter}"), BigIntegerField()), default=0)


def _figures(row: Mapping[str, Any]) -> Figures:
    is_timed = row["bucket"] is not None
    return Figures(
        calls=row["calls"],
        unpriced=row["unpriced"],
        unbilled=row["unbilled"],
        unlisted=row["unlisted"],
        nano_usd=int(row["billed"]),
        list_price_nano_usd=int(row["list_price"]),
        latency_ms=row["waited_ms"],
        latencies=Counter({int(row["bucket"]): row["calls"]} if is_timed else {}),
        tokens=Counter({meter: int(row[f"of_{meter}"]) for meter in TOKEN_METERS}),
        last=row["last"],
        last_at=row["last_at"],
    )


class _Ledger:
    """The whole ledger, added up once: each look adds what came since the one before.

    Rows never change, and their order is that of their commits, so nothing can be missed. The hash
    of the last row tells whether it is still the same ledger.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sequence, self._hash = 0, ""
        self._groups: dict[Group, Figures] = {}

    def look(self) -> Groups:
        with self._lock:
            rows = AwsCall.objects.order_by("-sequence")
            if not rows.filter(sequence=self._sequence, hash=self._hash).exists():
                self._sequence, self._groups = 0, {}
            newest = rows.values_list("sequence", "hash").first()
            if newest is not None and newest[0] > self._sequence:
                self._add(groups(rows.filter(sequence__gt=self._sequence, sequence__lte=newest[0])))
                self._sequence, self._hash = newest
            return dict(self._groups)

    def _add(self, new: Groups) -> None:
        for group, figures in new.items():
            self._groups[group] = self._groups.get(group, Figures()) + figures


_ledger = _Ledger()


def all_time() -> Groups:
    """The figures of every call there was."""
    return _ledger.look()


def since(at: datetime) -> Groups:
    """The figures of the calls of the services above that began since then."""
    names = [service.name for service in (*SERVICES, LOCAL)]
    return groups(AwsCall.objects.filter(service__in=names, started_at__gte=at))
