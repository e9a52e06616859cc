"""The numbers, live: aggregates that name no incident."""

from __future__ import annotations

from incidentops.realtime.topics import Part, Topic, contribute, register
from metrics import live
from metrics.events import KpisUpdated

register(Topic(prefix="demo", permission="dashboard.view"))
contribute(
    Part(
        topic="demo",
        key="kpis",
        snapshot=lambda _: live.published("kpis"),
        events=(KpisUpdated,),
    )
)
contribute(
    Part(
        topic="demo",
        key="in_progress",
        snapshot=lambda _: live.published("in_progress"),
        events=(KpisUpdated,),
    )
)
contribute(
    Part(
        topic="ops",
        key="kpis",
        snapshot=lambda _: live.published("kpis"),
        events=(KpisUpdated,),
    )
)
