from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import docx
import pytest
from botocore.retries.standard import ExponentialBackoff
from django.core.files.uploadedfile import SimpleUploadedFile

from awsai import knowledge
from awsai.models import AwsCall, Knowledge
from incidentops.access.models import AuditEntry
from incidentops.rest.uploads import MOST_BYTES
from tests.awsai.api.test_awsai_api import JSON, is_problem

pytestmark = pytest.mark.django_db
URL = "/api/v1/knowledge/"
RUNBOOK = {
    "kind": "runbook",
    "ref": "pool",
    "title": "Pool of connections",
    "text": "Restart the pooler when the pool is exhausted.",
    "uri": "https://wiki.example.org/pool",
}


def file(content: bytes, name: str, media_type: str = "") -> dict[str, Any]:
    upload = SimpleUploadedFile(name, content, content_type=media_type or "text/plain")
    return {"kind": "page", "ref": "doc", "file": upload}


def test_a_text_is_learnt_listed_read_found_and_forgotten(api):
    client = api("responder")
    answer = client.post(URL, RUNBOOK, JSON)
    assert answer.status_code == 201
    row = answer.json()
    assert (row["version"], row["characters"]) == (1, len(RUNBOOK["text"]))
    assert client.get(URL).json()["results"] == [row]
    assert client.get(f"{URL}{row['id']}/").json() == {**row, "text": RUNBOOK["text"]}
    (excerpt,) = knowledge.search("pool exhausted", 5)
    assert (excerpt.id, excerpt.uri) == ("runbook:pool#1", RUNBOOK["uri"])
    assert client.delete(f"{URL}{row['id']}/").status_code == 204
    assert client.get(f"{URL}{row['id']}/").status_code == 404
    assert knowledge.search("pool exhausted", 5) == ()
    actions = AuditEntry.objects.order_by("sequence").values_list("action", "target")
    assert list(actions)[-2:] == [
        ("knowledge.learn", "knowledge:runbook:pool"),
        ("knowledge.forget", "knowledge:runbook:pool"),
    ]


def test_a_body_nested_too_deeply_is_a_bad_request(api):
    assert is_problem(api("admin").post(URL, "[" * 100_000, JSON), 400, "body")


def test_learning_the_same_again_changes_nothing_and_something_else_is_a_new_version(api):
    client = api("responder")
    client.post(URL, RUNBOOK, JSON)
    entries = AuditEntry.objects.count()
    again = client.post(URL, RUNBOOK, JSON)
    assert (again.status_code, again.json()["version"]) == (200, 1)
    assert AuditEntry.objects.count() == entries
    newer = client.post(URL, {**RUNBOOK, "text": "Do not."}, JSON)
    assert (newer.status_code, newer.json()["version"]) == (200, 2)
    assert AuditEntry.objects.count() == entries + 1


def test_the_list_is_filtered_by_kind(api):
    client = api("responder")
    client.post(URL, RUNBOOK, JSON)
    client.post(URL, {**RUNBOOK, "kind": "page"}, JSON)
    assert [row["kind"] for row in client.get(f"{URL}?kind=page").json()["results"]] == ["page"]
    assert is_problem(client.get(f"{URL}?kind=poem"), 400, "kind")


# --- Files -------------------------------------------------------------------------------------


def test_a_file_is_read_by_its_format_and_the_reading_is_in_the_ledger(api):
    document = docx.Document()
    document.add_paragraph("Fail over to the replica.")
    content = BytesIO()
    document.save(content)
    client = api("responder")
    answer = client.post(URL, file(content.getvalue(), "failover.docx", "application/octet-stream"))
    assert answer.status_code == 201
    assert answer.json()["title"] == "failover.docx"
    assert Knowledge.objects.get().text == "Fail over to the replica."
    call = AwsCall.objects.get()
    assert (call.service, call.operation, call.outcome) == ("local", "read", "succeeded")


