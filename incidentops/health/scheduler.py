"""The beat scheduler, with a sign of life."""

from __future__ import annotations

import logging
import time
from typing import Any

from django_celery_beat.schedulers import DatabaseScheduler
from redis.exceptions import RedisError

from incidentops.health import heartbeats

log = logging.getLogger(__name__)

_EVERY_SECONDS = 2.0


class LivingScheduler(DatabaseScheduler):  # type: ignore[misc]  # django-celery-beat has no types
    """Database schedules, editable in the admin; every tick may leave a heartbeat."""

    _last_beat = 0.0

    def tick(self, *args: Any, **kwargs: Any) -> float:
        if time.monotonic() - self._last_beat > _EVERY_SECONDS:
            self._last_beat = time.monotonic()
            try:
                heartbeats.beat(heartbeats.Beating.BEAT)
            except RedisError as error:
                # Without a sign of life /readyz reports it; the schedule itself must go on.
                log.warning("beat heartbeat not written: %s", error)
        delay: float = super().tick(*args, **kwargs)
        return delay
