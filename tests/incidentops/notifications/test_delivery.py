from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.utils.timezone import now
from hypothesis import given
from hypothesis import strategies as st

from incidentops import embedded
from incidentops.access.models import AuditEntry
from incidentops.notifications import delivery, tasks, transports
from incidentops.notifications.models import Notification
from incidentops.notifications.transports import DeliveryFailed
from tests.narrowing import known

State = Notification.State


@pytest.fixture(autouse=True)
def two_recipients(settings):
    settings.EMAIL_RECIPIENTS = ["ann@example.org", "bob@example.org"]


@pytest.fixture
def dead_mail_server(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", embedded.free_port()


def send(**changes):
    message: dict[str, Any] = {
        "key": "incident:7:1:update",
        "incident_number": 7,
        "audience": "responders",
        "subject": "Checkout is slow",
        "body": "We are looking into it.",
        "provider": "local",
    }
    return delivery.send(**(message | changes))


def make_due(**fields):
    """Let the waiting time be over."""
    Notification.objects.update(due_at=now() - timedelta(seconds=1), **fields)


@pytest.mark.django_db
def test_everybody_gets_the_message_and_a_row_says_so():
    rows = send()
    assert [(row.recipient, row.state, row.attempts) for row in rows] == [
        ("ann@example.org", State.SENT, 1),
        ("bob@example.org", State.SENT, 1),
    ]
    assert all(row.sent_at and row.due_at is None and row.error == "" for row in rows)
    assert [message.to for message in mail.outbox] == [["ann@example.org"], ["bob@example.org"]]
    assert mail.outbox[0].subject == "Checkout is slow"
    assert mail.outbox[0].body == "We are looking into it."


@pytest.mark.django_db
def test_the_same_key_sends_once_and_gives_the_same_rows():
    first, second = send(), send(subject="Another wording")
    assert [row.pk for row in first] == [row.pk for row in second]
    assert len(mail.outbox) == 2
    assert {row.subject for row in second} == {"Checkout is slow"}


@pytest.mark.django_db
def test_long_keys_stay_apart():
    send(key="k" * 300 + "1")
    send(key="k" * 300 + "2")
    assert Notification.objects.count() == len(mail.outbox) == 4


@pytest.mark.django_db
def test_a_message_without_recipients_leaves_no_row(settings):
    settings.EMAIL_RECIPIENTS = []
    assert send() == []


@pytest.mark.django_db
def test_a_failure_is_recorded_and_sent_when_the_server_is_back(settings, dead_mail_server):
    rows = send()
    assert {row.state for row in rows} == {State.FAILED}
    assert all("refused" in row.error for row in rows)
    tasks.retry()
    assert Notification.objects.filter(attempts=1).count() == 2, "not before its time"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    make_due()
    tasks.retry()
    assert len(mail.outbox) == 2
    assert {row.state for row in send()} == {State.SENT}
    assert set(Notification.objects.values_list("error", flat=True)) == {""}


@pytest.mark.django_db
def test_attempts_wait_longer_and_longer_and_end(settings, dead_mail_server):
    settings.EMAIL_RECIPIENTS = ["ann@example.org"]
    send()
    waits = []
    while (row := Notification.objects.get()).due_at:
        waits.append(row.due_at - now())
        make_due()
        tasks.retry()
    assert row.attempts == delivery.MAX_ATTEMPTS == len(waits) + 1
    assert waits == sorted(waits)
    assert waits[-1] > 10 * waits[0] > timedelta(0)
    make_due(state=State.SENT)
    tasks.retry()
    assert mail.outbox == []


@pytest.mark.django_db
def test_what_a_dead_worker_left_is_sent_by_the_sweep():
    send()
    mail.outbox.clear()
    make_due(state=State.PENDING)
    tasks.retry()
    assert len(mail.outbox) == 2


@pytest.mark.django_db
def test_a_message_that_kills_every_worker_is_given_up():
    send()
    mail.outbox.clear()
    make_due(state=State.PENDING, attempts=delivery.MAX_ATTEMPTS)
    tasks.retry()
    assert mail.outbox == []
    row = known(Notification.objects.first())
    assert row.state == State.FAILED
    assert row.due_at is None
    assert "Given up" in row.error


@pytest.mark.django_db
def test_a_message_given_up_can_be_sent_again_and_that_is_audited(dead_mail_server, settings):
    send()
    Notification.objects.update(due_at=None)
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    row = known(Notification.objects.first())
    assert delivery.send_again(row, by="ann")
    assert not delivery.send_again(row, by="ann"), "it is on its way"
    tasks.retry()
    assert len(mail.outbox) == 1
    assert AuditEntry.objects.filter(action="notification.send_again", actor="ann").count() == 1


@pytest.mark.django_db
def test_attempts_of_one_message_carry_one_message_id():
    send()
    make_due(state=State.PENDING)
    tasks.retry()
    ids = [message.extra_headers["Message-ID"] for message in mail.outbox]
    assert ids[:2] == ids[2:]
    assert ids[0] != ids[1]


@pytest.mark.django_db
@given(st.text(max_size=400))
def test_no_subject_can_add_a_header(text):
    Notification.objects.all().delete()
    mail.outbox.clear()
    rows = send(subject=f"a\r\nBcc: all@example.org{text}")
    assert {row.state for row in rows} == {State.SENT}
    assert "\nBcc" not in mail.outbox[0].message().as_string()
    assert len(rows[0].subject) <= 250


@pytest.mark.django_db
def test_an_address_that_cannot_be_a_header_is_a_recorded_failure(settings):
    settings.EMAIL_RECIPIENTS = ["ann@example.org\nBcc: all@example.org"]
    (row,) = send()
    assert row.state == State.FAILED


@pytest.mark.django_db
def test_a_transport_that_is_gone_is_a_recorded_failure(monkeypatch):
    send()
    make_due(state=State.PENDING)
    monkeypatch.setattr(transports, "_transports", {})
    tasks.retry()
    assert "no transport" in known(Notification.objects.first()).error


class Gate:
    """A transport that holds a message until it is let go, or drops it."""

    name = "gate"

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.delivered: list[str] = []
        self.entered, self.leave = threading.Event(), threading.Event()

    def recipients(self, audience: str) -> tuple[str, ...]:
        return ("room",)

    def deliver(self, message) -> None:
        self.entered.set()
        self.leave.wait(10)
        if not self.takes:
            raise DeliveryFailed("dropped")
        self.delivered.append(message.key)


def in_thread(function, *arguments) -> threading.Thread:
    def run() -> None:
        try:
            function(*arguments)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.django_db(transaction=True)
def test_two_workers_never_hand_over_one_message_at_one_time(monkeypatch):
    gate = Gate()
    monkeypatch.setattr(transports, "_transports", {"gate": gate})
    first = in_thread(send)
    assert gate.entered.wait(10)
    row = Notification.objects.get()
    assert delivery.attempt(row.pk) is False
    assert delivery.retry_due() == 0
    assert [row.state for row in send()] == [State.PENDING]
    gate.leave.set()
    first.join()
    assert Notification.objects.get().state == State.SENT
    assert len(gate.delivered) == 1


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_lost_its_lease_cannot_overwrite_the_outcome(monkeypatch):
    slow, quick = Gate(takes=False), Gate()
    quick.leave.set()
    monkeypatch.setattr(transports, "_transports", {"gate": slow})
    worker = in_thread(send)
    assert slow.entered.wait(10)
    monkeypatch.setattr(transports, "_transports", {"gate": quick})
    make_due()
    assert delivery.retry_due() == 1
    slow.leave.set()
    worker.join()
    assert Notification.objects.get().state == State.SENT


@pytest.mark.parametrize(
    ("address", "masked"),
    [("ann@example.org", "a…@example.org"), ("#oncall", "#…"), ("", "…")],
)
def test_a_masked_recipient_tells_little(address, masked):
    assert Notification(recipient=address).masked_recipient == masked
