"""Probes: each app registers, in its `probes.py`, how to tell whether its part works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a probe saw. `summary` is a sentence for people; `detail` JSON values for machines."""

    ok: bool
    summary: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """`check` answers within a second or two and never raises for a mere outage.

    `is_critical` probes decide `/readyz`; the others only inform.
    """

    name: str
    check: Callable[[], Reading]
    is_critical: bool = True


_probes: dict[str, Probe] = {}


def register(probe: Probe) -> Probe:
    if probe.name in _probes:
        raise ValueError(f"Two probes are named {probe.name!r}.")
    _probes[probe.name] = probe
    return probe


def probes() -> list[Probe]:
    return list(_probes.values())
