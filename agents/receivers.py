"""What the swarm does when incidents change.

The effects are single short transactions, so they happen here and not in a task: no broker can
lose the beginning of a response.
"""

from __future__ import annotations

from agents import swarm
from incidentops.incidents.events import IncidentOpened, IncidentUpdated
from incidentops.incidents.models import Status
from incidentops.realtime.events import receives


@receives(IncidentOpened)
def begin(event: IncidentOpened) -> None:
    swarm.begin(event.number)


@receives(IncidentUpdated)
def follow(event: IncidentUpdated) -> None:
    if event.change == "incident.reopened":
        swarm.begin(event.number, opening=event.incident["reopen_count"])
    elif event.change == "incident.merged" and event.incident["status"] == Status.MERGED:
        swarm.end(event.number, f"merged into #{event.incident['merged_into']}")
    elif event.change in ("incident.severity", "incident.merged"):
        swarm.set_urgency(event.number)
