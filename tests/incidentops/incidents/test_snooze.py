"""What people who ask for quiet get: an empty place on the board, no message, and both back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import mail
from django.test import Client
from django.utils.timezone import now

from incidentops import embedded
from incidentops.access.models import AuditEntry
from incidentops.dashboards import board
from incidentops.incidents import grouping, lifecycle, tasks
from incidentops.incidents.models import Incident
from incidentops.notifications import delivery
from incidentops.notifications.models import Notification
from incidentops.realtime import topics
from incidentops.realtime.models import OutboxEvent
from tests.factories import make_alert, make_incident, make_user

pytestmark = pytest.mark.django_db
State = Notification.State
SMTP = "django.core.mail.backends.smtp"


@pytest.fixture(autouse=True)
def one_recipient(settings):
    settings.EMAIL_RECIPIENTS = ["ann@example.org"]


def snoozed(**fields) -> Incident:
    return lifecycle.snooze(make_incident(**fields), until=now() + timedelta(hours=1), by="ada")


def let_it_end(incident: Incident) -> None:
    """The hour is over."""
    past = now() - timedelta(seconds=1)
    Incident.objects.filter(pk=incident.pk).update(snoozed_until=past)
    Notification.objects.exclude(held_until=None).update(held_until=past)


def tell(incident: Incident, *, held_until=None) -> Notification:
    (row,) = delivery.send(
        key=f"{incident.number}:update",
        incident_number=incident.number,
        audience="responders",
        subject="Needs people",
        body="It does.",
        provider="local",
        held_until=held_until,
    )
    return row


def column_of(incident: Incident) -> str:
    cards = topics.snapshot("ops")["incidents"]
    return next(
        column.slug
        for column, held in board.columns(cards)
        if incident.number in [card["number"] for card in held]
    )


def test_a_snoozed_incident_leaves_its_column_until_the_time_has_passed():
    incident = snoozed()
    assert column_of(incident) == "snoozed"
    tasks.wake()
    assert column_of(incident) == "snoozed"
    let_it_end(incident)
    links = AuditEntry.objects.count()
    tasks.wake()
    tasks.wake()
    assert column_of(incident) == "triggered"
    event = OutboxEvent.objects.latest("pk")
    assert event.data["change"] == "incident.woken"
    assert event.data["incident"]["snoozed_until"] is None
    assert incident.timeline.filter(kind="incident.woken").count() == 1
    # That time passes is nobody's deed.
    assert AuditEntry.objects.count() == links


def test_the_board_has_a_place_for_snoozed_incidents_while_there_are_some(client: Client):
    client.force_login(make_user())
    assert 'id="column-snoozed"' not in client.get("/ops").content.decode()
    incident = snoozed(title="Disk is full")
    text = client.get("/ops").content.decode()
    assert text.index('id="column-snoozed"') < text.index("Disk is full")
    lifecycle.snooze(incident, until=None, by="ada")
    assert 'id="column-snoozed"' not in client.get("/ops").content.decode()


def test_messages_about_a_snoozed_incident_wait_for_its_end():
    incident = snoozed()
    tell(incident, held_until=incident.snoozed_until)
    delivery.retry_due()
    assert mail.outbox == []
    let_it_end(incident)
    delivery.retry_due()
    assert [message.subject for message in mail.outbox] == ["Needs people"]
    assert Notification.objects.get().state == State.SENT


def test_a_snooze_keeps_back_what_could_not_be_sent_before(settings):
    incident = make_incident()
    working, settings.EMAIL_PORT = settings.EMAIL_BACKEND, embedded.free_port()
    settings.EMAIL_BACKEND, settings.EMAIL_HOST = f"{SMTP}.EmailBackend", "127.0.0.1"
    assert tell(incident).state == State.FAILED
    Notification.objects.update(due_at=now() - timedelta(seconds=1))
    settings.EMAIL_BACKEND = working
    lifecycle.snooze(incident, until=now() + timedelta(hours=1), by="ada")
    delivery.retry_due()
    assert mail.outbox == []
    lifecycle.snooze(incident, until=None, by="ada")
    delivery.retry_due()
    assert len(mail.outbox) == 1


@pytest.mark.parametrize("is_merged", [False, True])
def test_what_an_ended_incident_had_to_say_is_dropped(is_merged):
    incident = snoozed()
    tell(incident, held_until=incident.snoozed_until)
    if is_merged:
        lifecycle.merge(incident, into=make_incident(), by="ada")
    else:
        lifecycle.resolve(incident, by="ada")
    delivery.retry_due()
    row = Notification.objects.get()
    assert (row.state, row.due_at, mail.outbox) == (State.DROPPED, None, [])
    assert f"Incident {incident.number} was " in row.error


def test_what_is_worse_than_what_was_snoozed_ends_the_quiet():
    incident = snoozed(severity="low", service="shop")
    tell(incident, held_until=incident.snoozed_until)
    make_alert(service="shop", severity="critical", incident=incident)
    grouping.follow_alerts()
    incident.refresh_from_db()
    assert (incident.severity, incident.snoozed_until) == ("critical", None)
    assert "ended the snooze" in incident.timeline.latest("pk").text
    delivery.retry_due()
    assert len(mail.outbox) == 1

    relapsed = snoozed(status="mitigated")
    lifecycle.reopen(relapsed, by="ada")
    relapsed.refresh_from_db()
    assert relapsed.snoozed_until is None
