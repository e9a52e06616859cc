"""What the sockets and the pages show of the ledger, the services and the routes to models."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Q, QuerySet, Sum

from awsai import health
from awsai.events import AwsCallRecorded, ServiceHealthChanged
from awsai.ledger import call_record
from awsai.models import AwsCall, Outcome, RouteDecision
from incidentops.incidents.cards import instant
from incidentops.realtime.topics import Part, contribute

_SHOWN = 50
CALLS_SHOWN = 100
# One route lists every model that was considered and weighs as much as ten calls.
ROUTES_SHOWN = 10
# A sum is null when none of its calls has a known price, and leaves out those that have none.
_SUMS: dict[str, Any] = {
    "calls": Count("pk"),
    "failures": Count("pk", filter=~Q(outcome=Outcome.SUCCEEDED)),
    "billed": Sum("nano_usd"),
    "billed_unknown": Count("pk", filter=Q(nano_usd=None)),
    "list_price": Sum("list_price_nano_usd"),
    "list_price_unknown": Count("pk", filter=Q(list_price_nano_usd=None)),
}


def _newest(topic: str) -> list[dict[str, Any]]:
    """The newest calls about incidents: all others are for readers of the ledger."""
    del topic
    calls = AwsCall.objects.filter(incident_number__isnull=False).order_by("-sequence")
    return [call_record(call) for call in calls[:_SHOWN]]


def of_incident(topic: str) -> dict[str, Any]:
    """The newest calls and routes of an incident, how many there are, and sums of all its calls.

    Raises:
        LookupError: the topic names no number.
    """
    key = topic.partition(":")[2]
    if not (key.isdecimal() and len(key) < 19):
        raise LookupError(topic)
    calls = AwsCall.objects.of_incident(int(key))
    routes = RouteDecision.objects.filter(incident_number=int(key)).select_related("considered")
    return {
        "calls": [call_record(call) for call in calls.order_by("-sequence")[:CALLS_SHOWN]],
        "call_count": calls.count(),
        "providers": sums(calls, "provider"),
        "routes": [route_record(route) for route in routes.order_by("-pk")[:ROUTES_SHOWN]],
        "route_count": routes.count(),
    }


def sums(calls: QuerySet[AwsCall], *columns: str) -> list[dict[str, Any]]:
    """How many calls there are, how many failed and what they cost, for each value of the columns."""
    rows: Any = calls.order_by(*columns).values(*columns).annotate(**_SUMS)
    return list(rows)


def route_record(route: RouteDecision) -> dict[str, Any]:
    """A choice of models with all that were considered, the cascade first."""
    return {
        "id": route.pk,
        "at": instant(route.at),
        "task": route.task,
        "severity": route.severity,
        "level": route.level,
        "chosen": route.chosen,
        "chosen_region": route.chosen_region,
        "reason": route.reason,
        "candidates": [_candidate(one) for one in route.candidates],
    }


def _candidate(one: dict[str, Any]) -> dict[str, Any]:
    """`score` is in USD, null for who was not weighed; `assumed` names what no call has shown yet."""
    score = one["score"] or {}
    kept = ("model", "region", "reach", "order", "rejected", "cost_nano_usd")
    seen = ("calls", "failures", "p95_ms", "good", "bad")
    return {
        **{name: one[name] for name in (*kept, *seen)},
        "score": score.get("total_usd"),
        "assumed": score.get("assumed", []),
    }


def _incident(event: AwsCallRecorded) -> tuple[str, ...]:
    return (f"incident:{event.incident}",)


contribute(
    Part(
        topic="transparency",
        key="calls",
        snapshot=_newest,
        events=(AwsCallRecorded,),
    )
)
contribute(
    Part(
        topic="transparency",
        key="services",
        snapshot=lambda _: health.facts(),
        events=(ServiceHealthChanged,),
    )
)
contribute(
    Part(
        topic="incident",
        key="ledger",
        snapshot=of_incident,
        events=(AwsCallRecorded,),
        names=_incident,
    )
)
