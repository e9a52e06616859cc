"""What there is to say about the system's health; each app registers its part in `probes.py`.

A probe answers "does it work?", a vital "how much?".
"""

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


@dataclass(frozen=True, kw_only=True)
class Vital:
    """A key of the system health JSON. `read` gives JSON values; what is unknown is None."""

    name: str
    read: Callable[[], Any]


_probes: dict[str, Probe] = {}
_vitals: dict[str, Vital] = {}


def register(probe: Probe) -> Probe:
    if probe.name in _probes:
        raise ValueError(f"Two probes are named {probe.name!r}.")
    _probes[probe.name] = probe
    return probe


def register_vital(vital: Vital) -> Vital:
    if vital.name in _vitals:
        raise ValueError(f"Two vitals are named {vital.name!r}.")
    _vitals[vital.name] = vital
    return vital


def probes() -> list[Probe]:
    return list(_probes.values())


def vitals() -> list[Vital]:
    return list(_vitals.values())
