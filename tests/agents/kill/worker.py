"""The worker's entry for kill tests. Negative controls switch a safeguard off, here and only here."""

from __future__ import annotations

import os
from typing import Any

from celery.signals import worker_process_init

from incidentops.celery import app

__all__ = ["app"]


@worker_process_init.connect
def weaken(**kwargs: Any) -> None:
    """Without compare-and-set any result is committed; without fence, any while the phase runs."""
    control = os.environ.get("KILL_TEST_CONTROL", "")
    if not control:
        return
    from agents import claims, swarm
    from agents.models import PhaseRun, PhaseState

    def by_nothing(claim: claims.Claim) -> Any:
        return PhaseRun.objects.filter(pk=claim.phase_run.pk)

    def by_state(claim: claims.Claim) -> Any:
        return PhaseRun.objects.filter(pk=claim.phase_run.pk, state=PhaseState.RUNNING)

    hold = {"compare-and-set": by_nothing, "fence": by_state}[control]
    claims.hold = hold
    swarm.hold = hold  # type: ignore[attr-defined]  # the name it imported is replaced, on purpose
