from __future__ import annotations

import json
import threading
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.utils.timezone import now
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase

from incidentops.access.models import AuditEntry
from incidentops.incidents import grouping, intake, lifecycle
from incidentops.incidents.models import OPEN_STATUSES, Alert, Incident, TimelineEntry
from incidentops.realtime.models import OutboxEvent
from tests.factories import make_alert, make_incident, make_service, make_source, make_user

pytestmark = pytest.mark.django_db


def test_an_alert_opens_an_incident_with_its_stamps_and_reason():
    began = now() - timedelta(minutes=3)
    received = now()
    alert = make_alert(service="checkout", starts_at=began, received_at=received)
    assert grouping.attach_pending() == 1
    incident = Incident.objects.get()
    alert.refresh_from_db()
    assert alert.incident == incident
    assert alert.merge_reason == {
        "kind": "opened",
        "explanation": "No open incident was related to it.",
    }
    assert (incident.detected_at, incident.impact_start) == (began, began)
    assert incident.received_at == received
    assert (incident.title, incident.service) == ("HighLatency", "checkout")
    assert (incident.alert_count, incident.status) == (1, "triggered")
    events = [event.type for event in OutboxEvent.objects.order_by("pk")]
    assert events == ["incident.opened", "alert.attached"]
    assert not AuditEntry.objects.exists()


def test_an_alert_from_the_future_counts_from_its_arrival_and_is_flagged():
    alert = make_alert(starts_at=now() + timedelta(hours=1))
    grouping.attach_pending()
    incident = Incident.objects.get()
    assert incident.detected_at == alert.received_at
    attached = incident.timeline.get(kind="alert.attached")
    assert attached.detail["future_dated"] == [alert.pk]
    assert "future" in attached.text


def test_alerts_of_one_service_within_the_window_share_an_incident():
    source = make_source()
    first = make_alert(source, service="checkout", at=now() - timedelta(minutes=4))
    grouping.attach_pending()
    second = make_alert(source, name="HighErrorRate", service="checkout", severity="critical")
    grouping.attach_pending()
    incident = Incident.objects.get()
    second.refresh_from_db()
    assert second.incident == incident
    assert second.merge_reason["kind"] == "correlated"
    assert second.merge_reason["with_alert"] == first.pk
    assert "same service, checkout" in second.merge_reason["explanation"]
    assert (incident.severity, incident.alert_count) == ("critical", 2)


def test_connected_services_share_an_incident_and_unconnected_ones_do_not():
    source = make_source()
    database = make_service("orders-db")
    make_service("checkout", depends_on=(database,))
    at = now() - timedelta(minutes=2)
    make_alert(source, name="SlowQueries", service="orders-db", at=at)
    make_alert(source, name="HighLatency", service="checkout", at=at + timedelta(minutes=1))
    make_alert(source, name="HighLatency", service="search", at=at + timedelta(minutes=1))
    grouping.attach_pending()
    by_service = dict(Alert.objects.values_list("service", "incident"))
    assert by_service["orders-db"] == by_service["checkout"] != by_service["search"]


def test_an_incident_over_or_long_silent_is_not_joined():
    source = make_source()
    old = make_alert(source, service="checkout", at=now() - timedelta(hours=2))
    grouping.attach_pending()
    make_alert(source, name="HighErrorRate", service="checkout")
    grouping.attach_pending()
    assert Incident.objects.count() == 2
    lifecycle.resolve(Incident.objects.get(alerts=old), by="ada")
    lifecycle.resolve(Incident.objects.exclude(alerts=old).get(), by="ada")
    make_alert(source, name="Saturation", service="checkout")
    grouping.attach_pending()
    assert Incident.objects.open().count() == 1


def test_a_storm_of_one_cause_becomes_one_incident_with_one_line_a_batch():
    source, at = make_source(), now()
    Alert.objects.bulk_create(
        Alert(
            source=source,
            fingerprint=f"{number:016x}",
            status="firing",
            severity="high",
            title="InstanceDown",
            service="checkout",
            labels={"alertname": "InstanceDown", "service": "checkout", "instance": f"i{number}"},
            starts_at=at + timedelta(milliseconds=number),
            received_at=at,
            last_received_at=at,
            state_changed_at=at,
        )
        for number in range(2500)
    )
    assert grouping.attach_pending() == 2500
    incident = Incident.objects.get()
    assert incident.alert_count == 2500
    assert Alert.objects.filter(incident=incident).count() == 2500
    assert incident.timeline.filter(kind="alert.attached").count() == 3
    attached = OutboxEvent.objects.filter(type="alert.attached")
    assert sum(event.data["attached"] for event in attached) == 2500
    assert all(len(event.data["alerts"]) == 20 for event in attached)


