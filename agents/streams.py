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
    WordsWritten,
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


def phases_changed(response: Response, changed: Iterable[str]) -> dict[str, PhaseRun]:
    """Count a change of the response, which the caller has locked, and tell of these phases.

    Gives all phases of the response by name, as they are now.
    """
    phases = {row.phase: row for row in response.phases.all()}
    current = current_phase(phases.values())
    told = []
    for name in dict.fromkeys(changed):
        row = phases[name]
        response.version += 1
        told.append(
            PhaseChanged(
                **_about(response),
                version=response.version,
                phase=row.phase,
                state=row.state,
                attempts=row.attempts,
                started_at=instant(row.started_at),
                finished_at=instant(row.finished_at),
                response_state=response.state,
                current_phase=current,
            )
        )
    outbox.publish_all(told)
    response.save(update_fields=["version", "state", "reason", "finished_at"])
    return phases


def agents_changed(response: Response, runs: Iterable[AgentRun]) -> None:
    """A run only ever moves forward through the states, so their order is its version."""
    at = instant(now()) or ""
    outbox.publish_all(
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
        for run in runs
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


def words_written(response: Response, run: AgentRun, *, text: str, version: int) -> None:
    """Tell of an answer that is still being written; the finding that follows replaces it."""
    outbox.publish(
        WordsWritten(
            **_about(response),
            version=version,
            run=run.pk,
            agent=run.agent,
            phase=run.phase,
            text=text,
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
