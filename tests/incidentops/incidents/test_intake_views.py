from __future__ import annotations

import gzip
import json
import logging
import zlib
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from incidentops.incidents import intake, sources
from incidentops.incidents.intake_views import MAX_BODY
from incidentops.incidents.models import Alert, DeadLetter, Delivery, Source
from incidentops.redaction import HideIntakeSecrets
from tests.factories import SECRET, make_source
from tests.incidentops.incidents.test_intake import body, firing, patient  # noqa: F401 - a fixture

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    return Client(enforce_csrf_checks=True, raise_request_exception=False)


def post(
    client: Client, url: str, data: bytes, *, content_type: str = "application/json", **headers: str
) -> Any:
    return client.post(
        url,
        data,
        content_type=content_type,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def bearer(secret: str = SECRET) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("end", ["", "/"])
def test_a_source_shows_its_secret_in_a_header_or_in_the_path(client: Client, end: str) -> None:
    source = make_source()
    for url, headers in [
        (f"/intake/{source.pk}{end}", bearer()),
        (f"/intake/{source.pk}/{SECRET}{end}", {}),
    ]:
        answer = post(client, url, body(firing(), groupKey=url), **headers)
        assert answer.status_code == 202, answer.content
        assert set(answer.json()) == {"delivery", "accepted", "duplicates"}
    assert Alert.objects.get().count == 2


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_prometheus_posts_below_its_path_prefix(client: Client, version: str) -> None:
    source = make_source("prometheus")
    alerts = json.dumps([{"labels": {"alertname": "A"}}]).encode()
    for url, headers in [
        (f"/intake/{source.pk}/{SECRET}/api/{version}/alerts", {}),
        (f"/intake/{source.pk}/api/{version}/alerts", bearer()),
    ]:
        assert post(client, url, alerts, **headers).status_code == 202


def test_an_unknown_source_and_a_wrong_secret_look_the_same(client: Client) -> None:
    source = make_source()
    disabled = make_source()
    Source.objects.filter(pk=disabled.pk).update(is_enabled=False)
    deleted = make_source()
    sources.delete(deleted, by="test")
    answers = [
        post(client, f"/intake/{source.pk}/", body(), **bearer("wrong")),
        post(client, f"/intake/{source.pk}/", body()),
        post(client, f"/intake/{source.pk}/wrong/", body()),
        post(client, f"/intake/{disabled.pk}/", body(), **bearer("wrong")),
        post(client, f"/intake/{deleted.pk}/", body(), **bearer()),
        post(client, "/intake/abcdef012345/", body(), **bearer()),
        post(client, "/intake/%00%ff/", body(), **bearer()),
        post(client, f"/intake/{'x' * 500}/", body(), **bearer("\xfc")),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0]["WWW-Authenticate"].startswith("Bearer")
    assert answers[0]["Content-Type"] == "application/problem+json"


def test_a_disabled_source_is_told_so(client: Client) -> None:
    source = make_source()
    sources.change(source, by="test", is_enabled=False)
    assert post(client, f"/intake/{source.pk}/", body(), **bearer()).status_code == 403


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch", "options"])
def test_alerts_are_posted(client: Client, method: str) -> None:
    answer = getattr(client, method)(f"/intake/{make_source().pk}/")
    assert (answer.status_code, answer["Allow"]) == (405, "POST")


def test_what_is_not_the_format_is_refused_by_field_and_kept(client: Client) -> None:
    source = make_source()
    url = f"/intake/{source.pk}/"
    wrong = body(firing() | {"labels": {"severity": 5}})
    for count in (1, 2):
        answer = post(client, url, wrong, **bearer())
        assert answer.status_code == 400
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.json()["field"] == "alerts[0].labels.severity"
        letter = DeadLetter.objects.get()
        assert (letter.body.encode(), letter.field, letter.count) == (
            wrong,
            "alerts[0].labels.severity",
            count,
        )
    assert Delivery.objects.count() == 0


def test_what_is_no_json_is_refused_and_not_kept(client: Client) -> None:
    answer = post(client, f"/intake/{make_source().pk}/", b"{", **bearer())
    assert (answer.status_code, answer.json()["field"]) == (400, "body")
    assert DeadLetter.objects.count() == 0


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("gzip", lambda data: gzip.compress(data[:10]) + gzip.compress(data[10:])),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data)[2:-4]),
        ("identity", lambda data: data),
    ],
)
def test_bodies_may_be_compressed(client: Client, encoding: str, compress: Any) -> None:
    answer = post(
        client,
        f"/intake/{make_source().pk}/",
        compress(body(firing())),
        Content_Encoding=encoding,
        **bearer(),
    )
    assert answer.status_code == 202, answer.content


