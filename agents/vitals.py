"""How the swarm is: agents by state, the queue of phases, capacity, and latency per phase."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import numpy as np
from django.conf import settings
from django.db.models import Min
from django.db.models.functions import Now
from django.utils.timezone import now

from agents.claims import due
from agents.models import Phase, PhaseRun, PhaseState
from agents.record import agent_states
from incidentops.health.registry import Vital, register_vital

LATENCY_WINDOW = timedelta(hours=24)
# Percentiles of more runs than this would tell nothing new and cost memory.
LATENCY_RUNS = 5_000


def agents_by_state() -> dict[str, int]:
    """How many of the five agents are in each state; one that works on nothing is idle."""
    return dict(Counter(agent["state"] for agent in agent_states()))


def queue() -> dict[str, Any]:
    """Phases that are due and that nobody holds."""
    waiting = due()
    oldest = waiting.aggregate(oldest=Min("due_at"))["oldest"]
    return {
        "depth": waiting.count(),
        "oldest_age_seconds": None if oldest is None else (now() - oldest).total_seconds(),
    }


def capacity() -> dict[str, int]:
    """Phases being worked on, beside the number one agents worker can work on at once."""
    running = PhaseRun.objects.filter(state=PhaseState.RUNNING, lease_until__gt=Now()).count()
    return {"running": running, "slots_per_worker": settings.CELERY_WORKER_CONCURRENCY}


def latency_ms() -> dict[str, Any]:
    """Time from claim to commit per phase over the last 24 hours; None without runs."""
    finished = PhaseRun.objects.filter(
        state=PhaseState.DONE, finished_at__gt=now() - LATENCY_WINDOW, started_at__isnull=False
    ).order_by("-finished_at")
    spans: dict[str, list[float]] = {phase: [] for phase in Phase.values}
    for phase, started_at, finished_at in finished.values_list(
        "phase", "started_at", "finished_at"
    )[:LATENCY_RUNS]:
        assert started_at is not None
        assert finished_at is not None
        spans[phase].append((finished_at - started_at).total_seconds() * 1000)
    return {phase: _summary(values) for phase, values in spans.items()}


def _summary(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    p95, p99 = np.percentile(values, [95, 99])
    return {
        "n": len(values),
        "avg": round(float(np.mean(values)), 1),
        "p95": round(float(p95), 1),
        "p99": round(float(p99), 1),
    }


register_vital(Vital(name="agents_by_state", read=agents_by_state))
register_vital(Vital(name="queue", read=queue))
register_vital(Vital(name="capacity", read=capacity))
register_vital(Vital(name="latency_ms", read=latency_ms))