def test_an_incident_resolves_when_all_its_alerts_have_recovered():
    source, incident = make_source(), None
    one, two = (make_alert(source, service="checkout") for _ in range(2))
    grouping.attach_pending()
    Alert.objects.filter(pk=one.pk).update(status="resolved", ends_at=now())
    grouping.attach_pending()
    incident = Incident.objects.get()
    assert incident.is_open
    ended = now()
    Alert.objects.filter(pk=two.pk).update(status="resolved", ends_at=ended)
    grouping.attach_pending()
    incident.refresh_from_db()
    assert (incident.status, incident.resolved_at) == ("resolved", ended)
    assert incident.timeline.latest("pk").actor == "recovery"
    assert not Alert.objects.filter(is_current=True).exists()
    assert not AuditEntry.objects.exists()


def test_readers_are_told_when_one_of_several_alerts_recovers_or_fires_again():
    source = make_source()
    alert, _ = (make_alert(source, service="checkout") for _ in range(2))
    grouping.attach_pending()
    incident = Incident.objects.get()
    for status, told in (("resolved", "1 alert recovered."), ("firing", "1 alert firing again.")):
        Alert.objects.filter(pk=alert.pk).update(status=status)
        for _ in range(2):
            grouping.attach_pending()
        assert incident.timeline.latest("pk").text == told
        event = OutboxEvent.objects.latest("pk")
        assert (event.type, event.data["change"]) == ("incident.updated", "alert.changed")
        shown = [(row["id"], row["status"]) for row in event.data["alerts"]]
        assert shown == [(alert.pk, status)]
    assert incident.timeline.filter(kind="alert.changed").count() == 2


def test_an_alert_over_before_it_was_attached_still_shows_as_an_incident():
    began = now() - timedelta(minutes=5)
    make_alert(status="resolved", starts_at=began, ends_at=began + timedelta(minutes=1))
    grouping.attach_pending()
    incident = Incident.objects.get()
    assert (incident.status, incident.alert_count) == ("resolved", 1)
    assert incident.time_to_resolve == timedelta(minutes=1)


def test_a_source_may_leave_recovered_incidents_to_people():
    source = make_source(config={"auto_resolve": False})
    make_alert(source, status="resolved", ends_at=now())
    grouping.attach_pending()
    assert Incident.objects.get().is_open


def test_an_incident_without_alerts_does_not_resolve_by_itself():
    incident = make_incident()
    grouping.attach_pending()
    incident.refresh_from_db()
    assert (incident.status, incident.version) == ("triggered", 1)


def test_repeats_raise_the_severity_and_move_the_beginning_forward():
    began = now() - timedelta(minutes=5)
    alert = make_alert(severity="low", starts_at=began, received_at=began)
    grouping.attach_pending()
    earlier = began - timedelta(minutes=5)
    Alert.objects.filter(pk=alert.pk).update(severity="critical", starts_at=earlier)
    grouping.attach_pending()
    incident = Incident.objects.get()
    assert (incident.severity, incident.detected_at) == ("critical", earlier)
    assert incident.impact_start == earlier
    version = incident.version
    grouping.attach_pending()
    incident.refresh_from_db()
    assert incident.version == version


def test_a_severity_set_by_a_person_stands():
    alert = make_alert(severity="critical")
    grouping.attach_pending()
    lifecycle.change_severity(alert.incident or Incident.objects.get(), severity="low", by="ada")
    grouping.attach_pending()
    assert Incident.objects.get().severity == "low"


def test_what_fires_after_a_reopening_finds_its_incident_by_its_fingerprint():
    source = make_source()
    alert = make_alert(source, at=now() - timedelta(hours=3))
    grouping.attach_pending()
    Alert.objects.update(status="resolved", ends_at=now())
    grouping.attach_pending()
    incident = lifecycle.reopen(Incident.objects.get(), by=make_user())
    anew = make_alert(source, fingerprint=alert.fingerprint)
    grouping.attach_pending()
    anew.refresh_from_db()
    incident.refresh_from_db()
    assert (anew.incident, anew.merge_reason["kind"]) == (incident, "fingerprint")
    assert incident.alert_count == 1


