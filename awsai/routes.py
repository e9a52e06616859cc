"""Routes as they are taken: candidates from the rows, the decision kept, its outcomes counted."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Count, Q
from django.utils.timezone import now

from awsai import past_calls, prices, pricing, router
from awsai.breaker import Target, breakers
from awsai.freshness import kept_fresh
from awsai.models import (
    CatalogueModel,
    Considered,
    Outcome,
    RouteDecision,
    RouteOutcome,
    RouteWeights,
)
from awsai.models.routes import OutcomeKind
from awsai.past_calls import PastCall
from awsai.ports import Usage
from awsai.router import (
    Candidate,
    Choice,
    Level,
    Posterior,
    Request,
    Residency,
    Statistics,
    Weights,
)
from incidentops.access import audit
from incidentops.incidents.models import Severity

# What waiting (USD a second) and a useless answer (USD) are worth until somebody knows better.
STARTING_WEIGHTS: Mapping[Severity, tuple[Decimal, Decimal]] = {
    Severity.CRITICAL: (Decimal("0.028"), Decimal(50)),
    Severity.HIGH: (Decimal("0.014"), Decimal(5)),
    Severity.MEDIUM: (Decimal("0.0028"), Decimal("0.5")),
    Severity.LOW: (Decimal("0.0003"), Decimal("0.05")),
}
STARTING_SOURCE = (
    "Assumption, 22 Nov 2026: 50 USD a failure at critical, a tenth at each step down; an engineer "
    "at 100 USD/h waits at critical, half of one at high, a tenth, a hundredth."
)

# The local provider as a candidate: it costs nothing, and is asked when nobody else is left.
LOCAL = Candidate(
    model="local",
    base_id="local",
    service="local",
    region="",
    reach="local",
    capabilities={"json_schema": True},
    cost_nano_usd=0,
)

# Of each model at most this many calls count.
_RECENT_CALLS = 200
# The weight of the newest answer in the mean length of answers.
_NEWEST = 0.1
# Ends that say nothing of the model: our own doing, or nobody there to see.
_NOT_ITS_DOING = (Outcome.REFUSED, Outcome.BLOCKED, Outcome.ABANDONED, Outcome.LOST)


# --- Weights -----------------------------------------------------------------------------------


def ensure_weights() -> None:
    """Severities without weights get those to start with."""
    known = set(RouteWeights.objects.values_list("severity", flat=True))
    RouteWeights.objects.bulk_create(
        RouteWeights(
            severity=severity,
            usd_per_second=usd_per_second,
            usd_per_failure=usd_per_failure,
            source=STARTING_SOURCE,
            set_by="release",
            set_at=now(),
        )
        for severity, (usd_per_second, usd_per_failure) in STARTING_WEIGHTS.items()
        if severity not in known
    )


def set_weights(
    severity: Severity,
    *,
    usd_per_second: Decimal,
    usd_per_failure: Decimal,
    source: str,
    by: object,
    at: datetime | None = None,
) -> RouteWeights:
    """Set what waiting and failing are worth from now on; the row before stays as history."""
    with transaction.atomic():
        row = RouteWeights.objects.create(
            severity=severity,
            usd_per_second=usd_per_second,
            usd_per_failure=usd_per_failure,
            source=source[:200],
            set_by=str(by)[:120],
            set_at=at or now(),
        )
        audit.record(
            "route.weigh",
            actor=by,
            target=f"severity:{severity}",
            detail={
                "usd_per_second": str(usd_per_second),
                "usd_per_failure": str(usd_per_failure),
                "source": source,
            },
        )
    return row


def weights(severity: str) -> Weights:
    """The weights in force.

    Raises:
        RouteWeights.DoesNotExist: there is no such severity.
    """
    row = RouteWeights.objects.current().get(severity=severity)
    return Weights(
        usd_per_second=float(row.usd_per_second), usd_per_failure=float(row.usd_per_failure)
    )


# --- A decision --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Route:
    """A choice and the row that keeps it, which is stored with the first call it leads to."""

    decision: RouteDecision
    choice: Choice

    @property
    def is_local(self) -> bool:
        """Whether no model may be asked, only the local provider."""
        return all(one.is_local for one in self.choice.cascade)

    def kept(self) -> int:
        """The id of the row, stored now if no call has stored it."""
        if self.decision._state.adding:
            RouteDecision.objects.store([self.decision])
        return self.decision.pk


def decide(
    request: Request,
    *,
    regions: Sequence[str],
    residency: Residency,
    level: Level,
    has_local: bool = True,
    incident: int | None = None,
    run: str = "",
    at: datetime | None = None,
) -> Route:
    """Choose whom to ask and note why. `regions` are those we call from, home first."""
    choose = _chosen_lately if at is None else _choose
    found = choose(request, tuple(regions), residency, level, has_local, at)
    first = found.choice.cascade[0] if found.choice.cascade else None
    top = found.choice.top
    decision = RouteDecision(
        at=at or now(),
        task=request.task,
        severity=request.severity,
        level=level,
        incident_number=incident,
        run_ref=run,
        input_tokens=request.input_tokens,
        max_tokens=request.max_tokens,
        residency=found.residency,
        weights=found.weights,
        price_version=found.price_version,
        considered=found.considered,
        chosen=first.model if first else "",
        chosen_region=first.region if first else "",
        top=top.model if top else "",
        top_region=top.region if top else "",
        reason=found.choice.reason,
    )
    return Route(decision=decision, choice=found.choice)


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """A choice, and what it was made by and among as the decision keeps it."""

    choice: Choice
    residency: Mapping[str, Any]
    weights: Mapping[str, Any]
    price_version: str
    considered: Considered


def _choose(
    request: Request,
    regions: tuple[str, ...],
    residency: Residency,
    level: Level,
    has_local: bool,
    at: datetime | None,
) -> _Chosen:
    rates = prices.in_force()
    offered = candidates(request, regions=regions, rates=rates, at=at or now())
    weighed = weights(request.severity)
    choice = router.choose(
        [*offered, LOCAL] if has_local else offered,
        request,
        level=level,
        residency=residency,
        weights=weighed,
    )
    return _Chosen(
        choice=choice,
        residency=asdict(residency),
        weights=asdict(weighed),
        price_version=rates.version if rates else "",
        considered=Considered.of(_considered(choice)),
    )


# In a storm many ask the same within seconds, and nothing a choice is made from moves in them.
_chosen_lately = kept_fresh(_choose)


def candidates(
    request: Request, *, regions: Sequence[str], rates: pricing.PriceList | None, at: datetime
) -> list[Candidate]:
    """Every model of the catalogue under every id and in every region where we can call it."""
    known = _known(request.task)
    places = [(model, region) for model in known.models for region in _places(model, regions)]
    if not places:
        return []
    targets = [
        Target(service=model.service, model=model.model_id, region=region)
        for model, region in places
    ]
    conditions = breakers().look(targets)
    found = []
    for (model, region), target in zip(places, targets, strict=True):
        name = pricing.parse(model.model_id)
        expected = min(known.lengths.get(model.model_id, request.max_tokens), request.max_tokens)
        cost = _expected_cost(request.input_tokens, expected, model, region, rates, at)
        condition = conditions[target]
        found.append(
            Candidate(
                model=model.model_id,
                base_id=model.base_id,
                service=model.service,
                region=region,
                reach=name.scope,
                geography=name.geography,
                family=model.family,
                version=model.version,
                capabilities=model.capabilities,
                context_tokens=model.context_tokens,
                max_output=model.max_output,
                lifecycle=model.lifecycle_at(at),
                onboarding=model.onboarding,
                cost_nano_usd=cost.nano_usd,
                cost_reason=cost.reason,
                blocked=f"{condition.state}, {condition.reason}" if condition.is_open else "",
                statistics=known.statistics.get((model.model_id, region), Statistics()),
                posterior=known.posteriors.get(model.base_id, Posterior()),
            )
        )
    return found


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What a choice for a task is made from, as it was when it was read."""

    models: list[CatalogueModel]
    statistics: dict[tuple[str, str], Statistics]
    lengths: dict[str, int]
    posteriors: dict[str, Posterior]


