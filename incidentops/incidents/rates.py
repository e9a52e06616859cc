"""How much a source may send, counted for all web processes together.

Over the alert rate a delivery is still taken, but tells of nothing that is not new. Past the byte
rate it is turned away, so that one sender cannot fill the disk. Each process counts what it takes and
shares that through Redis ten times a second: to ask at each delivery would cost a tenth of it. So what
others took in the last moment may be missing, and without Redis each process knows only its own.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from incidentops.incidents.models import Source
from incidentops.incidents.payloads import Malformed

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 10
LIMITS = {"alerts_per_10s": 20_000, "bytes_per_10s": 64 * 1024 * 1024}

SHARE_EVERY_SECONDS = 0.1
# How long not to ask a Redis that failed: a time-out at every delivery would slow them all.
_BLIND_SECONDS = 2.0
_TIMEOUT_SECONDS = 0.25


def seconds_to_wait(source: Source, *, size: int) -> int | None:
    """Count a body. When it is past the source's byte rate, the seconds until the next window."""
    at = time.time()
    if _counts.add(source.pk, "bytes_per_10s", size, at) <= _limit(source, "bytes_per_10s"):
        return None
    return max(1, round(WINDOW_SECONDS - at % WINDOW_SECONDS))


def is_over(source: Source, *, alerts: int) -> bool:
    """Count alerts; whether the source is over its rate with them."""
    sent = _counts.add(source.pk, "alerts_per_10s", alerts, time.time())
    return sent > _limit(source, "alerts_per_10s")


def check_limits(value: Any) -> None:
    """Refuse a source's own limits when they are none.

    Raises:
        Malformed: it names the member of the configuration.
    """
    if value is None:
        return
    if not isinstance(value, dict):
        raise Malformed("config.limits", "must be an object")
    for name, limit in value.items():
        if name not in LIMITS:
            raise Malformed(f"config.limits.{name}", f"is not one of {', '.join(LIMITS)}")
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise Malformed(f"config.limits.{name}", "must be a positive integer")


def _limit(source: Source, name: str) -> int:
    limit: int = (source.config.get("limits") or {}).get(name, LIMITS[name])
    return limit


@dataclass(slots=True)
class _Count:
    """`shared` is what all processes had counted when Redis was last asked, `own` what came here since."""

    window: int
    shared: int = 0
    own: int = 0
    asks_at: float = 0.0


class Counts:
    """What each source has sent in this window, as one process knows it."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], _Count] = {}
        self._blind_until = 0.0
        self._change = Lock()

    def add(self, source: str, name: str, amount: int, at: float) -> int:
        """Count this too; the sum of the window."""
        window, moment = int(at) // WINDOW_SECONDS, time.monotonic()
        with self._change:
            count = self._counts.get((source, name))
            if count is None or count.window != window:
                count = self._counts[source, name] = _Count(window)
            count.own += amount
            if moment < max(count.asks_at, self._blind_until):
                return count.shared + count.own
            count.asks_at = moment + SHARE_EVERY_SECONDS
            told = count.own
        key = f"{settings.REDIS_PREFIX}:rate:{name}:{source}:{window}"
        shared = self._share(key, told)
        with self._change:
            if shared is not None:
                count.shared, count.own = shared, count.own - told
            return count.shared + count.own

    def _share(self, key: str, amount: int) -> int | None:
        """Add to what all processes count; the sum, None while Redis cannot be asked."""
        try:
            with _client().pipeline(transaction=False) as pipeline:
                pipeline.incrby(key, amount)
                pipeline.expire(key, 2 * WINDOW_SECONDS)
                return int(pipeline.execute()[0])
        except redis.RedisError as error:
            self._blind_until = time.monotonic() + _BLIND_SECONDS
            logger.warning("Each process limits what it takes by itself, Redis failed: %s", error)
            return None


_counts = Counts()


@lru_cache(maxsize=1)
def _client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
