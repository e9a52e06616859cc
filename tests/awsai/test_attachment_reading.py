"""Files of incidents are read by whoever can, once, and what nobody can read says why."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from queue import Empty

import pytest
from botocore.retries.standard import ExponentialBackoff
from django.utils.timezone import now

from awsai import attachments, tasks
from awsai.emulator.emulator import Emulator
from awsai.errands import MOST_ATTEMPTS
from awsai.models import AwsCall
from incidentops import embedded
from incidentops.celery import app
from incidentops.incidents import lifecycle
from incidentops.incidents.models import Attachment
from incidentops.realtime import outbox
from tests.awsai.health.emulated import forget_breakers, running_emulator
from tests.awsai.local.documents import make_docx, make_pdf
from tests.factories import make_attachment, make_incident
from tests.live import ROOT
from tests.narrowing import known

pytestmark = pytest.mark.django_db
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def emulator(settings, monkeypatch) -> Iterator[Emulator]:
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.0)
    with running_emulator(settings, monkeypatch) as emulator:
        yield emulator
    forget_breakers()


def after_reading(attachment: Attachment) -> Attachment:
    assert attachments.read(attachment.pk)
    return Attachment.objects.get(pk=attachment.pk)


def make_all_due() -> None:
    Attachment.objects.update(due_at=now() - timedelta(minutes=1))


@pytest.mark.parametrize(
    ("name", "media_type", "content"),
    [
        ("app.log", "text/plain", b"pool exhausted"),
        ("app.log.3", "application/octet-stream", b"pool exhausted"),
        ("notes.docx", "", make_docx("pool exhausted")),
        ("runbook.pdf", "application/pdf", make_pdf(("pool exhausted",))),
        ("page.html", "text/html", b"<p>pool exhausted<script>alert(1)</script>"),
    ],
)
def test_formats_with_text_are_read_here_and_the_reading_is_in_the_ledger(
    name, media_type, content
):
    row = after_reading(make_attachment(name=name, media_type=media_type, content=content))
    assert (row.state, row.text, row.provider) == ("read", "pool exhausted", "local")
    call = AwsCall.objects.get(sequence=known(row.call))
    assert (call.incident_number, call.run_ref) == (row.incident_id, f"attachment:{row.pk}")


@pytest.mark.parametrize(
    ("name", "media_type", "content", "why"),
    [
        ("shot.png", "image/png", PNG, "Text in pictures is not recognised here."),
        ("core", "application/octet-stream", b"\x00\x01", "application/octet-stream"),
        ("a.pdf", "application/pdf", b"%PDF-1.7 broken", "cannot be read"),
        ("empty.txt", "text/plain", b" \n ", "There is no text"),
    ],
)
def test_what_nobody_can_read_says_why(name, media_type, content, why):
    row = after_reading(make_attachment(name=name, media_type=media_type, content=content))
    assert row.state == "unreadable"
    assert why in row.reason
    assert row.text == row.provider == ""


def test_what_is_not_read_here_is_read_by_textract_where_that_can_be_asked(emulator):
    scan = make_attachment(
        name="scan.pdf", media_type="application/pdf", content=b"%PDF-1.7\nFail over."
    )
    row = after_reading(scan)
    assert (row.state, row.text, row.provider) == ("read", "Fail over.", "emulator")
    call = AwsCall.objects.get(sequence=known(row.call))
    assert (call.service, call.operation) == ("textract", "DetectDocumentText")
    assert call.incident_number == scan.incident_id


def test_what_textract_refuses_says_why(emulator):
    row = after_reading(make_attachment(name="shot.png", media_type="image/png", content=PNG))
    assert row.state == "unreadable"
    assert "UnsupportedDocumentException" in row.reason


def test_what_is_not_in_its_character_set_is_unreadable_and_nul_is_left_out():
    row = after_reading(make_attachment(content=b"a\x00b \xed\xa0\x80", media_type="text/plain"))
    assert row.state == "unreadable"
    row = after_reading(make_attachment(content=b"a\x00b", media_type="text/plain"))
    assert row.text == "ab"


def fail(emulator: Emulator, times: int) -> None:
    emulator.inject(
        "error",
        operation="DetectDocumentText",
        code="InternalServerError",
        status=500,
        times=times,
    )


def test_a_reader_that_is_away_is_asked_again_later(emulator):
    scan = make_attachment(
        name="scan.pdf", media_type="application/pdf", content=b"%PDF-1.7\nFail over."
    )
    fail(emulator, 3)
    row = after_reading(scan)
    assert row.state == "pending"
    assert row.reason
    assert attachments.waiting() == []
    assert not attachments.read(scan.pk)
    make_all_due()
    assert attachments.waiting() == [scan.pk]
    row = after_reading(scan)
    assert (row.state, row.text, row.reason) == ("read", "Fail over.", "")


def test_a_reader_that_stays_away_is_given_up_with_its_reason(emulator):
    scan = make_attachment(
        name="scan.pdf", media_type="application/pdf", content=b"%PDF-1.7\nFail over."
    )
    fail(emulator, 1000)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        make_all_due()
        row = after_reading(scan)
        assert row.attempts == attempt
    given_up = Attachment.objects.get()
    assert given_up.state == "unreadable"
    assert given_up.reason


def test_a_file_whose_readers_die_is_given_up():
    attachment = make_attachment()
    Attachment.objects.update(attempts=MOST_ATTEMPTS)
    row = after_reading(attachment)
    assert row.state == "unreadable"
    assert "lost in each of 5 attempts" in row.reason
    assert not AwsCall.objects.exists()


def test_reading_twice_reads_once():
    attachment = make_attachment()
    tasks.read_attachment(attachment.pk)
    tasks.read_attachment(attachment.pk)
    tasks.read_attachment(424242)
    assert AwsCall.objects.count() == 1


# --- Waking a reader -----------------------------------------------------------------------------


def taken_from_the_queue(send: Callable[[], object]) -> tuple[str, list[int]]:
    """Task and arguments of the one message that `send` leaves for the agents' workers."""
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue("agents")
        queue.clear()
        send()
        message = queue.get(timeout=10)
        message.ack()
        with pytest.raises(Empty):
            queue.get(block=False)
    (arguments, *_) = message.decode()
    return message.headers["task"], arguments


