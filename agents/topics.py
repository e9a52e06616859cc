"""What the sockets show of responses and agents."""

from __future__ import annotations

from typing import Any

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
from agents.models import Response, ResponseState
from agents.record import agent_states, headline, in_order, phase_row, response_record
from incidentops.incidents.cards import instant
from incidentops.incidents.models import OPEN_STATUSES, Incident
from incidentops.realtime.topics import Part, Topic, contribute, register

_SHOWN = 200
_LATEST = 20
_STEPS = (
    PhaseChanged,
    EvidenceAdded,
    BallotCast,
    DecisionMade,
    ApprovalDecided,
    CommunicationSent,
)


def headlines(name: str) -> list[dict[str, Any]]:
    """The responses to open incidents and those still at work, the newest first."""
    rows = (
        Response.objects.filter(incident__status__in=OPEN_STATUSES)
        .union(Response.objects.filter(state=ResponseState.RUNNING))
        .values_list("pk", flat=True)
    )
    newest = sorted(rows, reverse=True)[:_SHOWN]
    found = Response.objects.filter(pk__in=newest).order_by("-pk").prefetch_related("phases")
    return [headline(response) for response in found]


def states(name: str) -> list[dict[str, Any]]:
    return agent_states()


def one(name: str) -> dict[str, Any]:
    """The response to the incident a topic is about.

    Raises:
        LookupError: there is no such incident.
    """
    number = name.partition(":")[2]
    incident = Incident.objects.filter(pk=number).first() if number.isdecimal() else None
    if incident is None:
        raise LookupError(name)
    return response_record(incident)


def latest(name: str) -> list[dict[str, Any]]:
    """The newest responses with their phases and who ran in them."""
    rows = Response.objects.select_related("incident").prefetch_related("phases", "runs")
    return [
        {
            **headline(response),
            "title": response.incident.title,
            "severity": response.incident.severity,
            "origin": response.incident.origin,
            "reason": response.reason,
            "started_at": instant(response.started_at),
            "finished_at": instant(response.finished_at),
            "phases": [phase_row(row) for row in in_order(response.phases.all())],
            "runs": [
                {
                    "id": run.pk,
                    "agent": run.agent,
                    "phase": run.phase,
                    "state": run.state,
                    "provider": run.provider,
                    "error": run.error,
                    "summary": (run.finding or {}).get("summary"),
                }
                for run in sorted(response.runs.all(), key=lambda run: run.pk)
            ],
        }
        for response in rows.order_by("-pk")[:_LATEST]
    ]


def _incident(event: Any) -> tuple[str, ...]:
    return (f"incident:{event.incident}",)


register(Topic(prefix="transparency", permission="dashboard.view"))
contribute(
    Part(
        topic="ops",
        key="responses",
        snapshot=headlines,
        events=(PhaseChanged, DecisionMade, ApprovalDecided, CommunicationSent),
    )
)
contribute(Part(topic="ops", key="agents", snapshot=states, events=(AgentStateChanged,)))
contribute(
    Part(
        topic="incident",
        key="response",
        snapshot=one,
        events=(*_STEPS, AgentStateChanged, WordsWritten),
        names=_incident,
    )
)
contribute(Part(topic="transparency", key="responses", snapshot=latest, events=_STEPS))
contribute(Part(topic="transparency", key="agents", snapshot=states, events=(AgentStateChanged,)))
