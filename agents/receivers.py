"""What the swarm does when incidents change, and when a worker shows that it lives.

The effects of incidents are single short transactions, so they happen here and not in a task: no
broker can lose the beginning of a response.
"""

from __future__ import annotations

from typing import Any

from celery.signals import heartbeat_sent

from agents import swarm, tasks, wakeups
from incidentops.incidents.events import IncidentOpened, IncidentResolved, IncidentUpdated
from incidentops.incidents.models import Status
from incidentops.realtime.events import receives


@receives(IncidentOpened)
def begin(event: IncidentOpened) -> None:
    swarm.begin(event.number)


@receives(IncidentUpdated)
def follow(event: IncidentUpdated) -> None:
    if event.change == "incident.reopened":
        # A response outlasts a mitigation; to a resolution or a merger it has come to its end. The
        # version names the reopening: taking an incident back from another counts as none.
        if event.entry["detail"]["from"] != Status.MITIGATED:
            swarm.begin(event.number, opening=event.version)
    elif event.change == "incident.merged" and event.incident["status"] == Status.MERGED:
        reason = f"merged into #{event.incident['merged_into']}"
        swarm.end(event.number, reason, version=event.version)
    elif event.change in ("incident.severity", "incident.merged"):
        swarm.set_urgency(event.number)


@receives(IncidentResolved)
def learn(event: IncidentResolved) -> None:
    """A broker that is away fails this receiver, and the outbox calls it again later."""
    tasks.learn.apply_async(args=(event.number,), retry=False)


@heartbeat_sent.connect
def reap(**_: Any) -> None:
    """Have lost phases looked for at every worker's pulse, so that it does not hang on beat alone."""
    wakeups.wake_reaper()