@kept_fresh
def _known(task: str) -> _Known:
    """Hundreds of calls move it by little."""
    recent = past_calls.recent()
    return _Known(
        models=list(CatalogueModel.objects.routable()),
        statistics=statistics(recent),
        lengths=output_tokens(task, recent),
        posteriors=posteriors(task),
    )


def _places(model: CatalogueModel, regions: Sequence[str]) -> list[str]:
    """Our regions that serve the model. Before the first sync that is not known: home is tried."""
    if model.regions:
        return [region for region in regions if region in model.regions]
    geography = pricing.parse(model.model_id).geography
    return [region for region in regions[:1] if not geography or router.lies_in(region, geography)]


def _expected_cost(
    input_tokens: int,
    output_tokens: int,
    model: CatalogueModel,
    region: str,
    rates: pricing.PriceList | None,
    at: datetime,
) -> pricing.Cost:
    if rates is None:
        return pricing.Cost(
            nano_usd=None, version="", confidence=None, reason="No list of prices is in force."
        )
    usage = Usage(tokens={"input": input_tokens, "output": output_tokens}, confidence="estimated")
    return pricing.cost(
        usage, service=model.service, model=model.model_id, region=region, at=at, rates=rates
    )


def _considered(choice: Choice) -> list[dict[str, Any]]:
    """The candidates as the decision keeps them: the cascade first, the rejected last."""
    order = {one.key: place for place, one in enumerate(choice.cascade, 1)}
    admitted = sorted(choice.admitted, key=lambda one: order.get(one.key, len(order) + 1))
    rows = [(one, "") for one in admitted]
    rows += [(rejected.candidate, rejected.reason) for rejected in choice.rejected]
    return [
        {
            "model": one.model,
            "service": one.service,
            "region": one.region,
            "reach": one.reach,
            "order": order.get(one.key),
            "rejected": reason,
            "cost_nano_usd": one.cost_nano_usd,
            "score": _score(choice, one),
            "calls": one.statistics.calls,
            "failures": one.statistics.failures,
            "p95_ms": one.statistics.p95_ms,
            "good": one.posterior.good,
            "bad": one.posterior.bad,
        }
        for one, reason in rows
    ]


