"""The key performance indicators, each with its interval, sample, method and definition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.utils.timezone import now

from incidentops.incidents.cards import instant
from incidentops.incidents.models import Incident
from metrics import queries, statistics, windows
from metrics.queries import Resolved
from metrics.statistics import Estimate

ORIGINS = tuple(Incident.Origin.values)
NAMES = (
    "mttr",
    "mttr_median",
    "mtta",
    "incidents_handled",
    "incidents_prevented",
    "incidents_in_progress",
    "success_rate",
    "cost_savings",
    "efficiency",
    "data_quality",
)

# Equal samples give equal intervals: whoever recomputes a number can compare it.
_BOOTSTRAP_SEED = 20_261_101

_RESOLVED = (
    "incidents resolved in the window and not reopened since; merged incidents do not count and a "
    "reopened incident counts once, by its last resolution"
)


class UnknownOrigin(ValueError):
    """The message names the origins there are."""


@dataclass(frozen=True, kw_only=True)
class Durations:
    """Seconds between two stamps.

    `missing` incidents lack a stamp. Of `clamped` ones the later stamp came before the earlier, by
    the clocks of different machines: that counts as no time at all.
    """

    seconds: tuple[float, ...]
    missing: int
    clamped: int

    @property
    def quality(self) -> dict[str, Any]:
        total = len(self.seconds) + self.missing
        flags = []
        if self.missing:
            flags.append(f"{self.missing} of {total} incidents lack a stamp and are left out.")
        if self.clamped:
            flags.append(
                f"{self.clamped} of {total} incidents have stamps out of order: counted 0."
            )
        return _quality(total=total, good=len(self.seconds) - self.clamped, flags=flags) | {
            "missing": self.missing,
            "clamped": self.clamped,
        }


def durations(ends: Sequence[tuple[datetime, datetime | None]]) -> Durations:
    spans = [(end - start).total_seconds() for start, end in ends if end is not None]
    return Durations(
        seconds=tuple(max(0.0, span) for span in spans),
        missing=len(ends) - len(spans),
        clamped=sum(span < 0 for span in spans),
    )


def compute(window: str, origin: str, *, at: datetime | None = None) -> dict[str, Any]:
    """The answer of `GET /api/v1/kpis/`: every KPI of the window that ends at `at`, now if None.

    `previous` is the value in the window of equal length just before, `change` the difference in
    the KPI's own unit, with its own interval. What is not known is None and has a `reason`.

    Raises:
        InvalidWindow: see `windows.parse`.
        UnknownOrigin: the origin is none of `ORIGINS`.
    """
    if origin not in ORIGINS:
        raise UnknownOrigin(f"An origin is one of {', '.join(ORIGINS)}.")
    present = windows.parse(window, at=at or now())
    later = queries.resolved_in(present, origin=origin)
    earlier = queries.resolved_in(present.previous, origin=origin)
    return {
        "window": {
            "name": present.name,
            "origin": origin,
            "from": instant(present.since),
            "to": instant(present.until),
            "previous_from": instant(present.previous.since),
        },
        "kpis": {
            "mttr": _duration_kpi(
                statistics_of=_mean,
                spans=_to_resolve,
                later=later,
                earlier=earlier,
                definition=f"Mean of resolved_at - detected_at over {_RESOLVED}.",
            ),
            "mttr_median": _duration_kpi(
                statistics_of=statistics.median,
                spans=_to_resolve,
                later=later,
                earlier=earlier,
                definition=f"Median of resolved_at - detected_at over {_RESOLVED}.",
            ),
            "mtta": _duration_kpi(
                statistics_of=_mean,
                spans=_to_acknowledge,
                later=later,
                earlier=earlier,
                definition=(
                    "Mean of acknowledged_at - detected_at (the first acknowledgement by a person "
                    f"or an agent) over {_RESOLVED}; incidents nobody acknowledged are left out."
                ),
            ),
            "incidents_handled": _handled(later, earlier),
            "incidents_prevented": _unknown(
                unit="incidents",
                definition=(
                    "Predicted breaches for which a preventive action ran and that did not occur."
                ),
                reason="No preventive action has run: nothing can have been prevented.",
            ),
            "incidents_in_progress": _in_progress(origin),
            "success_rate": _success_rate(later, earlier),
            "cost_savings": _unknown(
                unit="USD",
                definition="(Baseline duration of the service - actual duration) x cost model.",
                reason="No baseline and no cost model are configured.",
            ),
            "efficiency": _unknown(
                unit="ratio",
                definition="Share of the baseline effort that the responses saved.",
                reason="No baseline of effort is configured.",
            ),
            "data_quality": _unknown(
                unit="ratio",
                definition="Share of facts the numbers need that are present and plausible.",
                reason="Not computed over all numbers yet; each number carries its own quality.",
            ),
        },
    }


def _mean(seconds: Sequence[float]) -> Estimate:
    return statistics.mean(seconds, rng=np.random.default_rng(_BOOTSTRAP_SEED))


def _to_resolve(rows: list[Resolved]) -> Durations:
    return durations([(row.detected_at, row.resolved_at) for row in rows])


def _to_acknowledge(rows: list[Resolved]) -> Durations:
    return durations([(row.detected_at, row.acknowledged_at) for row in rows])


def _duration_kpi(
    *,
    statistics_of: Callable[[Sequence[float]], Estimate],
    spans: Callable[[list[Resolved]], Durations],
    later: list[Resolved],
    earlier: list[Resolved],
    definition: str,
) -> dict[str, Any]:
    measured = spans(later)
    return _kpi(
        statistics_of(measured.seconds),
        statistics_of(spans(earlier).seconds),
        unit="seconds",
        definition=definition,
        quality=measured.quality,
        lowest=0.0,
    )


def _success_rate(later: list[Resolved], earlier: list[Resolved]) -> dict[str, Any]:
    return _kpi(
        _success(later),
        _success(earlier),
        unit="ratio",
        definition=(
            "Incidents resolved without a reopening and without a failed action, divided by all "
            f"{_RESOLVED}. A reopened incident is a failure."
        ),
        quality=_quality(total=len(later), good=len(later), flags=[]),
    )


def _success(rows: list[Resolved]) -> Estimate:
    clean = sum(row.reopen_count == 0 and row.failed_action_count == 0 for row in rows)
    return statistics.rate(clean, len(rows))


def _handled(later: list[Resolved], earlier: list[Resolved]) -> dict[str, Any]:
    return _entry(
        value=len(later),
        n=len(later),
        unit="incidents",
        method="count; exact, so without interval",
        definition=f"Number of {_RESOLVED}.",
        previous=len(earlier),
        previous_n=len(earlier),
        change=len(later) - len(earlier),
        quality=_quality(total=len(later), good=len(later), flags=[]),
    )


def _in_progress(origin: str) -> dict[str, Any]:
    total = queries.in_progress(origin=origin)["total"]
    return _entry(
        value=total,
        n=total,
        unit="incidents",
        method="count now; exact, so without interval",
        definition="Incidents that are triggered, acknowledged or mitigated now, not in the window.",
        quality=_quality(total=total, good=total, flags=[]),
        reason="A count of this moment has no earlier window.",
    )


def _unknown(*, unit: str, definition: str, reason: str) -> dict[str, Any]:
    return _entry(
        unit=unit,
        definition=definition,
        method="none",
        quality=_quality(total=0, good=0, flags=[reason]),
        reason=reason,
    )


def _kpi(
    later: Estimate,
    earlier: Estimate,
    *,
    unit: str,
    definition: str,
    quality: dict[str, Any],
    lowest: float | None = None,
) -> dict[str, Any]:
    change = statistics.difference(later, earlier)
    low = later.low
    return _entry(
        value=later.value,
        low=low if low is None or lowest is None else max(lowest, low),
        high=later.high,
        n=later.n,
        unit=unit,
        method=later.method,
        definition=definition,
        previous=earlier.value,
        previous_n=earlier.n,
        change=change.value,
        change_low=change.low,
        change_high=change.high,
        quality=quality,
        reason=later.reason,
    )


def _entry(
    *,
    unit: str,
    method: str,
    definition: str,
    quality: dict[str, Any],
    value: float | None = None,
    low: float | None = None,
    high: float | None = None,
    n: int = 0,
    previous: float | None = None,
    previous_n: int = 0,
    change: float | None = None,
    change_low: float | None = None,
    change_high: float | None = None,
    reason: str = "",
) -> dict[str, Any]:
    return {
        "value": value,
        "low": low,
        "high": high,
        "n": n,
        "unit": unit,
        "method": method,
        "definition": definition,
        "previous": previous,
        "previous_n": previous_n,
        "change": change,
        "change_low": change_low,
        "change_high": change_high,
        "quality": quality,
        "reason": reason,
    }


def _quality(*, total: int, good: int, flags: list[str]) -> dict[str, Any]:
    """`share` of the facts behind a number that are present and in order; None without facts."""
    return {
        "share": good / total if total else None,
        "missing": 0,
        "clamped": 0,
        "flags": flags,
    }
