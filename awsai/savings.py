"""What routing saved: every decision once more, as if the top model had always been asked.

The same tokens are priced at the top model of each decision. Its tokenizer would count a little
differently and its answer would have another length, so the figure compares prices, not answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from awsai import past_calls, prices, pricing
from awsai.models import Outcome, RouteDecision
from awsai.past_calls import PastCall
from awsai.ports import Usage

RESAMPLES = 2000
LEVEL = 0.95
_DRAWS_AT_ONCE = 1_000_000
# Of fewer decisions a bootstrap interval says nothing.
MIN_DECISIONS = 10


@dataclass(frozen=True, kw_only=True)
class Savings:
    """Over `compared` of `decisions` decisions; `left_out` counts the others by their reason.

    `share` is 1 - routed/top with the bootstrap interval [`low`, `high`] over decisions, None with
    `reason` where there is too little to compare. Both costs are list prices of `price_version`.
    """

    decisions: int
    compared: int
    left_out: dict[str, int]
    routed_nano_usd: int
    top_nano_usd: int
    share: float | None
    low: float | None
    high: float | None
    price_version: str
    reason: str = ""


class _LeftOut(Exception):
    """The decision cannot be compared; the message says why."""


def against_always_top(
    *, since: datetime | None = None, rng: np.random.Generator | None = None
) -> Savings:
    """Replay the decisions since then. The bootstrap is seeded: the same rows give the same interval."""
    rates = prices.in_force()
    decisions = RouteDecision.objects.order_by("pk")
    if since is not None:
        decisions = decisions.filter(at__gte=since)
    rows = list(decisions)
    calls = past_calls.of(row.pk for row in rows)
    pairs: list[tuple[int, int]] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        try:
            pairs.append(_costs(row, calls.get(row.pk, []), rates))
        except _LeftOut as error:
            left_out[str(error)] += 1
    return compare(
        pairs,
        left_out,
        version=rates.version if rates else "",
        rng=rng or np.random.default_rng(0),
    )


def _costs(
    decision: RouteDecision, calls: Sequence[PastCall], rates: pricing.PriceList | None
) -> tuple[int, int]:
    """What all calls of the decision cost, and what the answering one would have at the top."""
    if rates is None:
        raise _LeftOut("no list of prices is in force")
    if not calls:
        raise _LeftOut("the ledger has no call of it")
    answers = [call for call in calls if call.outcome == Outcome.SUCCEEDED]
    if not answers:
        raise _LeftOut("no call was answered")
    if answers[-1].provider == "local":
        raise _LeftOut("answered by the local provider")
    if not decision.top:
        raise _LeftOut("no model of AWS was admitted")
    routed = sum(
        _price(call, call.model, call.region, rates) for call in calls if call.provider != "local"
    )
    return routed, _price(answers[-1], decision.top, decision.top_region, rates)


def _price(call: PastCall, model: str, region: str, rates: pricing.PriceList) -> int:
    cost = pricing.cost(
        Usage(tokens=call.tokens),
        service=call.service,
        model=model,
        region=region,
        at=call.started_at,
        rates=rates,
    )
    if cost.nano_usd is None:
        raise _LeftOut(cost.reason)
    return cost.nano_usd


def compare(
    pairs: Sequence[tuple[int, int]],
    left_out: Counter[str],
    *,
    version: str,
    rng: np.random.Generator,
) -> Savings:
    """Sum up (routed, top) costs in nano-USD, one pair a decision."""
    routed, top = sum(one for one, _ in pairs), sum(two for _, two in pairs)
    low, high = _interval(pairs, rng)
    return Savings(
        decisions=len(pairs) + left_out.total(),
        compared=len(pairs),
        left_out=dict(left_out.most_common()),
        routed_nano_usd=routed,
        top_nano_usd=top,
        share=1 - routed / top if top else None,
        low=low,
        high=high,
        price_version=version,
        reason=_reason(pairs, top),
    )


def _reason(pairs: Sequence[tuple[int, int]], top: int) -> str:
    if not pairs:
        return "There is nothing to compare."
    if not top:
        return "The top models would have cost nothing."
    if len(pairs) < MIN_DECISIONS:
        return f"No interval from fewer than {MIN_DECISIONS} decisions."
    return ""


def _interval(
    pairs: Sequence[tuple[int, int]], rng: np.random.Generator
) -> tuple[float | None, float | None]:
    """Percentile bootstrap of the ratio of sums, whole decisions resampled.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.
    """
    if len(pairs) < MIN_DECISIONS:
        return None, None
    costs = np.array(pairs, dtype=np.float64)
    at_once = max(1, _DRAWS_AT_ONCE // len(costs))
    sums = np.vstack(
        [
            costs[rng.integers(len(costs), size=(min(at_once, RESAMPLES - done), len(costs)))].sum(
                1
            )
            for done in range(0, RESAMPLES, at_once)
        ]
    )
    # A resample of free calls alone has no ratio.
    routed, top = sums[sums[:, 1] > 0].T
    if not len(top):
        return None, None
    shares = 1 - routed / top
    low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
