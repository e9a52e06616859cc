"""Signs of life: processes write the time into the cache, readers ask how long ago that was.

Redis going away makes every process look silent; the broker probe tells that case apart.
"""

from __future__ import annotations

import time
from datetime import timedelta
from enum import StrEnum

from django.core.cache import cache

KEEP = timedelta(hours=1)


class Beating(StrEnum):
    WORKER = "worker"
    BEAT = "beat"


def beat(who: Beating) -> None:
    cache.set(f"heartbeat:{who}", time.time(), timeout=KEEP.total_seconds())


def age(who: Beating) -> timedelta | None:
    """Time since the last sign of life, None when there was none within an hour."""
    at = cache.get(f"heartbeat:{who}")
    return None if at is None else timedelta(seconds=max(0.0, time.time() - at))
