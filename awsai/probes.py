"""Whether the AI services can be used, and what the ledger counts, for Prometheus."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from django.conf import settings
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from awsai import budgets, health
from awsai.models import Outcome
from awsai.ports import TOKEN_METERS
from awsai.services import Figures, all_time
from incidentops.health.exposition import REGISTRY
from incidentops.health.registry import Probe, Reading, register

_Who = tuple[str, str]
# From 2^4 to 2^18 ms: 16 ms to four minutes, which is longer than a call may take.
_DOUBLINGS = range(4, 19)


def _ai_services() -> Reading:
    """Never decides about readiness: without any of these services the local provider answers."""
    detail = {"provider": settings.AWSAI_PROVIDER}
    if settings.AWSAI_PROVIDER == "local":
        return Reading(ok=True, summary="The local provider answers.", detail=detail)
    found = health.wellbeing()
    troubles = [trouble for each in found for trouble in each.troubles]
    warnings = [warning for each in found for warning in each.lives.warnings]
    if settings.AWSAI_PROVIDER == "aws" and not budgets.limits():
        warnings.append("No budget limits what may be spent.")
    return Reading(
        ok=not troubles,
        summary=" ".join([*troubles, *warnings]) or "No AI service is known to be in trouble.",
        detail={
            **detail,
            "troubles": troubles,
            "warnings": warnings,
            "not_configured": [each.service.name for each in found if each.standing.missing],
        },
    )


class _Ledger(Collector):
    """Labels are bounded: services and providers, outcomes and meters are words of the code."""

    def collect(self) -> Iterator[Metric]:
        by_service: dict[_Who, Figures] = defaultdict(Figures)
        failures: dict[_Who, int] = defaultdict(int)
        calls = CounterMetricFamily(
            "iop_awsai_calls",
            "Calls of AI services by how they ended.",
            labels=["service", "provider", "outcome"],
        )
        for group, figures in all_time().items():
            who = (group.service, group.provider)
            calls.add_metric([*who, group.outcome], figures.calls)
            by_service[who] += figures
            failures[who] += figures.calls if group.outcome != Outcome.SUCCEEDED else 0
        yield calls
        yield _counter("failures", "Calls that did not succeed.", failures)
        yield _counter(
            "unpriced_calls",
            "Calls whose price is not known.",
            {who: figures.unpriced for who, figures in by_service.items()},
        )
        yield _counter(
            "nano_usd",
            "What was billed, in nano-USD.",
            {who: figures.nano_usd for who, figures in by_service.items()},
        )
        yield _counter(
            "list_price_nano_usd",
            "What AWS would have charged for the same calls, in nano-USD.",
            {who: figures.list_price_nano_usd for who, figures in by_service.items()},
        )
        yield _tokens(by_service)
        yield _latencies(by_service)


def _counter(name: str, what: str, counts: Mapping[_Who, int]) -> Metric:
    family = CounterMetricFamily(f"iop_awsai_{name}", what, labels=["service", "provider"])
    for who, count in counts.items():
        family.add_metric(who, count)
    return family


def _tokens(by_service: Mapping[_Who, Figures]) -> Metric:
    family = CounterMetricFamily(
        "iop_awsai_tokens",
        "Tokens by what they are billed as.",
        labels=["service", "provider", "meter"],
    )
    for who, figures in by_service.items():
        for meter in TOKEN_METERS:
            family.add_metric([*who, meter], figures.tokens[meter])
    return family


def _latencies(by_service: Mapping[_Who, Figures]) -> Metric:
    family = HistogramMetricFamily(
        "iop_awsai_latency_seconds",
        "How long calls took, with all their attempts.",
        labels=["service", "provider"],
    )
    for who, figures in by_service.items():
        buckets = [(str(2**k / 1000), float(figures.timed_up_to(k))) for k in _DOUBLINGS]
        family.add_metric(
            who,
            buckets=[*buckets, ("+Inf", float(figures.timed))],
            sum_value=figures.latency_ms / 1000,
        )
    return family


register(Probe(name="ai_services", check=_ai_services, is_critical=False))
REGISTRY.register(_Ledger())
