"""Whether events reach the sockets."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import asdict
from typing import Any

from channels.layers import get_channel_layer
from django.db.models.functions import Now
from django.utils.timezone import now
from redis.exceptions import RedisError

from incidentops.health.registry import Probe, Reading, Vital, register, register_vital
from incidentops.realtime import channel, gauges
from incidentops.realtime.models import OutboxEvent

ROUND_TRIP_SECONDS = 2.0
# The sweep runs every second; an event that waits for ten has been missed by several.
UNRELAYED_SECONDS = 10.0


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


def channel_layer() -> Reading:
    try:
        seconds = channel.call(_round_trip, timeout=ROUND_TRIP_SECONDS)
    except Exception as error:  # noqa: BLE001  # whatever the layer's client raises is the finding
        return Reading(ok=False, summary=f"No round trip through the channel layer: {error!r}.")
    milliseconds = round(seconds * 1000, 2)
    return Reading(
        ok=True,
        summary=f"Round trip through the channel layer in {milliseconds} ms.",
        detail={"round_trip_ms": milliseconds},
    )


def outbox() -> Reading:
    oldest = OutboxEvent.objects.filter(positioned_at=None).order_by("id").values_list("at").first()
    late = OutboxEvent.objects.filter(
        positioned_at__isnull=False, handled_at=None, due_at__lt=Now(), attempts__gt=1
    ).count()
    age = max(0.0, (now() - oldest[0]).total_seconds()) if oldest else 0.0
    detail = {"oldest_unrelayed_seconds": round(age, 3), "retried_events": late}
    if age > UNRELAYED_SECONDS:
        return Reading(ok=False, summary=f"An event waits for {age:.0f} s.", detail=detail)
    if late:
        return Reading(ok=False, summary=f"{late} events have receivers that fail.", detail=detail)
    return Reading(ok=True, summary="Events are relayed as they come.", detail=detail)


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


register(Probe(name="channel_layer", check=channel_layer))
register(Probe(name="outbox", check=outbox, is_critical=False))
register_vital(Vital(name="sockets", read=open_sockets))
