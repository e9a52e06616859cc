"""How far from normal is each point of a series, judged by its own past alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

WINDOW = 120
WARM_UP = 8
LIMIT = 50.0
ALARM = 4.0
MAD_TO_SD = 1.4826
SD_FLOOR = 0.1
RELATIVE_FLOOR = 0.01
# Below this share of the magnitude a difference is rounding, not signal.
ROUNDING = 1e-9
SEASONS_NEEDED = 3


@dataclass(frozen=True, kw_only=True)
class Normal:
    """What a stretch of normal looks like: `centre` and `scale` (one robust standard deviation)."""

    centre: float
    scale: float

    def deviations(self, values: Array) -> Array:
        """Signed robust deviations of `values`, clipped to +-LIMIT."""
        return _clipped(values - self.centre, np.full(values.shape, self.scale))

    def band(self, width: float = ALARM) -> tuple[float, float]:
        return self.centre - width * self.scale, self.centre + width * self.scale


def normal_of(values: Array, *, relative_floor: float = RELATIVE_FLOOR) -> Normal:
    """Describe `values` (n,), n >= 1, by median and 1.4826 MAD.

    The scale has a floor at a tenth of the standard deviation, so that a series which is constant
    most of the time does not call each of its usual steps an anomaly, and at `relative_floor` of
    the median's magnitude, so that a constant one does not call a rounding difference one.
    """
    centre, scale = _location_and_scale(values[np.newaxis, :], relative_floor)
    return Normal(centre=float(centre[0]), scale=float(scale[0]))


def scores(
    values: Array,
    *,
    window: int = WINDOW,
    period: int | None = None,
    relative_floor: float = RELATIVE_FLOOR,
) -> Array:
    """Score every point against the `window` points before it.

    `values` is (n,), evenly spaced, finite. The result is (n,): signed robust deviations clipped
    to +-LIMIT, NaN for the first WARM_UP points, of which nothing can be said. Strictly causal: the
    score at t depends on values[: t + 1] alone. Multiplying the series by a positive number
    changes nothing, nor does adding one when `relative_floor` is 0.

    With `period` (points per season) and SEASONS_NEEDED full seasons of past, a point is judged
    against the same place in earlier seasons as well, and the milder of both scores counts: what
    happens every day at this hour is normal.

    Source: rolling median / MAD ("Hampel identifier"); Davies & Gather, JASA 88 (1993).
    """
    plain = _rolling(values, window, relative_floor)
    if period is None or values.size < SEASONS_NEEDED * period + WARM_UP + 1:
        return plain
    seasonal = _rolling(_without_season(values, period), window, 0.0)
    both = ~np.isnan(plain) & ~np.isnan(seasonal)
    milder = np.where(np.abs(seasonal) < np.abs(plain), seasonal, plain)
    return np.where(both, milder, plain)


def _rolling(values: Array, window: int, relative_floor: float) -> Array:
    result = np.full(values.size, np.nan)
    first = int(np.argmax(~np.isnan(values))) if values.size else 0
    known = values[first:]
    if known.size > WARM_UP:
        padded = np.concatenate([np.full(window, np.nan), known[:-1]])
        past = sliding_window_view(padded, window)[WARM_UP:]
        centre, scale = _location_and_scale(past, relative_floor)
        result[first + WARM_UP :] = _clipped(known[WARM_UP:] - centre, scale)
    return result


def _location_and_scale(rows: Array, relative_floor: float) -> tuple[Array, Array]:
    """Median and floored scale of each row, NaN left out; every row has a number."""
    counts = np.isfinite(rows).sum(axis=1)
    centre = _medians(rows, counts)
    mad = _medians(np.abs(rows - centre[:, np.newaxis]), counts)
    floor = np.maximum(SD_FLOOR * np.nanstd(rows, axis=1), relative_floor * np.abs(centre))
    floor = np.maximum(floor, ROUNDING * np.nanmax(np.abs(rows), axis=1))
    return centre, np.maximum(MAD_TO_SD * mad, floor)


def _medians(rows: Array, counts: NDArray[np.int64]) -> Array:
    """Sorting puts NaN last, so the middle of the numbers is found by their count."""
    ordered, places = np.sort(rows, axis=1), np.arange(len(rows))
    low, high = ordered[places, (counts - 1) // 2], ordered[places, counts // 2]
    return np.asarray(low + (high - low) / 2)


def _clipped(difference: Array, scale: Array) -> Array:
    """Difference / scale; without any scale, every difference is as far as it gets."""
    safe = np.where(scale > 0, scale, 1.0)
    with np.errstate(over="ignore"):
        ratio = np.where(scale > 0, difference / safe, np.sign(difference) * LIMIT)
    return np.clip(ratio, -LIMIT, LIMIT)


def _without_season(values: Array, period: int) -> Array:
    """values[t] minus the median of the same place in up to seven seasons before; NaN early on."""
    result = np.full(values.size, np.nan)
    for t in range(SEASONS_NEEDED * period, values.size):
        result[t] = values[t] - np.median(values[t - period :: -period][:7])
    return result
