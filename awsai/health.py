"""How each AI service is: what the ledger, the breakers, the catalogue and the settings say of it."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.utils.timezone import now

from awsai import ledger
from awsai.breaker import Condition, State, Target, breakers
from awsai.events import ServiceHealthChanged
from awsai.models import AwsCall, CatalogueModel, Outcome
from awsai.models.catalogue import WARN_BEFORE_END, Lifecycle, Onboarding
from awsai.proportions import wilson
from awsai.services import (
    LOCAL,
    SERVICES,
    Groups,
    Service,
    all_time,
    since,
    total,
    why_no_latency,
)
from incidentops.realtime import outbox

WINDOW = timedelta(hours=24)
PUBLISHED = "awsai:health-published"
NOT_CALLED = "not called"

# Endings that tell nothing of the service: the request was wrong, or a guard of ours did its work.
_OURS = frozenset({Outcome.REFUSED, Outcome.BLOCKED})
# Endings by which the service shows that it knows us, even where it gave no answer.
_KNOWN_BY = frozenset(
    {Outcome.SUCCEEDED, Outcome.BLOCKED, Outcome.REFUSED, Outcome.THROTTLED, Outcome.TRUNCATED}
)

# What people can do about a denial depends on why: the codes say it, these are their sentences.
_WHY_DENIED = {
    "NoCredentialsError": "no credentials were found",
    "PartialCredentialsError": "the credentials are not complete",
    "CredentialRetrievalError": "the credentials could not be fetched",
    "ExpiredToken": "the credentials have expired",
    "ExpiredTokenException": "the credentials have expired",
    "InvalidClientTokenId": "AWS does not know the credentials",
    "UnrecognizedClientException": "AWS does not know the credentials",
    "InvalidSignatureException": "the signature is wrong: look at the secret key and at the clock",
    "SignatureDoesNotMatch": "the signature is wrong: look at the secret key and at the clock",
    "AccessDenied": "the role may not use it, or it is closed to the account",
    "AccessDeniedException": "the role may not use it, or it is closed to the account",
    "ResourceNotFoundException": "the model or resource is unknown there, or has reached its end",
    "ValidationException": "it is closed to the account, or does not know the model",
    "LicenseNotFoundException": "its user has no licence",
    "AuthChallenge": "it asks its user to sign in",
}


class OnboardingState(StrEnum):
    """`not_used`: the provider is this installation, which asks nobody else."""

    ONBOARDED = "onboarded"
    NOT_ONBOARDED = "not_onboarded"
    UNKNOWN = "unknown"
    NOT_USED = "not_used"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Whether the account may use a service. `missing` names the settings it waits for."""

    state: OnboardingState
    reason: str
    missing: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Whether AWS refuses what the operator has configured."""
        return self.state is OnboardingState.NOT_ONBOARDED and not self.missing


@dataclass(frozen=True, kw_only=True)
class Lives:
    """The models of a service: how many can be called, and what is to be said of their ends."""

    models: int = 0
    usable: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Wellbeing:
    """What there is to worry about at a service, without its figures."""

    service: Service
    standing: Standing
    lives: Lives
    breakers: tuple[Condition, ...]

    @property
    def breaker(self) -> str:
        """The worst state of the service's breakers; `unknown` while they cannot be asked."""
        if not all(condition.is_known for condition in self.breakers):
            return "unknown"
        found = {condition.state for condition in self.breakers}
        order = (State.OPEN, State.HALF_OPEN, State.LIMITED)
        return next((state for state in order if state in found), State.CLOSED)

    @property
    def troubles(self) -> list[str]:
        """What does not work now, a sentence each."""
        found = []
        if self.standing.is_refused:
            found.append(f"{self.service.title}: {self.standing.reason}")
        found += [
            f"{self.service.title}: left alone ({condition.reason}), "
            f"{condition.target.model or 'all calls'}."
            for condition in self.breakers
            if condition.state is State.OPEN
        ]
        if self.lives.models and not self.lives.usable:
            found.append(f"{self.service.title}: no model can be called.")
        return found


# --- Facts -------------------------------------------------------------------------------------


def wellbeing(*, at: datetime | None = None) -> list[Wellbeing]:
    return _wellbeing(all_time(), at or now())