def _score(choice: Choice, candidate: Candidate) -> dict[str, Any] | None:
    score = choice.scores.get(candidate.key)
    if score is None:
        return None
    return {**vars(score), "total_usd": score.total_usd, "assumed": list(score.assumed)}


# --- What the ledger and the outcomes say ------------------------------------------------------


def report_outcome(
    decision: int,
    *,
    model: str,
    kind: OutcomeKind,
    is_good: bool,
    at: datetime | None = None,
) -> None:
    """Say how an answer turned out; said twice of the same check, the last word counts.

    Raises:
        RouteDecision.DoesNotExist: there is no such decision.
    """
    task = RouteDecision.objects.values_list("task", flat=True).get(pk=decision)
    outcome = RouteOutcome(
        decision_id=decision, model=model, kind=kind, task=task, is_good=is_good, at=at or now()
    )
    RouteOutcome.objects.bulk_create(
        [outcome],
        update_conflicts=True,
        unique_fields=["decision", "model", "kind"],
        update_fields=["is_good", "at"],
    )


def posteriors(task: str) -> dict[str, Posterior]:
    """What is known of each model at a task, by base id: a profile does not change the answer."""
    counted: dict[str, Posterior] = {}
    rows = RouteOutcome.objects.filter(task=task).values_list("model")
    for model, good, bad in rows.annotate(
        good=Count("pk", filter=Q(is_good=True)), bad=Count("pk", filter=Q(is_good=False))
    ).order_by("model"):
        base_id = pricing.parse(model).base_id
        before = counted.get(base_id, Posterior())
        counted[base_id] = Posterior(good=before.good + good, bad=before.bad + bad)
    return counted


def statistics(recent: Iterable[PastCall]) -> dict[tuple[str, str], Statistics]:
    """Of each model and region, what its last 200 calls say; `recent` has the newest first."""
    calls: dict[tuple[str, str], list[PastCall]] = defaultdict(list)
    for call in recent:
        known = calls[call.model, call.region]
        if call.outcome not in _NOT_ITS_DOING and len(known) < _RECENT_CALLS:
            known.append(call)
    return {target: _statistics(known) for target, known in calls.items() if known}


def _statistics(calls: Sequence[PastCall]) -> Statistics:
    latencies = sorted(
        call.latency_ms
        for call in calls
        if call.outcome == Outcome.SUCCEEDED and call.latency_ms is not None
    )
    return Statistics(
        calls=len(calls),
        failures=sum(call.outcome != Outcome.SUCCEEDED for call in calls),
        p95_ms=float(latencies[math.ceil(0.95 * len(latencies)) - 1]) if latencies else None,
    )


def output_tokens(task: str, recent: Sequence[PastCall]) -> dict[str, int]:
    """How long each model's answers to a task are: the mean of the last, the newest weighing most."""
    means: dict[str, float] = {}
    for call in reversed(recent):
        length = call.tokens.get("output")
        if call.task == task and call.outcome == Outcome.SUCCEEDED and length:
            mean = means.setdefault(call.model, float(length))
            means[call.model] = mean + _NEWEST * (length - mean)
    return {model: math.ceil(mean) for model, mean in means.items()}
