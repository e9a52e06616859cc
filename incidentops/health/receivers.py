"""Workers show that they live."""

from __future__ import annotations

import logging
from typing import Any

from celery.signals import heartbeat_sent, worker_ready
from redis.exceptions import RedisError

from incidentops.health import heartbeats

log = logging.getLogger(__name__)


@heartbeat_sent.connect
@worker_ready.connect
def worker_lives(**_: Any) -> None:
    try:
        heartbeats.beat(heartbeats.Beating.WORKER)
    except RedisError as error:
        # The worker's own consumer reconnects; a missing heartbeat shows on /readyz.
        log.warning("worker heartbeat not written: %s", error)
