"""Whether events reach the sockets, in figures; what is healthy is decided elsewhere."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from channels.layers import get_channel_layer
from django.db.models.functions import Now
from django.utils.timezone import now
from redis.exceptions import RedisError

from incidentops.realtime import channel, gauges
from incidentops.realtime.models import OutboxEvent

ROUND_TRIP_SECONDS = 2.0


async def _round_trip() -> float:
    layer: Any = get_channel_layer()
    receiver = await layer.new_channel()
    group = f"probe.{uuid.uuid4().hex}"
    reading = asyncio.ensure_future(layer.receive(receiver))
    try:
        await layer.group_add(group, receiver)
        started = time.perf_counter()
        await layer.group_send(group, {"type": "probe"})
        await asyncio.shield(reading)
        return time.perf_counter() - started
    finally:
        await layer.group_discard(group, receiver)
        # A cancelled receive is how the layer lets go of a channel.
        reading = reading if not reading.done() else asyncio.ensure_future(layer.receive(receiver))
        await asyncio.sleep(0)
        reading.cancel()


def round_trip_ms() -> float:
    """How long a message takes through the channel layer and back. Raises what its client raises."""
    return round(channel.call(_round_trip, timeout=ROUND_TRIP_SECONDS) * 1000, 2)


def oldest_unrelayed() -> timedelta:
    """How long the oldest committed event has been waiting for its place."""
    oldest = OutboxEvent.objects.filter(positioned_at=None).order_by("id").values_list("at").first()
    return max(timedelta(), now() - oldest[0]) if oldest else timedelta()


def overdue_events() -> int:
    """Events that were tried more than once and that some receiver has still not taken."""
    return OutboxEvent.objects.filter(
        positioned_at__isnull=False, handled_at=None, due_at__lt=Now(), attempts__gt=1
    ).count()


def open_sockets() -> dict[str, Any]:
    """The sockets of all web processes that reported lately; None where nobody knows."""
    try:
        processes = gauges.web_processes()
    except RedisError:
        return {"open": None, "fan_out_p95_ms": None, "processes": []}
    slowest = [each.fan_out_p95_ms for each in processes if each.fan_out_p95_ms is not None]
    return {
        "open": sum(each.sockets for each in processes) if processes else None,
        "fan_out_p95_ms": max(slowest, default=None),
        "processes": [asdict(each) for each in processes],
    }
