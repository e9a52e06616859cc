"""Run the probes and read the vitals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import DatabaseError, connection
from redis.exceptions import RedisError

from incidentops.health.registry import Probe, Reading, Vital, probes, vitals


def _check(probe: Probe) -> Reading:
    try:
        return probe.check()
    except (DatabaseError, RedisError, OSError) as error:
        return Reading(ok=False, summary=f"The check itself failed: {type(error).__name__}.")
    finally:
        # Each runs in a thread of its own, with a connection of its own.
        connection.close()


def _read(vital: Vital) -> Any:
    try:
        return vital.read()
    except (DatabaseError, RedisError, OSError) as error:
        return {"unknown": f"{type(error).__name__} while reading"}


def readings() -> dict[str, tuple[Probe, Reading]]:
    """All probes at once, so that the slowest alone decides how long it takes."""
    chosen = probes()
    with ThreadPoolExecutor(max_workers=max(1, len(chosen))) as pool:
        found = list(pool.map(_check, chosen))
    return {probe.name: (probe, reading) for probe, reading in zip(chosen, found, strict=True)}


def readiness() -> tuple[bool, dict[str, Any]]:
    """Whether every critical probe passed, and what each saw, as `/readyz` shows it."""
    found = readings()
    checks = {
        name: {
            "ok": reading.ok,
            "critical": probe.is_critical,
            "summary": reading.summary,
            **reading.detail,
        }
        for name, (probe, reading) in found.items()
    }
    ready = all(reading.ok for probe, reading in found.values() if probe.is_critical)
    return ready, checks


def system_health() -> dict[str, Any]:
    """Checks and vitals, as `/dashboard/system/health` and the operators' board show them."""
    ready, checks = readiness()
    return {"ready": ready, "checks": checks, **{v.name: _read(v) for v in vitals()}}
