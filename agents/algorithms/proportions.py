"""What a handful of successes says about a rate."""

from __future__ import annotations

from math import sqrt

Z_95 = 1.959963984540054


def wilson_interval(successes: int, trials: int, *, z: float = Z_95) -> tuple[float, float]:
    """Two-sided Wilson score interval of a proportion; (0, 1) without trials.

    Source: Wilson, JASA 22 (1927); the formula of Brown, Cai & DasGupta, Stat. Sci. 16 (2001).
    """
    if trials == 0:
        return 0.0, 1.0
    p = successes / trials
    centre = p + z * z / (2 * trials)
    half = z * sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
