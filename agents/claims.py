"""Take a due phase, keep it, lose it or give it back.

Progress belongs to whoever holds the newest fence of a phase. The database's clock decides when a
phase is due and when a lease has ended; no worker's clock is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, Exists, ExpressionWrapper, F, QuerySet, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Now

from agents import streams
from agents.models import Agent, AgentRun, AgentState, Phase, PhaseRun, PhaseState, Response
from incidentops.incidents.models import Incident
from incidentops.leases import LeaseLost, holder

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
# Beyond the first few, another worker has most likely taken them while we looked.
_CANDIDATES = 8

_AGENTS: dict[str, tuple[Agent, ...]] = {
    Phase.DETECTION: (Agent.DETECTION,),
    Phase.DIAGNOSIS: (Agent.DIAGNOSIS,),
    Phase.PREDICTION: (Agent.PREDICTION,),
    Phase.CONSENSUS: tuple(Agent),
    Phase.RESOLUTION: (),
    Phase.VERIFICATION: (Agent.DETECTION,),
    Phase.COMMUNICATION: (Agent.COMMUNICATION,),
}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One worker's hold on one phase. `runs` are the agent runs that were opened with it."""

    phase_run: PhaseRun
    response: Response
    incident: Incident
    runs: dict[str, AgentRun]

    @property
    def phase(self) -> Phase:
        return Phase(self.phase_run.phase)

    @property
    def fence(self) -> int:
        return self.phase_run.fence


def from_now(delay: timedelta) -> Combinable:
    """The instant `delay` from now by the database's clock."""
    return ExpressionWrapper(Now() + Value(delay), output_field=DateTimeField())


def backoff(attempts: int, *, key: int) -> timedelta:
    """How long to wait after this many failed attempts: 0 s, 1, 2, 4, 8 ... at most 60.

    Rows that failed together spread over a quarter more, by their own key, so that they do not
    return together.
    """
    if attempts <= 1:
        return timedelta(0)
    seconds = min(2.0 ** (attempts - 2), 60.0)
    spread = (key * 2654435761 % 1024) / 1024
    return timedelta(seconds=seconds * (1 + spread / 4))


def due() -> QuerySet[PhaseRun]:
    return PhaseRun.objects.filter(state=PhaseState.PENDING, due_at__lte=Now())


def take() -> Claim | None:
    """Claim the most urgent due phase, or nothing when there is none.

    Among equals what was begun goes first, even if it was lost twice: its incident has waited the longest.
    """
    begun_first = F("started_at").asc(nulls_last=True)
    waiting = due().order_by("response__urgency", begun_first, "due_at", "pk")
    for response_id, name in waiting.values_list("response_id", "phase")[:_CANDIDATES]:
        if claim := take_phase(response_id, name):
            return claim
    return None


def take_phase(response_id: int, name: str) -> Claim | None:
    """Claim this phase if it is still due."""
    with transaction.atomic():
        return take_in(locked(response_id), name)


def locked(response_id: int) -> Response:
    """The response as it is now, locked until the transaction ends."""
    responses = Response.objects.select_for_update(of=("self",)).select_related("incident")
    return responses.get(pk=response_id)


def next_of(response: Response) -> str | None:
    """A due phase of this response, unless one of another is at least as urgent."""
    others = due().exclude(response=response).filter(response__urgency__lte=response.urgency)
    own = due().filter(~Exists(others), response=response)
    return own.order_by("due_at", "pk").values_list("phase", flat=True).first()


def take_in(
    response: Response, name: str, *, changed: Iterable[str] = (), ended: Iterable[AgentRun] = ()
) -> Claim | None:
    """Claim a due phase of a response that the caller has locked.

    With it the caller tells of other phases it has `changed` and of runs it has `ended`.
    """
    won = (
        due()
        .filter(response=response, phase=name)
        .update(
            state=PhaseState.RUNNING,
            fence=F("fence") + 1,
            attempts=F("attempts") + 1,
            lease_owner=holder(),
            lease_until=from_now(settings.LEASE),
            started_at=Coalesce("started_at", Now()),
            error="",
        )
    )
    if not won:
        return None
    phase_run = streams.phases_changed(response, [*changed, name])[name]
    runs = AgentRun.objects.bulk_create(
        AgentRun(
            response=response,
            phase_run=phase_run,
            agent=agent,
            phase=phase_run.phase,
            fence=phase_run.fence,
            state=AgentState.INITIALIZING,
            provider="local",
        )
        for agent in _AGENTS[phase_run.phase]
    )
    streams.agents_changed(response, [*ended, *runs])
    return Claim(
        phase_run=phase_run,
        response=response,
        incident=response.incident,
        runs={run.agent: run for run in runs},
    )


def hold(claim: Claim) -> QuerySet[PhaseRun]:
    """The claimed row, as long as the claim stands: the set is empty once the fence has moved."""
    return PhaseRun.objects.filter(
        pk=claim.phase_run.pk, fence=claim.fence, state=PhaseState.RUNNING
    )


def renew(claim: Claim) -> None:
    """Extend the lease.

    Raises:
        LeaseLost: the claim no longer stands.
    """
    if not hold(claim).update(lease_until=from_now(settings.LEASE)):
        raise LeaseLost(f"{claim.phase_run}")
