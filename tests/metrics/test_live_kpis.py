from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import transaction

from incidentops.incidents.cards import card
from incidentops.incidents.events import IncidentOpened, IncidentResolved
from incidentops.realtime import topics
from incidentops.realtime.events import receivers_of
from incidentops.realtime.models import OutboxEvent
from metrics import live, tasks
from metrics.events import KpisUpdated
from metrics.models import PublishedKpis
from tests.factories import make_incident
from tests.narrowing import known

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_scheduled():
    # Not `cache.clear()`: that flushes the whole server, which others may share.
    cache.delete(tasks.SCHEDULED)


def published() -> list[OutboxEvent]:
    return list(OutboxEvent.objects.filter(type="kpis.updated").order_by("pk"))


def test_numbers_are_published_when_they_changed_and_only_then():
    assert live.refresh()
    assert not live.refresh()
    make_incident("triggered")
    assert live.refresh()
    first, second = published()
    assert second.version == first.version + 1
    assert first.data["in_progress"]["total"] == 0
    assert second.data["in_progress"]["total"] == 1


def test_unchanged_numbers_are_published_again_before_they_look_old():
    live.refresh()
    PublishedKpis.objects.update(computed_at=PublishedKpis.objects.get().computed_at - live.LONGEST_SILENCE)  # fmt: skip
    assert live.refresh()


def test_a_slower_worker_does_not_overwrite_newer_numbers():
    live.refresh()
    PublishedKpis.objects.update(
        computed_at=PublishedKpis.objects.get().computed_at + timedelta(minutes=1)
    )
    make_incident("triggered")
    assert not live.refresh()


def test_the_snapshot_is_what_the_last_event_said():
    make_incident("resolved", title="secret of one service")
    live.refresh()
    event = KpisUpdated(version=1, **published()[-1].data)
    snapshot = topics.snapshot("demo")
    assert {key: snapshot[key] for key in ("kpis", "in_progress")} == event.data()
    assert dict(topics.route(event))["demo"] == event.data()
    assert "ops" in dict(topics.route(event))
    assert "secret" not in str(snapshot)


def test_a_first_snapshot_computes_the_numbers():
    assert topics.snapshot("demo")["kpis"]["kpis"]["incidents_handled"]["value"] == 0


def test_the_topic_needs_the_right_to_see_dashboards():
    assert known(topics.find("demo")).permission == "dashboard.view"


@pytest.mark.parametrize(
    ("origin", "event_type", "scheduled"),
    [("live", IncidentOpened, True), ("live", IncidentResolved, True), ("gameday", IncidentResolved, False)],
)  # fmt: skip
def test_incidents_that_are_no_exercise_schedule_one_refresh(
    origin, event_type, scheduled, monkeypatch
):
    asked = []
    monkeypatch.setattr(tasks.refresh, "apply_async", lambda **options: asked.append(options))
    incident = make_incident("resolved", origin=origin)
    event = event_type(number=incident.number, origin=origin, incident=card(incident), version=1)
    with transaction.atomic():
        for _ in range(3):
            for receiver in receivers_of(event.type):
                if receiver.__module__.startswith("metrics."):
                    receiver(event)
    assert len(asked) == int(scheduled)
    tasks.refresh()
    assert len(published()) == 1
