"""What the agents found out about an incident, told to whoever is asked about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.models import Agent, AgentRun, Decision
from incidentops.incidents.briefing import Fact, page, register
from incidentops.incidents.models import Incident

MOST_CLAIMS = 8
# The words by which people ask for what each agent says.
_ANSWERS = {
    Agent.DETECTION: "What is wrong",
    Agent.DIAGNOSIS: "The likely cause",
    Agent.PREDICTION: "Where it is heading if nobody acts",
    Agent.RESOLUTION: "What could be done",
    Agent.COMMUNICATION: "What people are to know",
}


@register
def found(incident: Incident) -> Iterator[Fact]:
    """The findings of the latest response, and what was decided."""
    response = incident.responses.order_by("-cycle").first()
    if response is None:
        return
    runs = AgentRun.objects.filter(response=response, finding__isnull=False).order_by("pk")
    # Of an agent that worked twice in a phase, the last finding.
    latest = {(run.agent, run.phase): run for run in runs}
    for run in latest.values():
        finding: dict[str, Any] = run.finding or {}
        claims = [str(claim["text"]) for claim in finding.get("claims", ())[:MOST_CLAIMS]]
        where = "" if run.agent == run.phase else f" in {run.phase}"
        if summary := str(finding.get("summary", "")):
            yield Fact(
                id=f"finding-{run.pk}",
                text="\n".join([f"{_ANSWERS[Agent(run.agent)]}: {summary}", *claims]),
                source=f"finding of {run.agent}{where}",
                uri=page(incident, "findings"),
                lasts=run.agent == Agent.DIAGNOSIS,
            )
    decision = Decision.objects.filter(response=response).first()
    if decision is not None:
        yield Fact(
            id="decision",
            text=f"The agents' decision: {decision.reason}",
            source="decision",
            uri=page(incident, "decision"),
            lasts=True,
        )
