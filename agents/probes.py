"""Whether the swarm keeps up."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, Min, OuterRef, QuerySet
from django.db.models.functions import Now

from agents.claims import due
from agents.models import PhaseRun, PhaseState, Response
from incidentops.health.registry import Probe, Reading, register

# Due phases are taken within moments; after some leases nobody can be working.
_PATIENCE = 3


def phases() -> Reading:
    """How many phases are due, since when the oldest, and how many a person may requeue."""
    waiting = due()
    oldest = waiting.annotate(asked=Now()).aggregate(oldest=Min("due_at"), now=Min("asked"))
    age = oldest["now"] - oldest["oldest"] if oldest["oldest"] else timedelta(0)
    depth, dead = waiting.count(), _dead().count()
    return Reading(
        ok=age <= _PATIENCE * settings.LEASE and not dead,
        summary=f"{depth} phases due, the oldest for {age.total_seconds():.0f} s; {dead} dead.",
        detail={
            "due": depth,
            "oldest_due_seconds": age.total_seconds() if depth else None,
            "dead": dead,
        },
    )


def _dead() -> QuerySet[PhaseRun]:
    """Dead phases of each incident's latest response: earlier ones have been superseded."""
    later = Response.objects.filter(
        incident=OuterRef("response__incident"), cycle__gt=OuterRef("response__cycle")
    )
    return PhaseRun.objects.filter(~Exists(later), state=PhaseState.FAILED)


register(Probe(name="phases", check=phases, is_critical=False))
