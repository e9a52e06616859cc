"""Incidents that open, change and end change the numbers."""

from __future__ import annotations

from incidentops.incidents.events import IncidentOpened, IncidentResolved, IncidentUpdated
from incidentops.realtime.events import receives
from metrics import live, tasks


def incident_changed(event: IncidentOpened | IncidentUpdated | IncidentResolved) -> None:
    if event.origin == live.ORIGIN:
        tasks.schedule_refresh()


receives(IncidentOpened)(incident_changed)
receives(IncidentUpdated)(incident_changed)
receives(IncidentResolved)(incident_changed)
