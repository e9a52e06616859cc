"""What the ledger says, summed up: in total and by service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

from django.conf import settings
from django.db.models import Avg, Count, Max, Q, QuerySet, Sum

from awsai.models import AwsCall, Outcome

NO_CALLS = "No call was made yet."
NO_LATENCY = "No call with a measured latency yet."


@dataclass(frozen=True, kw_only=True)
class Service:
    """An AI service the product can use; `name` is the word in the ledger's `service` column."""

    name: str
    title: str


SERVICES = (
    Service(name="bedrock-claude", title="Amazon Bedrock: Claude"),
    Service(name="bedrock-nova", title="Amazon Bedrock: Nova"),
    Service(name="bedrock-agents", title="Agents for Amazon Bedrock"),
    Service(name="bedrock-guardrails", title="Guardrails for Amazon Bedrock"),
    Service(name="bedrock-knowledge-bases", title="Knowledge Bases for Amazon Bedrock"),
    Service(name="q-business", title="Amazon Q Business"),
    Service(name="comprehend", title="Amazon Comprehend"),
    Service(name="textract", title="Amazon Textract"),
)

_MONEY = ("nano_usd", "list_price_nano_usd")
_FIGURES: dict[str, Any] = {
    "calls": Count("pk"),
    "failures": Count("pk", filter=~Q(outcome=Outcome.SUCCEEDED)),
    "unpriced": Count("pk", filter=Q(nano_usd=None) | Q(list_price_nano_usd=None)),
    "nano_usd": Sum("nano_usd", default=0),
    "list_price_nano_usd": Sum("list_price_nano_usd", default=0),
    "latency_ms": Avg("latency_ms"),
    "last_call_at": Max("started_at"),
}


class Summary(TypedDict):
    """`configured_provider` serves the next call; `by_provider` counts those that served."""

    configured_provider: str
    calls: int
    failures: int
    unpriced: int
    nano_usd: int
    list_price_nano_usd: int
    latency_ms: float | None
    latency_ms_reason: str
    last_call_at: Any
    by_provider: dict[str, int]


def summary(calls: QuerySet[AwsCall]) -> Summary:
    figures: Any = calls.aggregate(**_FIGURES)
    by_provider = calls.values_list("provider").annotate(Count("pk")).order_by("provider")
    return Summary(
        configured_provider=settings.AWSAI_PROVIDER,
        calls=figures["calls"],
        failures=figures["failures"],
        unpriced=figures["unpriced"],
        nano_usd=figures["nano_usd"],
        list_price_nano_usd=figures["list_price_nano_usd"],
        latency_ms=figures["latency_ms"],
        latency_ms_reason=_why_no_latency(figures),
        last_call_at=figures["last_call_at"],
        by_provider=dict(by_provider),
    )


def services() -> list[dict[str, Any]]:
    """One row a service, from the ledger alone; a service nobody called says so."""
    rows: Any = AwsCall.objects.values("service").annotate(**_FIGURES)
    by_service = {row["service"]: row for row in rows}
    providers = _providers_by_service()
    return [
        _service(service, by_service.get(service.name), providers.get(service.name, []))
        for service in SERVICES
    ]


def _providers_by_service() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    pairs = AwsCall.objects.values_list("service", "provider").distinct()
    for service, provider in pairs.order_by("service", "provider"):
        found.setdefault(service, []).append(provider)
    return found


def _service(
    service: Service, figures: dict[str, Any] | None, providers: list[str]
) -> dict[str, Any]:
    if figures is None:
        figures = dict.fromkeys(("calls", "failures", "unpriced", *_MONEY), 0)
    return {
        "service": service.name,
        "title": service.title,
        "provider": ", ".join(providers) or "not called",
        "calls": figures["calls"],
        "failures": figures["failures"],
        "unpriced": figures["unpriced"],
        "nano_usd": figures["nano_usd"],
        "list_price_nano_usd": figures["list_price_nano_usd"],
        "latency_ms": figures.get("latency_ms"),
        "latency_ms_reason": _why_no_latency(figures),
        "last_call_at": figures.get("last_call_at"),
    }


def _why_no_latency(figures: dict[str, Any]) -> str:
    if figures.get("latency_ms") is not None:
        return ""
    return NO_LATENCY if figures["calls"] else NO_CALLS
