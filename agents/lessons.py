"""What a resolved incident teaches: told once, looked up when something like it happens again."""

from __future__ import annotations

from agents.models import AgentRun, Decision, Phase, Response
from agents.specialists.wording import cleaned
from awsai import knowledge
from awsai.models import KnowledgeKind
from incidentops.incidents.models import Alert, Incident, Status, TimelineEntry

MOST_ALERTS = 10
MOST_COMMENTS = 10
# Of one line.
MOST_TEXT = 4000


def learn(number: int) -> None:
    """Take in the incident as it ended; exercises, open and merged incidents teach nothing.

    What alerts and people wrote is taken in without its secrets: a lesson is read at other incidents.
    """
    incident = Incident.objects.get(number=number)
    is_over = incident.status in (Status.RESOLVED, Status.CLOSED)
    if incident.origin != Incident.Origin.LIVE or not is_over:
        return
    knowledge.learn(
        KnowledgeKind.LESSON,
        str(number),
        title=cleaned(f"Incident #{number}: {incident.title}", MOST_TEXT),
        text="\n\n".join(_cleaned(part) for part in _parts(incident) if part),
        uri=f"/incidents/{number}/",
    )


def _cleaned(part: str) -> str:
    return "\n".join(cleaned(line, MOST_TEXT) for line in part.splitlines())


def _parts(incident: Incident) -> list[str]:
    response = incident.responses.order_by("-cycle").first()
    took = incident.time_to_resolve
    return [
        f"{incident.severity} on {incident.service or 'no named service'}"
        + (f", resolved after {round(took.total_seconds() / 60)} min." if took else "."),
        _alerts(incident),
        *(_findings(response) if response else []),
        _comments(incident),
    ]


def _alerts(incident: Incident) -> str:
    alerts = Alert.objects.filter(incident=incident).order_by("pk")[:MOST_ALERTS]
    return "\n".join(f"Alert {alert.title}: {alert.description}" for alert in alerts)


def _findings(response: Response) -> list[str]:
    runs = AgentRun.objects.filter(
        response=response, phase__in=(Phase.DETECTION, Phase.DIAGNOSIS), finding__isnull=False
    ).order_by("pk")
    said = [f"{run.agent}: {(run.finding or {}).get('summary', '')}" for run in runs]
    decision = Decision.objects.filter(response=response).first()
    return [*said, *([f"decision: {decision.reason}"] if decision else [])]


def _comments(incident: Incident) -> str:
    """What people wrote and why they resolved it: the part no agent knows."""
    entries = TimelineEntry.objects.filter(
        incident=incident, kind__in=("incident.commented", "incident.resolved")
    ).order_by("-pk")[:MOST_COMMENTS]
    return "\n".join(f"{entry.actor}: {entry.text}" for entry in reversed(entries))