def test_what_fires_after_the_resolution_opens_a_new_incident():
    source = make_source()
    alert = make_alert(source)
    grouping.attach_pending()
    lifecycle.resolve(Incident.objects.get(), by="ada")
    make_alert(source, fingerprint=alert.fingerprint)
    grouping.attach_pending()
    assert [incident.status for incident in Incident.objects.order_by("number")] == [
        "resolved",
        "triggered",
    ]


def test_the_number_of_queries_does_not_grow_with_the_batch(django_assert_max_num_queries):
    source = make_source()
    for _ in range(60):
        make_alert(source, service="checkout")
    with django_assert_max_num_queries(40):
        grouping.attach_pending()


@pytest.mark.django_db(transaction=True)
def test_two_workers_open_one_incident_for_one_cause():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    source = make_source()
    ready = threading.Barrier(2)

    def work() -> None:
        try:
            for _ in range(20):
                ready.wait()
                grouping.attach_pending(limit=3)
        finally:
            connections.close_all()

    def post() -> None:
        try:
            for _ in range(20):
                make_alert(source, service="checkout")
                ready.wait()
                grouping.attach_pending(limit=3)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work), threading.Thread(target=post)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    grouping.attach_pending()
    incident = Incident.objects.get()
    assert incident.alert_count == Alert.objects.filter(incident=incident).count() == 20


NAMES = st.sampled_from(["HighLatency", "DiskFull", "InstanceDown"])
SERVICES = st.sampled_from(["checkout", "search", ""])
ALERTS = st.lists(st.tuples(NAMES, SERVICES, st.booleans()), min_size=1, max_size=4)


class AnyHistoryOfBodies(HypothesisTestCase):
    @hypothesis_settings(max_examples=30, deadline=None)
    @given(
        st.lists(st.one_of(ALERTS, st.sampled_from(["attach", "resolve", "reopen"])), max_size=10)
    )
    def test_every_current_alert_has_one_incident_and_no_two_share_a_key(self, steps):
        source, at = make_source("alertmanager"), now() - timedelta(minutes=30)
        for number, step in enumerate(steps):
            at += timedelta(minutes=1)
            if step == "attach":
                grouping.attach_pending()
            elif step == "resolve":
                for incident in Incident.objects.open()[:1]:
                    lifecycle.resolve(incident, by="ada")
            elif step == "reopen":
                for incident in Incident.objects.filter(status="resolved")[:1]:
                    try:
                        lifecycle.reopen(incident, by="ada")
                    except lifecycle.InvalidTransition:
                        assert Incident.objects.open().filter(dedup_key=incident.dedup_key)
            else:
                intake.receive(source, _body(step, at), key=f"step-{number}", at=at)
        grouping.attach_pending()
        assert not Alert.objects.filter(is_current=True, incident=None).exists()
        assert (
            not Alert.objects.filter(is_current=True)
            .exclude(incident__status__in=OPEN_STATUSES)
            .exists()
        )
        keys = [incident.dedup_key for incident in Incident.objects.open()]
        assert len(keys) == len(set(keys))
        for incident in Incident.objects.all():
            identities = set(incident.alerts.values_list("source", "fingerprint"))
            assert incident.alert_count == len(identities)
            assert (
                incident.version
                == 1
                + OutboxEvent.objects.filter(data__number=incident.number)
                .exclude(type="incident.opened")
                .count()
            )
            assert TimelineEntry.objects.filter(incident=incident).count() >= 2


def _body(alerts, at) -> bytes:
    return json.dumps(
        {
            "version": "4",
            "groupKey": "{}",
            "status": "firing",
            "receiver": "iop",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "http://localhost:9093",
            "alerts": [
                {
                    "status": "firing" if firing else "resolved",
                    "labels": {"alertname": name} | ({"service": service} if service else {}),
                    "annotations": {"summary": f"{name} of {service}"},
                    "startsAt": (at - timedelta(seconds=30)).isoformat(),
                    "endsAt": "0001-01-01T00:00:00Z" if firing else at.isoformat(),
                    "generatorURL": "",
                }
                for name, service, firing in alerts
            ],
        }
    ).encode()
