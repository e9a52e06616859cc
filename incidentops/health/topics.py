"""Health on the operators' board."""

from __future__ import annotations

from incidentops.health import bulletin
from incidentops.health.events import HealthUpdated
from incidentops.realtime.topics import Part, contribute

contribute(
    Part(
        topic="ops",
        key="health",
        snapshot=lambda _: bulletin.latest(),
        events=(HealthUpdated,),
    )
)
