from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils.timezone import now

from incidentops.telemetry import bodies, push, queries, retention, tasks
from incidentops.telemetry.models import LogLine, Sample, Series
from tests.factories import make_user

pytestmark = pytest.mark.django_db
SAMPLES, LOGS = "/api/v1/telemetry/samples/", "/api/v1/telemetry/logs/"


@pytest.fixture
def pusher(client):
    client.force_login(make_user("responder"))
    return client


def post(client, url, body, kind="application/json", **options):
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post(url, text, content_type=kind, **options)


def series_rows(count: int = 3, *, service: str = "cart", metric: str = "latency", **fields):
    start = int(now().timestamp()) - 3600
    return [
        {"service": service, "metric": metric, "at": start + 15 * i, "value": float(i), **fields}
        for i in range(count)
    ]


def test_pushed_samples_come_back_as_arrays(pusher):
    answer = post(pusher, SAMPLES, {"samples": series_rows(4, labels={"pod": "a"}, unit="s")})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 4, "duplicates": 0})
    (series,) = queries.series_for("cart", since=now() - timedelta(hours=2), until=now())
    assert (series.metric, series.labels, series.unit) == ("latency", {"pod": "a"}, "s")
    assert series.values.tolist() == [0, 1, 2, 3]
    assert series.at[1] - series.at[0] == 15


def test_pushing_again_adds_nothing_and_says_so(pusher):
    body = {"samples": series_rows(3)}
    post(pusher, SAMPLES, body)
    body["samples"].append(series_rows(4)[3])
    body["samples"][0]["value"] = 99.0
    assert post(pusher, SAMPLES, body).json() == {"accepted": 4, "duplicates": 3}
    assert Sample.objects.count() == 4
    assert Sample.objects.earliest("at").value == 0, "the first value stands"


def test_a_sample_twice_in_one_body_is_a_duplicate(pusher):
    assert post(pusher, SAMPLES, series_rows(1) * 2).json() == {"accepted": 2, "duplicates": 1}


def test_ndjson_and_compact_rows_are_taken(pusher):
    start = now().timestamp() - 60
    lines = [
        json.dumps({"service": "a", "metric": "m", "points": [[start, 1], [start + 1, 2]]}),
        json.dumps({"service": "b", "metric": "m", "timestamp": start, "value": 3}),
    ]
    answer = post(pusher, SAMPLES, "\n".join(lines) + "\n", "application/x-ndjson")
    assert answer.json() == {"accepted": 3, "duplicates": 0}


def test_a_full_request_takes_a_handful_of_queries(pusher, django_assert_max_num_queries):
    body = series_rows(5000)
    for place, row in enumerate(body):
        row["metric"] = f"m{place % 50}"
    with django_assert_max_num_queries(20):
        answer = post(pusher, SAMPLES, body)
    assert answer.json() == {"accepted": 5000, "duplicates": 0}


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_value_that_is_no_number_is_refused_by_row_and_field(pusher, literal):
    good = json.dumps(series_rows(1)[0])
    answer = post(pusher, SAMPLES, f'[{good}, {{"service":"a","metric":"m","value":{literal}}}]')
    assert answer.status_code == 400
    assert answer["Content-Type"].startswith("application/problem+json")
    assert list(answer.json()["errors"]) == ["samples[1].value"]
    assert Sample.objects.count() == Series.objects.count() == 0


def test_a_label_with_too_many_values_is_refused_and_nothing_is_stored(pusher, monkeypatch):
    monkeypatch.setattr(push, "MAX_SERIES_PER_SERVICE", 5)
    rows = [series_rows(1, labels={"request": str(i)})[0] for i in range(6)]
    assert post(pusher, SAMPLES, rows[:5]).status_code == 202
    answer = post(pusher, SAMPLES, rows)
    assert answer.status_code == 400
    assert "'cart' would have 6 series" in answer.json()["errors"]["labels"][0]
    assert post(pusher, SAMPLES, series_rows(1, service="other")).status_code == 202


@pytest.mark.parametrize("url", [SAMPLES, LOGS])
def test_bodies_are_bounded(pusher, url):
    assert post(pusher, url, b" " * (bodies.MAX_BYTES + 1)).status_code == 413
    row = {"service": "a", "metric": "m", "value": 1, "message": "x"}
    assert post(pusher, url, [row] * 5001).status_code == 413
    assert post(pusher, url, [], "text/plain").status_code == 415
    assert post(pusher, url, [], headers={"Content-Encoding": "gzip"}).status_code == 415
    assert post(pusher, url, "{oops").status_code == 400
    assert post(pusher, url, "").status_code == 400


def test_an_idempotency_key_gives_the_first_answer_again(pusher):
    body = series_rows(2)
    key = {"Idempotency-Key": "a"}
    first, again = (
        post(pusher, SAMPLES, body, headers=key),
        post(pusher, SAMPLES, body, headers=key),
    )
    assert first.json() == again.json() == {"accepted": 2, "duplicates": 0}
    assert again["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("url", [SAMPLES, LOGS])
def test_pushing_needs_the_right_to(client, url):
    assert post(client, url, []).status_code in (401, 403)
    client.force_login(make_user("viewer"))
    assert post(client, url, []).status_code == 403
    assert client.get(url).status_code in (403, 405)


def test_log_lines_are_kept_once_per_push(pusher):
    line = {"service": "cart", "at": now().timestamp() - 9, "level": "ERROR", "message": "boom"}
    body = [line, line, line | {"message": "bang"}]
    assert post(pusher, LOGS, {"logs": body}).json() == {"accepted": 3, "duplicates": 0}
    assert post(pusher, LOGS, {"logs": body}).json() == {"accepted": 3, "duplicates": 3}
    found = queries.logs_for(["cart"], since=now() - timedelta(hours=1), until=now())
    assert sorted(row.message for row in found) == ["bang", "boom", "boom"]


def test_what_is_past_its_time_is_pruned_in_bites(pusher, monkeypatch):
    old = (now() - timedelta(days=20)).timestamp()
    rows = [{"service": "a", "metric": "old", "at": old + i, "value": 1} for i in range(7)]
    post(pusher, SAMPLES, [*rows, *series_rows(2)])
    post(pusher, LOGS, [{"service": "a", "at": old, "message": "x"}])
    Series.objects.update(created_at=now() - timedelta(days=20))
    monkeypatch.setattr(retention, "BATCH", 2)
    assert retention.prune(batches=1) == {"samples": 2, "logs": 1, "series": 0}
    tasks.prune()
    assert list(Series.objects.values_list("metric", flat=True)) == ["latency"]
    assert (Sample.objects.count(), LogLine.objects.count()) == (2, 0)
