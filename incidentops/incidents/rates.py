"""How much a source may send, counted in Redis for all web processes together.

Over the alert rate a delivery is still taken, but tells of nothing that is not new. Past the byte
rate it is turned away, so that one sender cannot fill the disk. Without Redis nobody is limited:
taking alerts matters more than counting them.
"""

from __future__ import annotations

import logging
import time
from functools import lru_cache
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

# How long not to ask a Redis that failed: a time-out at every delivery would slow them all.
_BLIND_SECONDS = 2.0
_TIMEOUT_SECONDS = 0.25
_blind_until = 0.0


def seconds_to_wait(source: Source, *, size: int) -> int | None:
    """Count a body. When it is past the source's byte rate, the seconds until the next window."""
    at = time.time()
    if _count(source, "bytes_per_10s", size, at) <= _limit(source, "bytes_per_10s"):
        return None
    return max(1, round(WINDOW_SECONDS - at % WINDOW_SECONDS))


def is_over(source: Source, *, alerts: int) -> bool:
    """Count alerts; whether the source is over its rate with them."""
    return _count(source, "alerts_per_10s", alerts, time.time()) > _limit(source, "alerts_per_10s")


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


def _count(source: Source, name: str, amount: int, at: float) -> int:
    """What the source has sent in this window with this; 0 while Redis cannot be asked."""
    global _blind_until
    if time.monotonic() < _blind_until:
        return 0
    key = f"{settings.REDIS_PREFIX}:rate:{name}:{source.pk}:{int(at) // WINDOW_SECONDS}"
    try:
        with _client().pipeline(transaction=False) as pipeline:
            pipeline.incrby(key, amount)
            pipeline.expire(key, 2 * WINDOW_SECONDS)
            return int(pipeline.execute()[0])
    except redis.RedisError as error:
        _blind_until = time.monotonic() + _BLIND_SECONDS
        logger.warning("Intake does not limit anybody for now, Redis failed: %s", error)
        return 0


@lru_cache(maxsize=1)
def _client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