@pytest.mark.parametrize(
    ("content", "name", "media_type", "why"),
    [
        (b"\x89PNG\r\n", "screen.png", "image/png", "pictures is not recognised"),
        (b"\x00\x01", "core.bin", "application/octet-stream", "application/octet-stream"),
        (b"%PDF-1.7 broken", "a.pdf", "application/pdf", "cannot be read"),
        (b"{", "a.json", "application/json", "not JSON"),
        (b" \n ", "empty.txt", "text/plain", "no text"),
    ],
)
def test_what_nobody_can_read_is_refused_with_the_reason(api, content, name, media_type, why):
    answer = api("responder").post(URL, file(content, name, media_type))
    assert is_problem(answer, 422, "file")
    assert why in answer.json()["errors"]["file"][0]
    assert not Knowledge.objects.exists()


def test_what_cannot_be_read_here_is_read_by_textract_where_that_can_be_asked(api, emulator):
    scan = file(b"%PDF-1.7\nFail over.", "scan.pdf", "application/pdf")
    assert api("responder").post(URL, scan).status_code == 201
    assert Knowledge.objects.get().text == "Fail over."
    assert AwsCall.objects.filter(service="textract", outcome="succeeded").exists()


def test_a_reader_that_is_away_is_a_503_that_can_be_tried_again(api, emulator, monkeypatch):
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.0)
    for _ in range(3):
        emulator.inject(
            "error", operation="DetectDocumentText", code="ThrottlingException", status=429
        )
    answer = api("responder").post(URL, file(b"a picture of words", "screen.png", "image/png"))
    assert is_problem(answer, 503)
    assert not Knowledge.objects.exists()


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("app.log", "application/octet-stream"), ("app.log.7", ""), ("app.log", "text/x-log")],
)
def test_a_text_under_any_name_is_read_as_text(api, name, media_type):
    upload = file(b"pool exhausted\n", name, media_type or "application/octet-stream")
    assert api("responder").post(URL, upload).status_code == 201
    assert Knowledge.objects.get().text == "pool exhausted"


# --- Refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "poem"}, "kind"),
        ({"ref": ""}, "ref"),
        ({"ref": "x" * 201}, "ref"),
        ({"ref": "\x00"}, "ref"),
        ({"title": "x" * 301}, "title"),
        ({"text": ""}, "text"),
        ({"text": "\ud800"}, "text"),
        ({"uri": "x" * 1001}, "uri"),
    ],
)
def test_a_wrong_field_is_named(api, change, field):
    answer = api("responder").post(URL, json.dumps({**RUNBOOK, **change}), JSON)
    assert is_problem(answer, 400, field)


def test_a_document_is_either_a_text_or_a_file(api):
    client = api("responder")
    neither = {name: RUNBOOK[name] for name in ("kind", "ref")}
    assert is_problem(client.post(URL, neither, JSON), 400, "text")
    assert is_problem(client.post(URL, {**file(b"x", "a.txt"), "text": "y"}), 400, "text")


def test_a_document_beyond_five_megabytes_is_refused_in_either_form(api):
    client = api("responder")
    large = "x" * MOST_BYTES
    assert is_problem(client.post(URL, {**RUNBOOK, "text": large}, JSON), 413, "text")
    assert is_problem(client.post(URL, file(large.encode() + b"x", "a.txt")), 413, "file")
    assert is_problem(client.post(URL, file(b"x" * (6 * 1024 * 1024), "a.txt")), 413, "file")
    assert not Knowledge.objects.exists()


def test_a_document_of_almost_five_megabytes_is_taken_in_either_form(api):
    words = "a line of words\n" * 300_000
    assert api("responder").post(URL, {**RUNBOOK, "text": words}, JSON).status_code == 201
    assert api("responder").post(URL, file(words.encode(), "a.txt")).status_code == 201


def test_reading_is_for_everybody_and_writing_for_responders(api):
    client = api("viewer")
    assert client.get(URL).status_code == 200
    assert is_problem(client.post(URL, RUNBOOK, JSON), 403)
    row = knowledge.learn(RUNBOOK["kind"], "pool", title="t", text="t")  # type: ignore[arg-type]  # the word will do
    assert is_problem(client.delete(f"{URL}{row.pk}/"), 403)
