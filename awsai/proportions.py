"""How sure a share is. Pure."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054


def wilson(successes: int, trials: int, *, z: float = Z_95) -> tuple[float, float]:
    """Two-sided Wilson score interval of a proportion; (0, 1) without trials.

    Source: Wilson, JASA 22 (1927); the formula of Brown, Cai & DasGupta, Stat. Sci. 16 (2001).
    """
    if trials == 0:
        return 0.0, 1.0
    share, square = successes / trials, z * z / trials
    centre = share + square / 2
    half = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    # Rounding must not push the interval off the share it belongs to.
    low = min((centre - half) / (1 + square), share)
    high = max((centre + half) / (1 + square), share)
    return max(low, 0.0), min(high, 1.0)
