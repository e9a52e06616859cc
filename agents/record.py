"""A response as the API, the sockets and the pages show it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Prefetch

from agents.models import (
    Agent,
    AgentRun,
    AgentState,
    Approval,
    Ballot,
    Candidate,
    Decision,
    Evidence,
    Phase,
    PhaseRun,
    PhaseState,
    Response,
)
from agents.streams import current_phase
from awsai import services
from awsai.models import AwsCall
from incidentops.incidents.cards import instant
from incidentops.incidents.models import Incident


def response_record(incident: Incident) -> dict[str, Any]:
    """The latest response to an incident, whole. Without one, the same keys with nothing in them."""
    responses = list(incident.responses.order_by("cycle"))
    record: dict[str, Any] = {
        "incident": incident.number,
        "cycle": None,
        "cycles": [_cycle(response) for response in responses[:-1]],
        "phase": None,
        "state": None,
        "reason": "",
        "version": 0,
        "started_at": None,
        "finished_at": None,
        "phases": [],
        "runs": [],
        "evidence": [],
        "candidates": [],
        "ballots": [],
        "equivocations": [],
        "decision": None,
        "approvals": [],
        # Nothing executes actions yet: a decided plan is handed to people.
        "actions": [],
        "cost": cost_of(incident.number),
    }
    return record | _latest(responses[-1]) if responses else record


def _latest(response: Response) -> dict[str, Any]:
    phases = in_order(response.phases.all())
    runs = response.runs.order_by("pk").prefetch_related(
        Prefetch("evidence", queryset=Evidence.objects.only("pk").order_by("pk"))
    )
    decision = Decision.objects.filter(response=response).first()
    return {
        **_cycle(response),
        "phase": current_phase(phases) or None,
        "version": response.version,
        "phases": [phase_row(phase) for phase in phases],
        "runs": [run_row(run) for run in runs],
        "evidence": [_evidence(row) for row in response.evidence.order_by("created_at", "pk")],
        "candidates": [_candidate(row) for row in response.candidates.order_by("digest")],
        "ballots": [ballot_row(row) for row in response.ballots.order_by("round", "voter")],
        "equivocations": [
            {"voter": row.voter, "round": row.round, "found_at": instant(row.found_at)}
            for row in response.equivocations.order_by("pk")
        ],
        "decision": _decision(decision) if decision else None,
        "approvals": [
            approval_row(row)
            for row in response.approvals.order_by("pk").prefetch_related("voices")
        ],
    }


def _cycle(response: Response) -> dict[str, Any]:
    return {
        "cycle": response.cycle,
        "state": response.state,
        "reason": response.reason,
        "started_at": instant(response.started_at),
        "finished_at": instant(response.finished_at),
    }


def in_order(phases: Iterable[PhaseRun]) -> list[PhaseRun]:
    return sorted(phases, key=lambda row: Phase(row.phase).order)


def phase_row(row: PhaseRun) -> dict[str, Any]:
    return {
        "phase": row.phase,
        "state": row.state,
        "started_at": instant(row.started_at),
        "finished_at": instant(row.finished_at),
        "attempts": row.attempts,
        "reason": row.reason,
        "error": row.error,
    }


def run_row(run: AgentRun) -> dict[str, Any]:
    return {
        "id": run.pk,
        "agent": run.agent,
        "phase": run.phase,
        "state": run.state,
        "provider": run.provider,
        "finding": run.finding,
        "evidence": [row.pk for row in run.evidence.all()],
        "error": run.error,
        "started_at": instant(run.started_at),
        "finished_at": instant(run.finished_at),
    }


def _evidence(row: Evidence) -> dict[str, Any]:
    return {
        "id": row.pk,
        "agent": row.agent,
        "family": row.family,
        "kind": row.kind,
        "title": row.title,
        "source": row.source,
        "data": row.data,
        "observed_from": instant(row.observed_from),
        "observed_to": instant(row.observed_to),
    }


def _candidate(row: Candidate) -> dict[str, Any]:
    return {
        "digest": row.digest,
        "action": row.action,
        "target": row.target,
        "content": row.content,
        "outlook": row.outlook,
    }


def ballot_row(row: Ballot) -> dict[str, Any]:
    return {
        "voter": row.voter,
        "round": row.round,
        "choice": row.choice,
        "scores": row.scores,
        "reason": row.reason,
        "families": row.families,
        "epoch": row.epoch,
        "signature": row.signature,
        "cast_at": instant(row.cast_at),
    }


def _decision(row: Decision) -> dict[str, Any]:
    return {
        "outcome": row.outcome,
        "choice": row.choice or None,
        "round": row.round,
        "reason": row.reason,
        "certificate": row.certificate,
        "decided_at": instant(row.decided_at),
    }


def approval_row(row: Approval) -> dict[str, Any]:
    return {
        "id": row.pk,
        "incident": row.response.incident_id,
        "state": row.state,
        "plan_digest": row.plan_digest,
        "plan": row.plan,
        "required": row.required,
        "requested_at": instant(row.requested_at),
        "expires_at": instant(row.expires_at),
        "decided_at": instant(row.decided_at),
        "voices": [
            {
                "person": voice.person,
                "approves": voice.is_approving,
                "reason": voice.reason,
                "at": instant(voice.at),
            }
            for voice in row.voices.all()
        ],
    }


def cost_of(number: int) -> dict[str, int | None]:
    """What the AI services billed for an incident, as the ledger has it.

    A sum leaves out the calls whose price is not known, which `unpriced` counts; it is None when
    nothing is known of any.
    """
    found = services.summary(AwsCall.objects.of_incident(number))
    return {name: found[name] for name in ("nano_usd", "list_price_nano_usd", "calls", "unpriced")}


def headline(response: Response) -> dict[str, Any]:
    """One response as a list shows it. Reads `phases`, which the caller may have prefetched."""
    return {
        "incident": response.incident_id,
        "cycle": response.cycle,
        "state": response.state,
        "phase": current_phase(response.phases.all()) or None,
        "version": response.version,
    }


def agent_states() -> list[dict[str, Any]]:
    """Every agent and what it is doing: its newest unfinished run, else idle since its last one."""
    return [_agent_state(agent) for agent in Agent]


def _agent_state(agent: Agent) -> dict[str, Any]:
    runs = AgentRun.objects.filter(agent=agent).select_related("response").order_by("-pk")
    active = runs.filter(finished_at=None, phase_run__state=PhaseState.RUNNING).first()
    last = active or runs.first()
    return {
        "agent": agent.value,
        "state": active.state if active else AgentState.IDLE.value,
        "incident": active.response.incident_id if active else None,
        "phase": active.phase if active else None,
        "at": instant((last.finished_at or last.started_at) if last else None),
    }
