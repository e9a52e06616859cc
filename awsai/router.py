"""Which model to ask, and whom next. Pure: candidates with their statistics in, a choice out.

A candidate that may be asked is worth its expected cost in dollars:

    U(m) = C(m) + lambda_s * L95(m) + V_s * [1 - q_k(m) * (1 - p_fail(m))]

the price of the call, of waiting for it, and of an answer that is of no use, at severity s and for
task k. q is the lower 10 % quantile of the posterior of good answers: what is little known counts
as little good. The lowest U is asked first, and a bad answer goes up to a dearer model, as in
Chen, Zaharia & Zou, FrugalGPT (arXiv 2305.05176). Dear is taken for strong, except where the same
family has a newer version for no more: the vendors' own order needs no claim of ours. At critical
severity nobody waits for a cheap try: the strongest goes first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from scipy.special import betaincinv

# Where a request can end up, the narrowest first.
Reach = Literal["local", "in-region", "geo", "global"]
_REACHES: tuple[Reach, ...] = ("local", "in-region", "geo", "global")

CRITICAL = "critical"
PESSIMISM = 0.10
# Assumptions for a target that was never called: a call waits this long, and one in twenty fails.
ASSUMED_P95_MS = 10_000.0
_PRIOR_FAILURES, _PRIOR_CALLS = 1, 20

# Stop reasons of Converse after which the answer is not one to use: a stronger model may do better.
_ESCALATING = frozenset(
    {
        "max_tokens",
        "model_context_window_exceeded",
        "malformed_model_output",
        "malformed_tool_use",
        "content_filtered",
    }
)

_REGIONS_OF = {
    "us": ("us-east-", "us-west-"),
    "eu": ("eu-",),
    "apac": ("ap-",),
    "jp": ("ap-northeast-1", "ap-northeast-3"),
    "au": ("ap-southeast-2", "ap-southeast-4"),
}
_PARTS_OF = {"apac": ("jp", "au")}


def lies_in(region: str, geography: str) -> bool:
    """Whether a region belongs to the geography of a profile; to an unknown one none does."""
    return region.startswith(_REGIONS_OF.get(geography, ()))


class Level(StrEnum):
    """What the budgets leave to be asked."""

    NORMAL = "normal"
    CHEAPEST = "cheapest"
    LOCAL = "local"


# --- What a choice is made from ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What the last calls of a target say. `p95_ms` is None when no call had a latency."""

    calls: int = 0
    failures: int = 0
    p95_ms: float | None = None

    @property
    def p_fail(self) -> float:
        return (self.failures + _PRIOR_FAILURES) / (self.calls + _PRIOR_CALLS)


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """Beta posterior, from a uniform prior, of the share of a model's answers that are good."""

    good: int = 0
    bad: int = 0

    @property
    def lower(self) -> float:
        return float(betaincinv(self.good + 1, self.bad + 1, PESSIMISM))


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model as it could be asked: under one id, in one region.

    `version` is the number in the model's name, 0 without one; `family` may be unknown, then empty.
    `capabilities` is true, false or None for not known. `cost_nano_usd` is the expected list price
    of the call, None with `cost_reason` when there is no price. `blocked` says why the breaker would
    refuse it, empty when it would not.
    """

    model: str
    base_id: str
    service: str
    region: str
    reach: Reach
    geography: str = ""
    family: str = ""
    version: float = 0.0
    capabilities: Mapping[str, bool | None] = field(default_factory=dict)
    context_tokens: int | None = None
    max_output: int | None = None
    lifecycle: str = "active"
    onboarding: str = "unknown"
    cost_nano_usd: int | None = None
    cost_reason: str = ""
    blocked: str = ""
    statistics: Statistics = Statistics()
    posterior: Posterior = Posterior()

    @property
    def is_local(self) -> bool:
        return self.reach == "local"

    @property
    def key(self) -> tuple[str, str]:
        return self.model, self.region

    @property
    def price(self) -> int:
        """For comparisons; what has no price was rejected before."""
        return self.cost_nano_usd or 0


@dataclass(frozen=True, kw_only=True)
class Residency:
    """How far a request may travel: anywhere, within `geography`, or not out of `region`."""

    reach: Literal["in-region", "geo", "global"] = "global"
    geography: str = ""
    region: str = ""

    def admits(self, candidate: Candidate) -> bool:
        if candidate.is_local or self.reach == "global":
            return True
        if self.reach == "in-region":
            return candidate.reach == "in-region" and candidate.region == self.region
        if candidate.reach == "geo":
            within = (self.geography, *_PARTS_OF.get(self.geography, ()))
            return candidate.geography in within
        return candidate.reach == "in-region" and lies_in(candidate.region, self.geography)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What a second of waiting and a useless answer cost, in USD."""

    usd_per_second: float
    usd_per_failure: float


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be asked. `needs` are capabilities ("tools", "json_schema", "vision")."""

    task: str
    severity: str
    input_tokens: int
    max_tokens: int
    needs: frozenset[str] = frozenset()


# --- The choice --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Score:
    """The parts of U in USD. `assumed` names the figures that no call has shown yet."""

    call_usd: float
    waiting_usd: float
    failing_usd: float
    quality: float
    p_fail: float
    assumed: tuple[str, ...]

    @property
    def total_usd(self) -> float:
        return self.call_usd + self.waiting_usd + self.failing_usd


@dataclass(frozen=True, kw_only=True)
class Rejected:
    candidate: Candidate
    reason: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """`cascade` is asked in this order, one after a bad answer of the other; it may be empty.

    `admitted` has everybody who may be asked at all, the best first: whoever stands in for a target
    that fails comes from there. `top` is the strongest model before the budget had its say.
    """

    request: Request
    cascade: tuple[Candidate, ...]
    admitted: tuple[Candidate, ...]
    scores: Mapping[tuple[str, str], Score]
    rejected: tuple[Rejected, ...]
    top: Candidate | None
    reason: str


def choose(
    candidates: Iterable[Candidate],
    request: Request,
    *,
    level: Level,
    residency: Residency,
    weights: Weights,
) -> Choice:
    """Filter, score and order. Local candidates come last, for when nobody else is left."""
    able: list[Candidate] = []
    rejected: list[Rejected] = []
    for candidate in candidates:
        if reason := _objection(candidate, request, residency):
            rejected.append(Rejected(candidate=candidate, reason=reason))
        else:
            able.append(candidate)
    scores = {one.key: score(one, weights) for one in able if not one.is_local}
    remote = sorted(
        (one for one in able if not one.is_local),
        key=lambda one: (scores[one.key].total_usd, one.price, one.key),
    )
    local = [one for one in able if one.is_local]
    strongest = _strongest_first(remote)
    allowed, over = _within_budget(remote, level)
    cascade, reason = _cascade(allowed, request, level)
    return Choice(
        request=request,
        cascade=(*cascade, *local),
        admitted=(*allowed, *local),
        scores=scores,
        rejected=(*rejected, *over),
        top=strongest[0] if strongest else None,
        reason=reason if cascade or local else "Nobody may be asked.",
    )


def score(candidate: Candidate, weights: Weights) -> Score:
    """U of a candidate whose price is known."""
    statistics = candidate.statistics
    p95_ms = statistics.p95_ms
    quality, p_fail = candidate.posterior.lower, statistics.p_fail
    seen = {
        "latency": p95_ms is not None,
        "failures": statistics.calls > 0,
        "quality": candidate.posterior != Posterior(),
    }
    return Score(
        call_usd=candidate.price / 1e9,
        waiting_usd=weights.usd_per_second * (ASSUMED_P95_MS if p95_ms is None else p95_ms) / 1000,
        failing_usd=weights.usd_per_failure * (1 - quality * (1 - p_fail)),
        quality=quality,
        p_fail=p_fail,
        assumed=tuple(name for name, is_seen in seen.items() if not is_seen),
    )


def _objection(candidate: Candidate, request: Request, residency: Residency) -> str:
    """Why a candidate cannot be asked at all; empty when it can."""
    for need in sorted(request.needs):
        if not candidate.capabilities.get(need):
            is_known = candidate.capabilities.get(need) is False
            return f"{need}: {'not supported' if is_known else 'not known whether supported'}"
    if candidate.is_local:
        return ""
    if candidate.lifecycle != "active":
        return f"lifecycle: {candidate.lifecycle}"
    if candidate.onboarding == "denied":
        return "not onboarded"
    if not residency.admits(candidate):
        return f"residency: {candidate.reach} of {candidate.geography or candidate.region or '?'}"
    if objection := _too_long(candidate, request):
        return objection
    if candidate.cost_nano_usd is None:
        return f"price unknown: {candidate.cost_reason}"
    return f"breaker: {candidate.blocked}" if candidate.blocked else ""


def _too_long(candidate: Candidate, request: Request) -> str:
    if candidate.context_tokens is None or candidate.max_output is None:
        return "context: its size is not known"
    if request.input_tokens + request.max_tokens > candidate.context_tokens:
        return f"context: holds {candidate.context_tokens} tokens"
    if request.max_tokens > candidate.max_output:
        return f"output: writes {candidate.max_output} tokens at most"
    return ""


def _within_budget(remote: list[Candidate], level: Level) -> tuple[list[Candidate], list[Rejected]]:
    if level is Level.NORMAL or not remote:
        return remote, []
    cheapest = min(remote, key=lambda one: (one.price, one.key)).base_id
    allowed = [one for one in remote if level is Level.CHEAPEST and one.base_id == cheapest]
    reason = "budget: only the cheapest" if allowed else "budget: only the local provider"
    return allowed, [Rejected(candidate=one, reason=reason) for one in remote if one not in allowed]


def _cascade(
    allowed: list[Candidate], request: Request, level: Level
) -> tuple[list[Candidate], str]:
    """One candidate of each model, the best first; `allowed` is ordered by U."""
    if not allowed:
        if level is Level.LOCAL:
            return [], "The budget is used up: only the local provider."
        return [], "No model of AWS may be asked: only the local provider."
    if level is Level.CHEAPEST:
        return allowed[:1], "The budget is nearly used up: only the cheapest."
    if request.severity == CRITICAL:
        return _strongest_first(allowed), "Critical severity starts at the top."
    first = allowed[0]
    stronger = [one for one in reversed(_strongest_first(allowed)) if one.price > first.price]
    return [first, *stronger], "The lowest expected cost of call, waiting and failure."


def _strongest_first(ordered: list[Candidate]) -> list[Candidate]:
    """One candidate of each model that no newer one supersedes; of equals, the better one first.

    `ordered` is by U, so that a model stands under the id that serves it best.
    """
    best: dict[str, Candidate] = {}
    for candidate in ordered:
        best.setdefault(candidate.base_id, candidate)
    current = [one for one in best.values() if not _is_superseded(one, best.values())]
    return sorted(current, key=lambda one: -one.price)


def _is_superseded(candidate: Candidate, others: Iterable[Candidate]) -> bool:
    return bool(candidate.family) and any(
        other.family == candidate.family
        and other.version > candidate.version
        and other.price <= candidate.price
        for other in others
    )


# --- After the first answer --------------------------------------------------------------------


def must_escalate(stop_reason: str, *, is_schema_valid: bool = True) -> bool:
    """Whether an answer is one that a stronger model should be asked for again."""
    return not is_schema_valid or stop_reason in _ESCALATING


def escalate(choice: Choice, tried: Collection[Candidate]) -> Candidate | None:
    """After a bad answer: the next model of the cascade that has not been asked, if any is left."""
    bases = {one.base_id for one in tried}
    return next((one for one in choice.cascade if one.base_id not in bases), None)


def fall_back(choice: Choice, failed: Candidate, tried: Collection[Candidate]) -> Candidate | None:
    """After a call that failed: who stands in, if anybody is left.

    The same model under another profile, in another region, a sibling, the local provider: in that
    order, and only among the admitted, so never past the residency.
    """
    keys = {one.key for one in tried} | {failed.key}
    left = [one for one in choice.admitted if one.key not in keys]
    # `admitted` is ordered by U and min takes the first of equals.
    return min(left, key=lambda one: _distance(failed, one), default=None)


def _distance(failed: Candidate, other: Candidate) -> tuple[int, int]:
    if other.is_local:
        return 3, 0
    if other.base_id != failed.base_id:
        return 2, 0
    if other.region != failed.region:
        return 1, _REACHES.index(other.reach)
    return 0, _REACHES.index(other.reach)
