"""Files of an incident: how they come, what is kept of them, and how they go."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.test import Client

from incidentops.access.models import AuditEntry
from incidentops.incidents import attachments, topics
from incidentops.incidents.models import Attachment, Incident, TimelineEntry
from incidentops.realtime.models import OutboxEvent
from incidentops.rest.models import StoredAnswer
from incidentops.rest.uploads import MOST_BYTES
from tests.factories import make_attachment, make_incident, make_token, make_user

pytestmark = pytest.mark.django_db
LEASE = timedelta(minutes=5)
LOG = b"pool exhausted: 20 of 20 connections in use\n"


def client_of(role: str) -> Client:
    headers: Any = {"Authorization": f"Bearer {make_token(role)}"}
    return Client(headers=headers)


def url_of(incident: Incident) -> str:
    return f"/api/v1/incidents/{incident.number}/attachments/"


def file(content: bytes = LOG, name: str = "app.log", media_type: str = "text/plain") -> Any:
    return SimpleUploadedFile(name, content, content_type=media_type)


def is_refused(answer: Any, status: int, field: str = "file") -> bool:
    return (
        answer.status_code == status
        and answer.headers["Content-Type"] == "application/problem+json"
        and list(answer.json()["errors"]) == [field]
    )


def read(attachment: Attachment, text: str) -> None:
    claimed = attachments.claim(attachment.pk, lease=LEASE)
    assert claimed is not None
    assert attachments.record_text(claimed, text=text, provider="local", call=7)


# --- Coming --------------------------------------------------------------------------------------


def test_a_file_is_kept_told_audited_and_published():
    incident = make_incident()
    answer = client_of("responder").post(
        url_of(incident), {"file": file(), "note": "From orders-1."}
    )
    assert answer.status_code == 201, answer.json()
    row = answer.json()
    assert (row["name"], row["size"], row["state"]) == ("app.log", len(LOG), "pending")
    assert answer.headers["Location"] == row["url"]
    kept = Attachment.objects.get()
    assert bytes(kept.content) == LOG
    entry = TimelineEntry.objects.get(kind="attachment.added")
    assert entry.text.startswith("app.log was attached by ")
    assert entry.text.endswith(" From orders-1.")
    audited = AuditEntry.objects.get(action="attachment.added")
    assert audited.target == f"incident:{incident.number}"
    assert audited.detail["sha256"] == row["sha256"]
    event = OutboxEvent.objects.get(type="incident.updated")
    assert event.data["change"] == "attachment.added"
    assert event.data["entry"]["detail"]["attachment"] == kept.pk


def test_files_are_listed_newest_first_without_their_bytes():
    incident = make_incident()
    first, second = make_attachment(incident), make_attachment(incident, name="b.txt")
    make_attachment(name="of another incident")
    read(first, "x" * 1000)
    rows = client_of("viewer").get(url_of(incident)).json()["results"]
    assert [row["id"] for row in rows] == [second.pk, first.pk]
    assert (rows[1]["state"], rows[1]["characters"], len(rows[1]["beginning"])) == (
        "read",
        1000,
        Attachment.BEGINNING,
    )
    assert "content" not in rows[0]
    filtered = client_of("viewer").get(f"{url_of(incident)}?state=read").json()["results"]
    assert [row["id"] for row in filtered] == [first.pk]


def test_what_is_too_large_empty_or_missing_is_refused_by_the_name_of_its_field():
    incident, client = make_incident(), client_of("responder")
    url = url_of(incident)
    assert is_refused(client.post(url, {"file": file(b"x" * (MOST_BYTES + 1))}), 413)
    assert is_refused(client.post(url, {"file": file(b"x" * (2 * MOST_BYTES))}), 413)
    assert is_refused(client.post(url, {"file": file(b"")}), 400)
    assert is_refused(client.post(url, {"note": "no file"}), 400)
    assert is_refused(client.post(url, {"file": "words"}), 400)
    assert is_refused(client.post(url, {"file": file(), "note": "x" * 1001}), 400, "note")
    assert client.post(url, {}, "application/json").status_code == 415
    assert not Attachment.objects.exists()
    assert not OutboxEvent.objects.exists()


def test_a_file_of_exactly_five_megabytes_is_taken():
    answer = client_of("responder").post(url_of(make_incident()), {"file": file(b"x" * MOST_BYTES)})
    assert answer.status_code == 201
    assert answer.json()["size"] == MOST_BYTES


def test_an_incident_has_at_most_twenty():
    incident = make_incident()
    for _ in range(attachments.MOST):
        make_attachment(incident)
    answer = client_of("responder").post(url_of(incident), {"file": file()})
    assert is_refused(answer, 409)
    assert "20 attachments" in answer.json()["errors"]["file"][0]
    assert incident.attachments.count() == attachments.MOST


@pytest.mark.django_db(transaction=True)
def test_the_last_place_is_given_once():
    incident = make_incident()
    for _ in range(attachments.MOST - 1):
        make_attachment(incident)
    barrier, refused = threading.Barrier(4), []

    def attach() -> None:
        try:
            barrier.wait()
            make_attachment(incident)
        except attachments.TooMany as error:
            refused.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=attach) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    assert incident.attachments.count() == attachments.MOST


def test_a_repeated_upload_with_its_key_has_one_effect_whatever_its_boundary():
    incident, client = make_incident(), client_of("responder")

    def post(content: bytes, boundary: str) -> Any:
        body = (
            (
                f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.log"\r\n'
                f"Content-Type: text/plain\r\n\r\n"
            ).encode()
            + content
            + f"\r\n--{boundary}--\r\n".encode()
        )
        return client.generic(
            "POST",
            url_of(incident),
            body,
            content_type=f"multipart/form-data; boundary={boundary}",
            headers={"Idempotency-Key": "k1"},
        )

    large = b"x" * (4 * 1024 * 1024)
    first, second = post(large, "one"), post(large, "another")
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert first.json() == second.json()
    assert Attachment.objects.count() == 1
    assert post(LOG, "one").status_code == 422
    assert Attachment.objects.count() == StoredAnswer.objects.count() == 1


def test_the_sender_does_not_choose_where_or_as_what_a_file_is_kept():
    incident, client = make_incident(), client_of("responder")
    upload = file(name="../../etc/pass\u202ewd\x00.txt", media_type="text/html\x00; x=<y>")
    assert client.post(url_of(incident), {"file": upload}).status_code == 201
    kept = Attachment.objects.get()
    assert "/" not in kept.name
    assert kept.name.isprintable()
    assert "\x00" not in kept.media_type
    long = client.post(url_of(incident), {"file": file(name="ä" * 400 + ".log")})
    assert long.status_code == 201
    assert len(long.json()["name"]) <= 255


# --- Going out -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["page.html", 'quo"te\u00e4.svg', "log"])
def test_the_bytes_are_given_to_be_saved_and_never_to_be_shown(name):
    page = b"<script>alert(1)</script>"
    attachment = make_attachment(name=name, content=page, media_type="text/html")
    answer = client_of("viewer").get(attachment.url)
    assert answer.content == page
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_a_file_is_found_under_its_own_incident_alone():
    attachment, other = make_attachment(), make_incident()
    client = client_of("responder")
    for url in (f"{url_of(other)}{attachment.pk}/", f"{url_of(other)}424242/"):
        assert client.get(url).status_code == 404
        assert client.delete(url).status_code == 404
    assert client.get("/api/v1/incidents/424242/attachments/").status_code == 404
    assert Attachment.objects.count() == 1


def test_a_deleted_file_leaves_its_trace_but_neither_bytes_nor_text():
    attachment = make_attachment(content=b"secret of the house")
    read(attachment, "secret of the house")
    client = client_of("responder")
    assert client.delete(attachment.url).status_code == 204
    assert client.delete(attachment.url).status_code == 404
    assert not Attachment.objects.exists()
    entry = TimelineEntry.objects.get(kind="attachment.deleted")
    assert entry.text.startswith("The attachment app.log was deleted by ")
    assert entry.detail["sha256"] == attachment.sha256
    assert AuditEntry.objects.filter(action="attachment.deleted").count() == 1


def test_viewers_read_responders_write_and_strangers_do_neither():
    attachment = make_attachment()
    url = url_of(attachment.incident)
    for reader in ("viewer", "auditor"):
        client = client_of(reader)
        assert client.get(url).status_code == client.get(attachment.url).status_code == 200
        assert client.post(url, {"file": file()}).status_code == 403
        assert client.delete(attachment.url).status_code == 403
    stranger = Client()
    assert stranger.get(attachment.url).status_code == 401
    assert stranger.post(url, {"file": file()}).status_code == 401
    assert Attachment.objects.count() == 1


def test_a_session_uploads_only_with_its_csrf_token():
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_user("responder"))
    incident = make_incident()
    assert client.post(url_of(incident), {"file": file()}).status_code == 403
    page = f"/incidents/{incident.number}/"
    client.get(page)
    token = client.cookies["csrftoken"].value
    headers: Any = {"X-CSRFToken": token}
    assert client.post(url_of(incident), {"file": file()}, headers=headers).status_code == 201
    form = {"csrfmiddlewaretoken": token, "file": file(), "note": ""}
    assert client.post(f"{page}attach/", form).status_code == 302
    assert client.post(f"{page}attach/", {"file": file()}).status_code == 403
    assert Attachment.objects.count() == 2


# --- Reading -------------------------------------------------------------------------------------


def test_what_was_read_is_kept_and_told_once():
    attachment = make_attachment()
    read(attachment, "pool exhausted")
    assert attachments.claim(attachment.pk, lease=LEASE) is None
    (row,) = topics.attachments(f"incident:{attachment.incident_id}")
    assert (row["state"], row["provider"], row["call"]) == ("read", "local", 7)
    assert row["beginning"] == "pool exhausted"
    entry = TimelineEntry.objects.get(kind="attachment.read")
    assert (entry.actor, entry.text) == ("reading", "app.log was read: 14 characters.")
    assert not AuditEntry.objects.filter(action="attachment.read").exists()


def test_why_nobody_can_read_it_is_kept():
    attachment = make_attachment(name="shot.png")
    claimed = attachments.claim(attachment.pk, lease=LEASE)
    assert claimed is not None
    assert attachments.record_unreadable(claimed, reason="It is a picture.")
    (row,) = topics.attachments(f"incident:{attachment.incident_id}")
    assert (row["state"], row["reason"]) == ("unreadable", "It is a picture.")
    entry = TimelineEntry.objects.get(kind="attachment.unreadable")
    assert entry.text == "shot.png cannot be read: It is a picture."


def test_a_claimed_file_is_nobody_else_s_until_its_lease_ends():
    attachment = make_attachment()
    first = attachments.claim(attachment.pk, lease=LEASE)
    assert first is not None
    assert attachments.claim(attachment.pk, lease=LEASE) is None
    # As if the lease had run out: the next reader has the word, the one before is not heard.
    Attachment.objects.update(due_at=first.added_at)
    second = attachments.claim(attachment.pk, lease=LEASE)
    assert second is not None
    assert not attachments.record_unreadable(first, reason="late")
    assert attachments.record_text(second, text="right", provider="local", call=None)
    assert Attachment.objects.get().text == "right"


def test_what_is_put_off_is_due_later():
    attachment = make_attachment()
    claimed = attachments.claim(attachment.pk, lease=timedelta(0))
    assert claimed is not None
    attachments.put_off(claimed, reason="Nobody answers.", wait=timedelta(hours=1))
    assert not Attachment.objects.unread().exists()
    row = Attachment.objects.get()
    assert (row.state, row.reason) == ("pending", "Nobody answers.")


def test_a_file_that_was_deleted_while_it_was_read_stays_deleted():
    attachment = make_attachment()
    claimed = attachments.claim(attachment.pk, lease=LEASE)
    assert claimed is not None
    attachments.delete(attachment, by="ada")
    assert not attachments.record_text(claimed, text="late", provider="local", call=None)
    assert not Attachment.objects.exists()


# --- The page and the admin ----------------------------------------------------------------------


def page_of(incident: Incident, role: str = "responder") -> str:
    client = Client()
    client.force_login(make_user(role))
    return client.get(f"/incidents/{incident.number}/").content.decode()


def test_the_page_shows_files_with_state_reader_and_text():
    incident = make_incident()
    readable = make_attachment(incident, name="app <b>.log", note="From orders-1.")
    read(readable, "pool <i>exhausted")
    picture = make_attachment(incident, name="shot.png")
    claimed = attachments.claim(picture.pk, lease=LEASE)
    assert claimed is not None
    attachments.record_unreadable(claimed, reason="It is a picture.")
    page = page_of(incident)
    for shown in (
        f'id="attachment-{readable.pk}"',
        f'href="{readable.url}"',
        "app &lt;b&gt;.log",
        "pool &lt;i&gt;exhausted",
        "14 bytes",
        "From orders-1.",
        "Local provider",
        "Not read: It is a picture.",
        'enctype="multipart/form-data"',
    ):
        assert shown in page, shown
    assert "<b>.log" not in page


def test_the_page_offers_neither_upload_nor_deletion_to_viewers():
    incident = make_incident()
    make_attachment(incident)
    page = page_of(incident, "viewer")
    assert "app.log" in page
    assert "delete-attachment" not in page
    assert "/attach/" not in page


def test_people_attach_and_delete_on_the_page():
    incident, client = make_incident(), Client()
    client.force_login(make_user("responder", name="ada"))
    page = f"/incidents/{incident.number}/"
    answer = client.post(f"{page}attach/", {"file": file(), "note": "n"}, follow=True)
    assert "Attached." in answer.content.decode()
    attachment = Attachment.objects.get()
    assert (attachment.added_by, attachment.note) == ("ada", "n")
    too_large = client.post(f"{page}attach/", {"file": file(b"x" * (MOST_BYTES + 1))}, follow=True)
    assert f"1 to {MOST_BYTES} bytes" in too_large.content.decode()
    nothing = client.post(f"{page}attach/", {}, follow=True)
    assert "file: This field is required." in nothing.content.decode()
    for said in ("was deleted", "not there any more"):
        answer = client.post(
            f"{page}delete-attachment/", {"attachment": attachment.pk}, follow=True
        )
        assert said in answer.content.decode()
    assert not Attachment.objects.exists()


def test_a_file_of_another_incident_is_not_deleted_through_this_one_s_page():
    attachment, other, client = make_attachment(), make_incident(), Client()
    client.force_login(make_user("responder"))
    client.post(f"/incidents/{other.number}/delete-attachment/", {"attachment": attachment.pk})
    assert Attachment.objects.filter(pk=attachment.pk).exists()


def test_the_admin_shows_files_and_changes_none():
    attachment, client = make_attachment(), Client()
    client.force_login(make_user("admin"))
    root = "/admin/incidents/attachment/"
    assert "app.log" in client.get(root).content.decode()
    page = client.get(f"{root}{attachment.pk}/change/")
    assert attachment.url in page.content.decode()
    assert client.post(f"{root}{attachment.pk}/change/", {"name": "x"}).status_code == 403
    assert client.post(f"{root}{attachment.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.get(f"{root}add/").status_code == 403
