"""Where a series is heading over a short horizon, and when it would reach a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array: TypeAlias = NDArray[np.float64]

NEEDED_POINTS = 12
# Slopes come from all pairs of points, so the past is cut here: 240 points are 28,680 pairs.
MOST_POINTS = 240
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class NotEnoughData:
    have: int
    needed: int = NEEDED_POINTS


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """`mean`, `lower`, `upper` at `at` (all (h,), `at` in epoch seconds).

    `slope`, with its interval [`slope_low`, `slope_high`], is per second; `is_trending` says that
    the interval excludes 0, else `mean` is level. `now` is the fitted value at the last point and
    `spread` half the width of the residuals' interval, both in the unit of the series.
    """

    at: Array
    mean: Array
    lower: Array
    upper: Array
    now: float
    slope: float
    slope_low: float
    slope_high: float
    spread: float
    is_trending: bool
    points: int
    level: float


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Seconds from the last point until the threshold is crossed.

    `low` is the earliest at the forecast's level; `high` the latest, None when at that level the
    series may never cross. `seconds` is None when the central trend does not lead there.
    """

    seconds: float | None
    low: float | None
    high: float | None
    is_breached: bool


def forecast(
    at: Array, values: Array, *, horizon_seconds: float, steps: int = 12, level: float = LEVEL
) -> Forecast | NotEnoughData:
    """Extrapolate by the Theil-Sen line where there is a trend, by the median where there is none.

    `at` (n,) ascending epoch seconds, `values` (n,) finite. A trend counts when Sen's interval of
    the slope at `level`, widened for the residuals' lag-1 autocorrelation, excludes 0. The band is
    the residuals' two-sided quantile at `level` plus the slope's uncertainty times the distance:
    no distribution is assumed, but the coming hour is taken to resemble the recent past.

    Source: Sen, JASA 63 (1968); effective sample size (1 - r) / (1 + r), Bayley & Hammersley (1946).
    """
    if values.size < NEEDED_POINTS:
        return NotEnoughData(have=int(values.size))
    at, values = at[-MOST_POINTS:], values[-MOST_POINTS:]
    since = at - at[-1]
    fit = stats.theilslopes(values, since, alpha=level)
    slope = float(fit.slope)
    residuals = values - slope * since - np.median(values - slope * since)
    widening = _widening(residuals)
    low = slope - (slope - float(fit.low_slope)) * widening
    high = slope + (float(fit.high_slope) - slope) * widening
    is_trending = bool(low > 0 or high < 0)
    if is_trending:
        now = float(np.median(values - slope * since))
    else:
        now = float(np.median(values))
        residuals = values - now
    spread = float(np.quantile(np.abs(residuals), level))
    ahead = np.linspace(horizon_seconds / steps, horizon_seconds, steps)
    central, down, up = (slope, low, high) if is_trending else (0.0, min(low, 0.0), max(high, 0.0))
    return Forecast(
        at=at[-1] + ahead,
        mean=now + central * ahead,
        lower=now + down * ahead - spread,
        upper=now + up * ahead + spread,
        now=now,
        slope=slope,
        slope_low=low,
        slope_high=high,
        spread=spread,
        is_trending=is_trending,
        points=int(values.size),
        level=level,
    )


def time_to_threshold(prediction: Forecast, *, threshold: float, comparison: str) -> Crossing:
    """When the trend reaches `threshold` in the sense of `comparison` (">", ">=", "<", "<=").

    The earliest time takes the steep end of the slope's interval from the near edge of the
    residual band, the latest the flat end from the far edge. Only a trend leads anywhere.
    """
    sign = 1.0 if comparison.startswith(">") else -1.0
    gap = sign * (threshold - prediction.now)
    breached = gap <= 0 if comparison.endswith("=") else gap < 0
    if breached:
        return Crossing(seconds=0.0, low=0.0, high=0.0, is_breached=True)
    slopes = sorted(sign * slope for slope in (prediction.slope_low, prediction.slope_high))
    if not prediction.is_trending or sign * prediction.slope <= 0:
        return Crossing(seconds=None, low=None, high=None, is_breached=False)
    flat, steep = slopes
    return Crossing(
        seconds=gap / (sign * prediction.slope),
        low=max(gap - prediction.spread, 0.0) / steep,
        high=(gap + prediction.spread) / flat if flat > 0 else None,
        is_breached=False,
    )


def _widening(residuals: Array) -> float:
    """Factor on the interval of the slope when neighbours resemble one another."""
    power = float(residuals @ residuals)
    if power <= 0:
        return 1.0
    r = float(residuals[:-1] @ residuals[1:]) / power
    r = min(max(r, 0.0), 0.95)
    return float(np.sqrt((1 + r) / (1 - r)))
