"""Who calls whom around an incident."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agents.algorithms import rootcause
from agents.case import Case


def callees(case: Case) -> dict[str, tuple[str, ...]]:
    return {service.name: service.depends_on for service in case.services}


def callers(case: Case) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for service in sorted(case.services, key=lambda s: s.name):
        for callee in service.depends_on:
            found.setdefault(callee, []).append(service.name)
    return {name: tuple(names) for name, names in found.items()}


def is_graph_known(case: Case) -> bool:
    return any(service.depends_on for service in case.services)


def involved(case: Case) -> tuple[str, ...]:
    """Services that the incident and its alerts name, the incident's own first."""
    firing_first = sorted(case.alerts, key=lambda alert: alert.status != "firing")
    names = [case.incident.service, *(alert.service for alert in firing_first)]
    return tuple(dict.fromkeys(name for name in names if name))


def dependents(case: Case, services: Iterable[str]) -> tuple[str, ...]:
    """Services that need one of `services`, directly or not, nearest first, without themselves."""
    services = tuple(services)
    graph = callers(case)
    found = [rootcause.reachable(graph, service)[1:] for service in services]
    return tuple(dict.fromkeys(name for names in found for name in names if name not in services))


def edges(case: Case) -> list[dict[str, Any]]:
    return [
        {"caller": service.name, "callee": callee}
        for service in sorted(case.services, key=lambda s: s.name)
        for callee in sorted(service.depends_on)
    ]