def test_the_event_of_an_attached_file_wakes_one_reader():
    incident = make_incident()
    lifecycle.comment(incident, by="ada", text="Nothing to read.")
    attachment = make_attachment(incident)
    task, arguments = taken_from_the_queue(outbox.relay)
    assert task == "awsai.tasks.read_attachment"
    app.tasks[task](*arguments)
    assert Attachment.objects.get(pk=attachment.pk).state == "read"


def test_the_sweep_wakes_a_reader_for_what_a_lost_message_left():
    attachment = make_attachment()
    attachments.read(make_attachment().pk)
    sent = taken_from_the_queue(tasks.read_attachments)
    assert sent == ("awsai.tasks.read_attachment", [attachment.pk])


_RECEIVE = """
import sys, time, logging
logging.basicConfig()
import django; django.setup()
from awsai import receivers
from incidentops.incidents.events import IncidentUpdated
event = IncidentUpdated(
    number=1,
    origin="live",
    incident={},
    change="attachment.added",
    entry={"detail": {"attachment": int(sys.argv[1])}},
)
began = time.monotonic()
receivers.read_attachment_soon(event)
print(time.monotonic() - began)
"""


def test_a_broker_that_is_away_costs_nothing_but_time(tmp_path):
    attachment = make_attachment()
    environ = os.environ | {
        # Nobody listens there.
        "REDIS_URL": f"redis://127.0.0.1:{embedded.free_port()}/0",
        "IOP_VAR": str(tmp_path / "var"),
        "DATABASE_URL": "",
        "DJANGO_SETTINGS_MODULE": "incidentops.settings",
    }
    received = subprocess.run(
        [sys.executable, "-c", _RECEIVE, str(attachment.pk)],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert float(received.stdout) < 3
    assert received.stderr.count(f"read_attachment of {attachment.pk} waits for the sweep") == 1
    # What the message would have said stands in the database, and the sweep says it.
    assert taken_from_the_queue(tasks.read_attachments) == (
        "awsai.tasks.read_attachment",
        [attachment.pk],
    )
