"""Publish the progress of a response. Every function belongs into the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils.timezone import now

from agents.events import (
    AgentStateChanged,
    ApprovalDecided,
    BallotCast,
    CommunicationSent,
    DecisionMade,
    EvidenceAdded,
    PhaseChanged,
)
from agents.models import (
    AgentRun,
    AgentState,
    Approval,
    Ballot,
    Decision,
    Phase,
    PhaseRun,
    PhaseState,
    Response,
)
from incidentops.incidents.cards import instant
from incidentops.notifications.models import Notification
from incidentops.realtime import outbox

SETTLED = (PhaseState.DONE, PhaseState.SKIPPED)
_STATES = list(AgentState)


def current_phase(phases: Iterable[PhaseRun]) -> str:
    """The earliest phase that is not finished; empty when all are."""
    unfinished = [phase for phase in phases if phase.state not in SETTLED]
    return min(unfinished, key=lambda row: Phase(row.phase).order).phase if unfinished else ""


def _about(response: Response) -> dict[str, Any]:
    return {
        "incident": response.incident_id,
        "origin": response.incident.origin,
        "cycle": response.cycle,
    }


def phases_changed(response: Response, changed: Iterable[PhaseRun]) -> None:
    """Count a change of the response, which the caller has locked, and tell of these phases."""
    current = current_phase(response.phases.all())
    for phase_run in changed:
        response.version += 1
        outbox.publish(
            PhaseChanged(
                **_about(response),
                version=response.version,
                phase=phase_run.phase,
                state=phase_run.state,
                attempts=phase_run.attempts,
                started_at=instant(phase_run.started_at),
                finished_at=instant(phase_run.finished_at),
                response_state=response.state,
                current_phase=current,
            )
        )
    response.save(update_fields=["version", "state", "reason", "finished_at"])


def agents_changed(response: Response, runs: Iterable[AgentRun]) -> None:
    """A run only ever moves forward through the states, so their order is its version."""
    at = instant(now()) or ""
    for run in runs:
        outbox.publish(
            AgentStateChanged(
                **_about(response),
                version=_STATES.index(AgentState(run.state)),
                run=run.pk,
                agent=run.agent,
                phase=run.phase,
                state=run.state,
                provider=run.provider,
                at=at,
                error=run.error,
            )
        )


def evidence_added(response: Response, run: AgentRun, rows: list[dict[str, Any]]) -> None:
    outbox.publish(
        EvidenceAdded(
            **_about(response),
            version=response.version,
            agent=run.agent,
            phase=run.phase,
            evidence=rows,
            finding=run.finding or {},
        )
    )


def ballot_cast(response: Response, ballot: Ballot) -> None:
    outbox.publish(
        BallotCast(
            **_about(response),
            version=response.version,
            ballot={
                "voter": ballot.voter,
                "round": ballot.round,
                "choice": ballot.choice,
                "scores": ballot.scores,
                "reason": ballot.reason,
                "signature": ballot.signature,
            },
        )
    )


def decision_made(response: Response, decision: Decision, plan: dict[str, Any] | None) -> None:
    outbox.publish(
        DecisionMade(
            **_about(response),
            version=response.version,
            decision={
                "outcome": decision.outcome,
                "choice": decision.choice,
                "round": decision.round,
                "reason": decision.reason,
                "plan": plan,
            },
        )
    )


def communication_sent(response: Response, notification: Notification) -> None:
    outbox.publish(
        CommunicationSent(
            **_about(response),
            version=response.version,
            audience=notification.audience,
            transport=notification.transport,
            recipient=notification.recipient,
            subject=notification.subject,
            state=notification.state,
        )
    )


def approval_decided(approval: Approval, *, person: str) -> None:
    outbox.publish(
        ApprovalDecided(
            **_about(approval.response),
            version=approval.response.version,
            approval=approval.pk,
            state=approval.state,
            person=person,
        )
    )
