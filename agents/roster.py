"""Which module speaks for which agent."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol, cast

from django.conf import settings

from agents.case import Case, Finding, Opinion, Proposal


class Specialist(Protocol):
    """What every agent can do."""

    def investigate(self, case: Case) -> Finding: ...

    def assess(self, case: Case, proposals: tuple[Proposal, ...]) -> Opinion: ...


class Detective(Specialist, Protocol):
    def confirm_recovery(self, case: Case) -> Finding: ...


class Planner(Specialist, Protocol):
    def propose(self, case: Case) -> tuple[Proposal, ...]: ...


class Forecaster(Specialist, Protocol):
    def outlook(self, case: Case, proposals: tuple[Proposal, ...]) -> dict[str, dict[str, Any]]: ...


class Writer(Protocol):
    """Puts findings into words; `on_piece` is given them as they come, "" when they begin anew."""

    def is_writer(self, agent: str) -> bool: ...

    def worded(
        self, case: Case, finding: Finding, *, on_piece: Callable[[str], None]
    ) -> Finding: ...


def specialist(agent: str) -> Specialist:
    """The module of that name in the package of specialists."""
    return cast("Specialist", import_module(f"{settings.SPECIALISTS}.{agent}"))


def writer() -> Writer:
    return cast("Writer", specialist("writing"))


def detection() -> Detective:
    return cast("Detective", specialist("detection"))


def resolution() -> Planner:
    return cast("Planner", specialist("resolution"))


def prediction() -> Forecaster:
    return cast("Forecaster", specialist("prediction"))
