"""What publishing one event to the channel layer costs a synchronous worker.

Compared are `async_to_sync(layer.group_send)` per call, which opens a connection each time, and the
product's one background loop per process. Run: `python -m tests.bench.publishing`.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable

import django

REPEATS = 200
ROUNDS = 5
EVENT = {
    "type": "batch",
    "topic": "ops",
    "epoch": "0" * 12,
    "first": 1,
    "events": ['{"position":1,"type":"incident.updated","data":"' + "x" * 300 + '"}'],
}


def measure() -> dict[str, float]:
    """Microseconds per event, medians over rounds that take turns.

    `publish_us` is the whole cost in a burst: from the first event handed over until the last one
    is at the server, divided by their number. `single_us` is one event at a time, waiting for
    each; `handover_us` is what a caller really waits.
    """
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    from incidentops.realtime import channel
    from tests.narrowing import known

    layer = known(get_channel_layer())

    def per_call() -> None:
        async_to_sync(layer.group_send)("bench", EVENT)

    def handed_over() -> None:
        channel.group_send("bench", EVENT)

    def one_at_a_time() -> None:
        channel.group_send("bench", EVENT)
        channel.flush()

    per_call()
    handed_over()
    channel.flush()
    baseline, publish, handover, single = [], [], [], []
    for _ in range(ROUNDS):
        baseline.append(_per_event(per_call, REPEATS))
        started = time.perf_counter()
        handover.append(_per_event(handed_over, REPEATS))
        channel.flush()
        publish.append((time.perf_counter() - started) / REPEATS)
        single.append(_per_event(one_at_a_time, REPEATS))
    medians = {
        "async_to_sync_us": statistics.median(baseline) * 1e6,
        "publish_us": statistics.median(publish) * 1e6,
        "single_us": statistics.median(single) * 1e6,
        "handover_us": statistics.median(handover) * 1e6,
    }
    return {
        **{name: round(value, 1) for name, value in medians.items()},
        "ratio": round(medians["async_to_sync_us"] / medians["publish_us"], 1),
        "single_ratio": round(medians["async_to_sync_us"] / medians["single_us"], 1),
        "handover_ratio": round(medians["async_to_sync_us"] / medians["handover_us"], 1),
        "rounds": ROUNDS,
        "events_per_round": REPEATS,
    }


def _per_event(send: Callable[[], None], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        send()
    return (time.perf_counter() - started) / count


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "incidentops.settings")
    django.setup()
    json.dump(measure(), sys.stdout, indent=2)
    sys.stdout.write("\n")