@pytest.mark.parametrize(
    ("data", "encoding", "status"),
    [
        (b" " * (MAX_BODY + 1), "identity", 413),
        (gzip.compress(b" " * 200_000_000, 1), "gzip", 413),
        (zlib.compress(b" " * 200_000_000, 1), "deflate", 413),
        (gzip.compress(b" " * (MAX_BODY - 5)) + gzip.compress(b" " * 100), "gzip", 413),
        (gzip.compress(b"{}")[:-4], "gzip", 400),
        (b"{}", "gzip", 400),
        (b"{}", "deflate", 400),
        (b"{}", "br", 415),
    ],
)
def test_bodies_are_bounded_before_and_after_decompression(
    client: Client, data: bytes, encoding: str, status: int
) -> None:
    answer = post(
        client,
        f"/intake/{make_source().pk}/",
        data,
        Content_Encoding=encoding,
        **bearer(),
    )
    assert answer.status_code == status
    assert answer.json()["field"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json; charset=utf-8", 202),
        ("application/vnd.alertmanager+json", 202),
        ("", 202),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
    ],
)
def test_only_json_is_taken(client: Client, content_type: str, status: int) -> None:
    answer = post(
        client, f"/intake/{make_source().pk}/", body(), content_type=content_type, **bearer()
    )
    assert answer.status_code == status


def test_a_key_makes_a_delivery_one(client: Client) -> None:
    url = f"/intake/{make_source('generic').pk}/"
    first = post(client, url, b'{"title": "x"}', Idempotency_Key="k", **bearer())
    again = post(client, url, b'{"title": "x"}', Idempotency_Key="k", **bearer())
    assert again.status_code == 202
    assert again.json() == {**first.json(), "replayed": True}
    refused = post(client, url, b'{"title": "x"}', Idempotency_Key="k" * 201, **bearer())
    assert (refused.status_code, refused.json()["field"]) == (400, "Idempotency-Key")


def test_past_the_hard_byte_rate_a_source_is_told_when_to_come_again(client: Client) -> None:
    source = make_source(config={"limits": {"bytes_per_10s": 10}})
    answer = post(client, f"/intake/{source.pk}/", body(firing()), **bearer())
    assert answer.status_code == 429
    assert 1 <= int(answer["Retry-After"]) <= 10
    assert Delivery.objects.count() == 0


def test_without_a_database_the_sender_is_told_to_come_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source()

    def lost(*args: object, **kwargs: object) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(connection, "cursor", lost)
    answer = post(client, f"/intake/{source.pk}/", body(firing()), **bearer())
    monkeypatch.undo()
    assert answer.status_code == 503
    assert answer["Retry-After"]
    assert "connection" not in answer.json()["detail"]


def test_a_fault_of_ours_shows_no_traceback_and_no_secret(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_source()

    def broken(*args: object) -> None:
        raise KeyError("missing")

    monkeypatch.setattr(intake, "_upsert", broken)
    answer = post(client, f"/intake/{source.pk}/{SECRET}/", body(firing()))
    assert answer.status_code == 500
    assert b"Traceback" not in answer.content
    assert "Traceback" in caplog.text
    assert SECRET not in caplog.text
    assert Delivery.objects.count() == 0


def test_no_answer_writes_the_secret_into_the_log(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source = make_source()
    for path in (f"{source.pk}/{SECRET}/", f"{source.pk}/{SECRET}/api/v3/x", f"x/{SECRET}/"):
        for data in (body(), b"{", b"[]"):
            post(client, f"/intake/{path}", data)
        client.get(f"/intake/{path}")
        post(client, f"/intake/{path}", body(), content_type="text/plain")
    lines = [
        record.getMessage() for record in caplog.records if record.name != "django.db.backends"
    ]
    assert not [line for line in lines if SECRET in line]


def test_the_secret_is_taken_out_of_every_log_line() -> None:
    record = logging.LogRecord(
        "daphne.server",
        logging.WARNING,
        __file__,
        1,
        "Took too long: <WebRequest method=POST uri=%s clientproto=HTTP/1.1>",
        ("/intake/abcdef012345/s3cret_-x/api/v2/alerts?x=1",),
        None,
    )
    assert HideIntakeSecrets().filter(record)
    assert record.getMessage() == (
        "Took too long: <WebRequest method=POST"
        " uri=/intake/abcdef012345/[secret]/api/v2/alerts?x=1 clientproto=HTTP/1.1>"
    )


def test_no_row_holds_the_secret(client: Client) -> None:
    source, secret = sources.create(kind="alertmanager", name="one", by="test")
    post(client, f"/intake/{source.pk}/{secret}/", body(firing()))
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {table}")
            assert secret not in str(cursor.fetchall())
