"""A small topic for tests: places and their temperatures, the newest of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from django.db import transaction

from incidentops.realtime import outbox, topics
from incidentops.realtime.events import Event, register
from incidentops.realtime.models import OutboxEvent


@register
@dataclass(frozen=True, kw_only=True)
class Measured(Event):
    type: ClassVar[str] = "weather.measured"
    place: str
    degrees: int
    region: str = ""


@register
@dataclass(frozen=True, kw_only=True)
class Remarked(Event):
    """On no topic."""

    type: ClassVar[str] = "weather.remarked"
    text: str


def temperatures(region: str = "") -> dict[str, int]:
    rows = OutboxEvent.objects.filter(type=Measured.type).order_by("id")
    return {
        row.data["place"]: row.data["degrees"]
        for row in rows
        if not region or row.data["region"] == region
    }


def _of_region(name: str) -> dict[str, int]:
    region = name.partition(":")[2]
    found = temperatures(region)
    if region != "known" and not found:
        raise LookupError(name)
    return found


def _shown(event: Measured) -> dict[str, Any] | None:
    if event.place == "faulty":
        raise ValueError("a projection that fails")
    return {"place": event.place, "degrees": event.degrees}


topics.register(topics.Topic(prefix="weather", permission="dashboard.view"))
topics.register(topics.Topic(prefix="region", permission="audit.view"))
topics.contribute(
    topics.Part(
        topic="weather",
        key="temperatures",
        snapshot=lambda name: temperatures(),
        events=(Measured,),
        project=_shown,
    )
)
topics.contribute(
    topics.Part(
        topic="region",
        key="temperatures",
        snapshot=_of_region,
        events=(Measured,),
        project=_shown,
        names=lambda event: (f"region:{event.region}",) if event.region else (),
    )
)


def measure(place: str, degrees: int, region: str = "") -> OutboxEvent:
    with transaction.atomic():
        return outbox.publish(Measured(place=place, degrees=degrees, region=region))