def facts(*, at: datetime | None = None) -> list[dict[str, Any]]:
    """One row a service and one for the local provider, in JSON values, as API and sockets show it."""
    at = at or now()
    ever, recent = all_time(), since(at - WINDOW)
    errors = _last_errors(ever)
    rows = [_fact(each, ever, recent, errors) for each in _wellbeing(ever, at)]
    ours = Standing(
        state=OnboardingState.ONBOARDED, reason="These algorithms are part of the installation."
    )
    local = Wellbeing(service=LOCAL, standing=ours, lives=Lives(), breakers=())
    return [*rows, _fact(local, ever, recent, errors)]


def _wellbeing(ever: Groups, at: datetime) -> list[Wellbeing]:
    models = defaultdict(list)
    for model in CatalogueModel.objects.routable():
        models[model.service].append(model)
    conditions, denials = _conditions(), _denials(ever)
    return [
        Wellbeing(
            service=service,
            standing=_standing(
                service, ever, models[service.name], denied=denials.get(service.name, "")
            ),
            lives=_lives(models[service.name], at),
            breakers=conditions[service.name],
        )
        for service in SERVICES
    ]


def _conditions() -> dict[str, tuple[Condition, ...]]:
    """Of each service its own breaker and those of its models that somebody reported to."""
    found = breakers().look(Target(service=service.name) for service in SERVICES)
    found |= {condition.target: condition for condition in breakers().known()}
    by_service = defaultdict(list)
    for target, condition in found.items():
        by_service[target.service].append(condition)
    return {name: tuple(several) for name, several in by_service.items()}


def _denials(ever: Groups) -> dict[str, str]:
    """The code of the last call that was denied, by service."""
    last = {
        group.service: figures.last
        for group, figures in ever.items()
        if (group.provider, group.outcome) == (settings.AWSAI_PROVIDER, Outcome.DENIED)
    }
    rows = AwsCall.objects.filter(sequence__in=last.values())
    return dict(rows.values_list("service", "error_code"))


def _standing(
    service: Service, ever: Groups, models: Sequence[CatalogueModel], *, denied: str
) -> Standing:
    """`denied` is the code of the service's last denial."""
    if settings.AWSAI_PROVIDER == "local":
        return Standing(
            state=OnboardingState.NOT_USED, reason="IOP_AWSAI is local: nobody at AWS is asked."
        )
    if missing := tuple(f"IOP_{name}" for name in service.needs if not getattr(settings, name)):
        return Standing(
            state=OnboardingState.NOT_ONBOARDED,
            reason=f"not configured: {', '.join(missing)}",
            missing=missing,
        )
    last = {
        group.outcome: figures.last
        for group, figures in ever.items()
        if (group.service, group.provider) == (service.name, settings.AWSAI_PROVIDER)
    }
    known = max((last.get(outcome, 0) for outcome in _KNOWN_BY), default=0)
    if last.get(Outcome.DENIED, 0) > known:
        why = _WHY_DENIED.get(denied, "the code of the last error says why")
        return Standing(
            state=OnboardingState.NOT_ONBOARDED, reason=f"The last calls of it were denied: {why}."
        )
    if models and all(model.onboarding == Onboarding.DENIED for model in models):
        return Standing(
            state=OnboardingState.NOT_ONBOARDED,
            reason="Bedrock says that the account may call none of its models.",
        )
    if known:
        return Standing(state=OnboardingState.ONBOARDED, reason="")
    return Standing(state=OnboardingState.UNKNOWN, reason="It was not asked yet.")


def _lives(models: Sequence[CatalogueModel], at: datetime) -> Lives:
    living = [model for model in models if model.lifecycle_at(at) != Lifecycle.EOL]
    return Lives(
        models=len(models),
        usable=sum(model.onboarding != Onboarding.DENIED for model in living),
        warnings=tuple(
            f"{model.model_id} ends on {model.eol_at.astimezone(UTC).date()}."
            for model in living
            if model.eol_at is not None and is_ending_soon(model, at)
        ),
    )


def is_ending_soon(model: CatalogueModel, at: datetime) -> bool:
    return model.eol_at is not None and at < model.eol_at <= at + WARN_BEFORE_END


