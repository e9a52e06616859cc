"""When did it begin: the one change of level or slope that best splits a series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

MIN_POINTS = 10
MIN_BEFORE = 4
# 2 * log-likelihood a change must gain per parameter, in units of log n: twice BIC, because the
# place is searched for and real series are autocorrelated.
PENALTY = 2.0
PARAMETERS = 2
HALF_CHI2_95 = 1.92


@dataclass(frozen=True, kw_only=True)
class Onset:
    """A change between points `index` - 1 and `index`.

    `at` is the time of the first changed point; [`earliest`, `latest`] is its 95 % profile
    likelihood interval, in the same seconds. `shape` is "step" (another level) or "ramp" (begins to
    move); `change` is the difference of level for a step, the slope per second for a ramp.
    """

    index: int
    at: float
    earliest: float
    latest: float
    shape: Literal["step", "ramp"]
    change: float
    gain: float


def onset(at: Array, values: Array) -> Onset | None:
    """Find the most likely single change, or None when there is none worth the name.

    `at` (n,) ascending seconds, `values` (n,) finite. Two models compete at every place k: two
    levels, and a level that turns into a straight line at k; Gaussian errors of one unknown
    variance. A change is reported when 2 log(likelihood ratio) exceeds PENALTY * PARAMETERS * log n.
    Adding a number to the series or multiplying it by a positive one moves nothing. Nothing after
    the last point given is used, so cutting the series at t asks what was knowable at t.

    Source: Hinkley, Biometrika 57 (1970); checked on the Nile flows, Cobb, Biometrika 65 (1978).
    """
    n = values.size
    if n < MIN_POINTS:
        return None
    centred = values - values.mean()
    magnitude = float(np.abs(centred).max())
    if magnitude <= 1e-12 * max(float(np.abs(values).max()), 1e-300):
        return None
    centred = centred / magnitude
    total = float(centred @ centred)
    # A perfect fit has no residual; this floor keeps its likelihood finite.
    floor = 1e-10 * total
    places = np.arange(MIN_BEFORE, n)
    step = np.maximum(_step_residuals(centred)[places], floor)
    ramp = np.maximum(_ramp_residuals(at, centred, places), floor)
    is_ramp = bool(ramp.min() < step.min())
    residual = ramp if is_ramp else step
    best = int(residual.argmin())
    gain = n * float(np.log(total / residual[best]))
    if gain <= PENALTY * PARAMETERS * np.log(n):
        return None
    # Which shape it has is uncertain, too: a place is plausible that either shape makes so.
    either = np.minimum(step, ramp)
    plausible = places[n / 2 * np.log(either / residual[best]) <= HALF_CHI2_95]
    index = int(places[best])
    return Onset(
        index=index,
        at=float(at[index]),
        earliest=float(at[plausible[0] - 1]),
        latest=float(at[plausible[-1]]),
        shape="ramp" if is_ramp else "step",
        change=_change(at, values, index, is_ramp=is_ramp),
        gain=gain,
    )


def _step_residuals(values: Array) -> Array:
    """Residual sum of squares of two levels split before k, for k in 0..n-1; k = 0 is no split."""
    n = values.size
    before = np.arange(n)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    explained = (sums[n] - sums[:n]) ** 2 / (n - before)
    explained[1:] += sums[1:n] ** 2 / before[1:]
    return np.asarray(values @ values - explained)


def _ramp_residuals(at: Array, values: Array, places: NDArray[np.int64]) -> Array:
    """Residual sum of squares of a level that turns into a line after point k - 1."""
    since = np.maximum(at[np.newaxis, :] - at[places - 1, np.newaxis], 0.0)
    since -= since.mean(axis=1, keepdims=True)
    spread = (since * since).sum(axis=1)
    slope_times_spread = since @ (values - values.mean())
    explained = np.divide(
        slope_times_spread**2, spread, where=spread > 0, out=np.zeros(len(places))
    )
    around_mean = float(((values - values.mean()) ** 2).sum())
    return np.asarray(around_mean - explained)


def _change(at: Array, values: Array, index: int, *, is_ramp: bool) -> float:
    if not is_ramp:
        return float(values[index:].mean() - values[:index].mean())
    since = np.maximum(at - at[index - 1], 0.0)
    since = since - since.mean()
    return float(since @ values / (since @ since))
