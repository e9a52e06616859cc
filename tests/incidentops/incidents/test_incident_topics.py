from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils.timezone import now

from incidentops.incidents import grouping, lifecycle
from incidentops.incidents.cards import card
from incidentops.incidents.models import Incident
from incidentops.realtime import events, topics
from incidentops.realtime.models import OutboxEvent
from tests.factories import make_alert, make_incident, make_source

pytestmark = pytest.mark.django_db


def shown(name, part):
    return topics.snapshot(name)[part]


def test_the_board_shows_open_incidents_and_those_that_ended_within_a_day():
    long_ago = now() - timedelta(days=3)
    old = make_incident(detected_at=long_ago)
    fresh = make_incident("closed")
    make_incident("resolved", detected_at=long_ago)
    make_incident("merged", detected_at=long_ago, merged_into=old)
    numbers = [one["number"] for one in shown("ops", "incidents")]
    assert numbers == [old.number, fresh.number]


def test_the_board_is_bounded_and_keeps_what_is_open(monkeypatch):
    monkeypatch.setattr("incidentops.incidents.topics.BOARD_SIZE", 3)
    kept = [make_incident().number for _ in range(2)]
    for _ in range(4):
        make_incident("resolved")
    numbers = [one["number"] for one in shown("ops", "incidents")]
    assert len(numbers) == 3
    assert set(kept) <= set(numbers)


def test_an_incident_topic_shows_its_card_alerts_and_story():
    make_alert(make_source(), service="checkout")
    grouping.attach_pending()
    incident = Incident.objects.get()
    lifecycle.comment(incident, by="ada", text="Looking.")
    name = f"incident:{incident.number}"
    incident.refresh_from_db()
    assert shown(name, "incident") == card(incident)
    assert [row["service"] for row in shown(name, "alerts")] == ["checkout"]
    kinds = [row["kind"] for row in shown(name, "timeline")]
    assert kinds == ["incident.opened", "alert.attached", "incident.commented"]


@pytest.mark.parametrize("key", ["", "0", "424242", "one", "9" * 30, "-1", "²"])
def test_a_topic_of_no_incident_is_no_topic(key):
    with pytest.raises(LookupError):
        topics.snapshot(f"incident:{key}")


def test_every_change_reaches_the_board_and_the_page_with_the_card_of_its_version():
    make_alert(make_source())
    grouping.attach_pending()
    incident = Incident.objects.get()
    lifecycle.acknowledge(incident, by="ada")
    lifecycle.resolve(incident, by="ada")
    board: dict[str, Any] = {}
    for row in OutboxEvent.objects.order_by("pk"):
        event = events.rebuild(row.type, row.data, row.version)
        routed = dict(topics.route(event))
        assert {"ops", f"incident:{incident.number}"} <= set(routed)
        page, board = routed[f"incident:{incident.number}"], routed["ops"]
        assert board["incident"] == page["incident"]
        assert board["incident"]["version"] == row.version
        assert page["entry"]["text"]
        assert "entry" not in board
    assert board["incident"]["status"] == "resolved"