def _last_errors(ever: Groups) -> dict[str, AwsCall]:
    """The newest call of each service that did not succeed."""
    last: dict[str, int] = defaultdict(int)
    for group, figures in ever.items():
        if group.outcome != Outcome.SUCCEEDED:
            last[group.service] = max(last[group.service], figures.last)
    rows = AwsCall.objects.filter(sequence__in=last.values())
    return {row.service: row for row in rows}


# --- As JSON -----------------------------------------------------------------------------------


def _fact(
    each: Wellbeing, ever: Groups, recent: Groups, errors: Mapping[str, AwsCall]
) -> dict[str, Any]:
    service = each.service
    own = {group: part for group, part in ever.items() if group.service == service.name}
    providers = sorted({group.provider for group in own})
    whole = total(own.values())
    mean_ms = whole.latency_ms / whole.timed if whole.timed else None
    return {
        "service": service.name,
        "title": service.title,
        "provider": ", ".join(providers) or NOT_CALLED,
        "calls": whole.calls,
        "failures": _failures(own),
        "unpriced": whole.unpriced,
        "nano_usd": whole.billed,
        "list_price_nano_usd": whole.list_price,
        "latency_ms": mean_ms,
        "latency_ms_reason": why_no_latency(whole.calls, mean_ms),
        "last_call_at": _instant(whole.last_at),
        "last_error": _error(errors.get(service.name)),
        "breaker": each.breaker,
        "breakers": [
            {
                "model": condition.target.model,
                "region": condition.target.region,
                "state": condition.state,
                "reason": condition.reason,
            }
            for condition in sorted(each.breakers, key=lambda one: str(one.target))
            if condition.state is not State.CLOSED
        ],
        "onboarding": {**asdict(each.standing), "missing": list(each.standing.missing)},
        "lifecycle": {**asdict(each.lives), "warnings": list(each.lives.warnings)},
        "last_24_hours": _window(
            {group: part for group, part in recent.items() if group.service == service.name}
        ),
        "all_time": _window(own),
    }


def _failures(own: Groups) -> int:
    return sum(part.calls for group, part in own.items() if group.outcome != Outcome.SUCCEEDED)


def _window(own: Groups) -> dict[str, Any]:
    whole = total(own.values())
    return {
        "calls": whole.calls,
        "failures": _failures(own),
        "by_outcome": _by_outcome(own),
        "success_rate": _success_rate(own),
        "latency": {
            "n": whole.timed,
            "p50_ms": whole.quantile_ms(0.50),
            "p95_ms": whole.quantile_ms(0.95),
            "p99_ms": whole.quantile_ms(0.99),
        },
        "tokens": ledger.tokens_shown(whole.tokens),
        "nano_usd": whole.billed,
        "list_price_nano_usd": whole.list_price,
        "unpriced": whole.unpriced,
    }


def _by_outcome(own: Groups) -> dict[str, int]:
    counted: dict[str, int] = defaultdict(int)
    for group, part in own.items():
        counted[group.outcome] += part.calls
    return dict(sorted(counted.items()))


def _success_rate(own: Groups) -> dict[str, Any]:
    """Of the calls that tell of the service; unknown without any."""
    counted = _by_outcome(own)
    n = sum(count for outcome, count in counted.items() if outcome not in _OURS)
    if not n:
        return {"value": None, "low": None, "high": None, "n": 0}
    succeeded = counted.get(Outcome.SUCCEEDED, 0)
    low, high = wilson(succeeded, n)
    return {"value": succeeded / n, "low": low, "high": high, "n": n}


def _error(call: AwsCall | None) -> dict[str, Any] | None:
    if call is None:
        return None
    return {
        "call": call.sequence,
        "outcome": call.outcome,
        "code": call.error_code,
        "operation": call.operation,
        "model": call.model_requested,
        "at": _instant(call.started_at),
    }


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


# --- Told when it changes ----------------------------------------------------------------------


def publish() -> bool:
    """Tell the sockets how the services are, unless they were told the same before."""
    services = facts()
    digest = hashlib.sha256(json.dumps(services, sort_keys=True).encode()).hexdigest()
    if cache.get(PUBLISHED) == digest:
        return False
    with transaction.atomic():
        outbox.publish(ServiceHealthChanged(services=services, version=int(time.time())))
    cache.set(PUBLISHED, digest, timeout=None)
    return True
