"""What the boards and the page of one incident show of incidents, live."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import F, Q
from django.utils.timezone import now

from incidentops.incidents.cards import (
    alert_row,
    attachment_row,
    card,
    question_row,
    timeline_row,
)
from incidentops.incidents.events import (
    AlertAttached,
    IncidentOpened,
    IncidentResolved,
    IncidentUpdated,
)
from incidentops.incidents.models import OPEN_STATUSES, Incident
from incidentops.realtime.topics import Part, Topic, contribute, register

BOARD_SIZE, BOARD_MEMORY = 500, timedelta(hours=24)
ALERTS_SHOWN, ENTRIES_SHOWN, QUESTIONS_SHOWN = 100, 200, 10
EVENTS = (IncidentOpened, IncidentUpdated, IncidentResolved, AlertAttached)


def board(topic: str) -> list[dict[str, Any]]:
    """Open incidents and those that ended within a day; when too many, open and new ones stay."""
    del topic
    since = now() - BOARD_MEMORY
    rows = (
        Incident.objects.filter(
            Q(status__in=OPEN_STATUSES) | Q(resolved_at__gte=since) | Q(closed_at__gte=since)
        )
        .select_related("assignee")
        .order_by(F("resolved_at").desc(nulls_first=True), "-number")
    )
    return [card(incident) for incident in rows[:BOARD_SIZE]]


def find(topic: str) -> Incident:
    """The incident a topic is about.

    Raises:
        LookupError: there is no such incident.
    """
    number = topic.partition(":")[2]
    # What is longer is no number of ours, and no number of the database's either.
    known = Incident.objects.select_related("assignee")
    if number.isdecimal() and len(number) < 19 and (found := known.filter(pk=number).first()):
        return found
    raise LookupError(topic)


def alerts(topic: str) -> list[dict[str, Any]]:
    newest = find(topic).alerts.order_by("-pk")
    return [alert_row(alert) for alert in newest[:ALERTS_SHOWN]]


def entries(topic: str) -> list[dict[str, Any]]:
    """The newest entries, oldest first."""
    newest = list(find(topic).timeline.order_by("-pk")[:ENTRIES_SHOWN])
    return [timeline_row(entry) for entry in reversed(newest)]


def attachments(topic: str) -> list[dict[str, Any]]:
    """All of them, the newest first: an incident has few."""
    newest = find(topic).attachments.described().order_by("-pk")
    return [attachment_row(attachment) for attachment in newest]


def questions(topic: str) -> list[dict[str, Any]]:
    newest = find(topic).questions.order_by("-pk")
    return [question_row(question) for question in newest[:QUESTIONS_SHOWN]]


def _of_incident(event: Any) -> tuple[str, ...]:
    return (f"incident:{event.number}",)


def _for_board(event: Any) -> dict[str, Any]:
    """A board has cards: it needs neither alerts nor the story."""
    return {name: value for name, value in event.data().items() if name not in {"alerts", "entry"}}


register(Topic(prefix="ops", permission="dashboard.view"))
register(Topic(prefix="incident", permission="incident.view"))
contribute(Part(topic="ops", key="incidents", snapshot=board, events=EVENTS, project=_for_board))
contribute(
    Part(
        topic="incident",
        key="incident",
        snapshot=lambda topic: card(find(topic)),
        events=EVENTS,
        names=_of_incident,
    )
)
contribute(Part(topic="incident", key="alerts", snapshot=alerts))
contribute(Part(topic="incident", key="timeline", snapshot=entries))
contribute(Part(topic="incident", key="attachments", snapshot=attachments))
contribute(Part(topic="incident", key="questions", snapshot=questions))
