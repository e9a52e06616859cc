from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidentops.incidents.payloads import (
    MAX_ALERTS,
    Batch,
    Malformed,
    NotJson,
    check_config,
    clean,
    document_of,
    fingerprint_of,
    parse,
    text_of,
)

SAMPLES = Path(__file__).parents[2] / "data/intake"
AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def read(kind: str, document: Any, config: dict[str, Any] | None = None) -> Batch:
    return parse(kind, document, config=config or {}, at=AT)


def body_of(*alerts: dict[str, Any]) -> dict[str, Any]:
    return {"version": "4", "status": "firing", "alerts": list(alerts)}


def alert(**members: Any) -> dict[str, Any]:
    return {"status": "firing", "labels": {"alertname": "A"}, **members}


# --- Fingerprints


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        # prometheus/common, model/signature_test.go
        ({}, "cbf29ce484222325"),
        ({"name": "garland, briggs", "fear": "love is not enough"}, f"{5799056148416392346:016x}"),
    ],
)
def test_a_fingerprint_is_the_one_prometheus_publishes(
    labels: dict[str, str], expected: str
) -> None:
    assert fingerprint_of(labels) == expected


def test_a_fingerprint_is_the_one_alertmanager_sends() -> None:
    for entry in sample("alertmanager")["alerts"]:
        assert fingerprint_of(entry["labels"]) == entry["fingerprint"]


@given(st.dictionaries(st.text().map(clean), st.text().map(clean)), st.randoms())
def test_a_fingerprint_does_not_depend_on_the_order_of_labels(
    labels: dict[str, str], rng: Any
) -> None:
    items = list(labels.items())
    rng.shuffle(items)
    assert fingerprint_of(dict(items)) == fingerprint_of(labels)


# --- Alertmanager


def test_a_group_may_mix_firing_and_resolved_alerts() -> None:
    first, second, third = read("alertmanager", sample("alertmanager")).alerts
    assert [first.status, second.status, third.status] == ["firing", "resolved", "firing"]
    assert first.fingerprint == "f404ecabc8dd5cd7"
    assert first.title == "InstanceDown"
    assert first.severity == "critical"
    assert first.service == "node"
    assert first.description.startswith("localhost:8081")
    assert first.url.startswith("http://prometheus.example")
    assert first.starts_at == datetime(2026, 11, 22, 8, 24, 38, 326784, tzinfo=UTC)
    assert first.ends_at is None
    assert second.ends_at == datetime(2026, 11, 22, 8, 30, 38, 326784, tzinfo=UTC)


def test_an_old_body_without_fingerprints_gets_the_same_ones() -> None:
    (old,) = read("alertmanager", sample("alertmanager_before_fingerprints")).alerts
    assert old.fingerprint == "f404ecabc8dd5cd7"
    assert old.status == "firing"
    assert old.starts_at == datetime(2016, 12, 5, 17, 12, 6, 700000, tzinfo=UTC)


def test_empty_times_and_fingerprints_are_none() -> None:
    batch = read("alertmanager", sample("alertmanager_heartbeat"))
    (watchdog,) = batch.alerts
    assert watchdog.starts_at is None
    assert watchdog.fingerprint == fingerprint_of(watchdog.labels)
    assert watchdog.severity == "low"
    assert batch.truncated == 7


def test_a_body_without_alerts_is_a_body() -> None:
    assert read("alertmanager", body_of()).alerts == ()


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "body"),
        ({}, "alerts"),
        ({"alerts": None}, "alerts"),
        ({"alerts": {}}, "alerts"),
        (body_of() | {"version": "5"}, "version"),
        (body_of() | {"truncatedAlerts": -1}, "truncatedAlerts"),
        (body_of() | {"truncatedAlerts": 1e9}, "truncatedAlerts"),
        ({"alerts": [{"labels": {"a": "b"}}]}, "status"),
        (body_of(alert(), 7), "alerts[1]"),  # type: ignore[arg-type]  # what the test is about
        (body_of(alert(status="pending")), "alerts[0].status"),
        (body_of(alert(status=["firing"])), "alerts[0].status"),
        (body_of(alert(labels=None)), "alerts[0].labels"),
        (body_of(alert(labels={})), "alerts[0].labels"),
        (body_of(*[alert()] * 3, alert(labels={"severity": 5})), "alerts[3].labels.severity"),
        (body_of(alert(labels={"": "x"})), "alerts[0].labels"),
        (body_of(alert(labels={"a": "x" * 5000})), "alerts[0].labels.a"),
        (body_of(alert(labels={str(i): "x" for i in range(200)})), "alerts[0].labels"),
        (body_of(alert(annotations={"summary": {}})), "alerts[0].annotations.summary"),
        (body_of(alert(startsAt="yesterday")), "alerts[0].startsAt"),
        (body_of(alert(startsAt="2026-02-30T00:00:00Z")), "alerts[0].startsAt"),
        (body_of(alert(startsAt="9999-12-31T23:59:59-10:00")), "alerts[0].startsAt"),
        (body_of(alert(startsAt=5)), "alerts[0].startsAt"),
        (body_of(alert(generatorURL=[])), "alerts[0].generatorURL"),
        (body_of(alert(fingerprint=1)), "alerts[0].fingerprint"),
        (body_of(alert(fingerprint="f" * 300)), "alerts[0].fingerprint"),
        (body_of(*[alert()] * (MAX_ALERTS + 1)), "alerts"),
    ],
)
def test_a_refusal_names_the_member_at_fault(document: Any, field: str) -> None:
    with pytest.raises(Malformed) as refusal:
        read("alertmanager", document)
    assert refusal.value.field == field
    assert refusal.value.reason


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00-05:00",
        "0002-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "",
        None,
    ],
)
def test_the_zero_of_a_clock_is_no_time(text: str | None) -> None:
    (one,) = read("alertmanager", body_of(alert(startsAt=text))).alerts
    assert one.starts_at is None


def test_an_alert_that_ends_at_the_zero_of_a_clock_has_not_ended() -> None:
    (one,) = read("prometheus", [alert(endsAt="1970-01-01T00:00:00Z")]).alerts
    assert (one.status, one.ends_at) == ("firing", None)


def test_texts_for_display_are_cut_and_cleaned() -> None:
    (one,) = read(
        "alertmanager",
        body_of(
            alert(
                labels={"alertname": "A" * 1000, "x": "a\0b\ud800c"},
                annotations={"description": "d" * 100_000},
                generatorURL="javascript:alert(1)",
            )
        ),
    ).alerts
    assert len(one.title) == 300
    assert len(one.description) < 20_000
    assert one.labels["x"] == "a\ufffdb\ufffdc"
    assert one.url == ""


@pytest.mark.parametrize(
    ("labels", "title"),
    [
        ({"alertname": "A"}, "A"),
        ({"job": "x"}, "Summary"),
    ],
)
def test_a_title_falls_back_to_the_summary(labels: dict[str, str], title: str) -> None:
    (one,) = read(
        "alertmanager", body_of(alert(labels=labels, annotations={"summary": "Summary"}))
    ).alerts
    assert one.title == title


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("page", "critical"),
        ("CRITICAL", "critical"),
        ("error", "high"),
        ("warning", "medium"),
        ("info", "low"),
        ("whatever", "medium"),
    ],
)
def test_severity_words_mean_the_same_every_time(word: str, severity: str) -> None:
    (one,) = read("alertmanager", body_of(alert(labels={"severity": word}))).alerts
    assert one.severity == severity


def test_a_source_may_name_its_labels_and_words() -> None:
    config = {
        "service_label": "team_service",
        "severity_label": "urgency",
        "severity_values": {"critical": ["Sofort"]},
    }
    labels = {"team_service": "billing", "service": "other", "urgency": "sofort"}
    (one,) = read("alertmanager", body_of(alert(labels=labels)), config).alerts
    assert (one.service, one.severity) == ("billing", "critical")


# --- Prometheus


def test_an_alert_of_prometheus_has_ended_when_its_end_has_passed() -> None:
    latency, down = read("prometheus", sample("prometheus")).alerts
    assert (latency.status, latency.ends_at) == ("firing", None)
    assert (down.status, down.ends_at) == (
        "resolved",
        datetime(2026, 11, 22, 11, 59, 15, 121000, tzinfo=UTC),
    )
    assert (latency.service, latency.severity) == ("checkout", "medium")
    assert down.service == "payments"


def test_to_prometheus_an_empty_label_is_no_label() -> None:
    latency = read("prometheus", sample("prometheus")).alerts[0]
    assert "replica" not in latency.labels
    assert latency.fingerprint == fingerprint_of(
        {"alertname": "HighLatency", "service": "checkout", "severity": "warning"}
    )


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "body"),
        ([{"labels": {}}], "body[0].labels"),
        ([{"labels": {"a": "b"}, "endsAt": 5}], "body[0].endsAt"),
        ([{"labels": {"a": "b"}}, {"labels": {"a": 1}}], "body[1].labels.a"),
    ],
)
def test_a_list_of_prometheus_is_refused_by_name(document: Any, field: str) -> None:
    with pytest.raises(Malformed) as refusal:
        read("prometheus", document)
    assert refusal.value.field == field


# --- JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 6000 + b"}",
        b"[" * 200_000,
        b'{"a": "\x00"}',
        b'{"a": "\xed\xa0\x80"}',
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(NotJson) as refusal:
        document_of(text_of(body))
    assert refusal.value.field == "body"


def test_a_byte_order_mark_is_no_obstacle() -> None:
    assert document_of(text_of(b"\xef\xbb\xbf{}")) == {}


# --- Configuration


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ([], "config"),
        ({"service_label": 5}, "config.service_label"),
        ({"prometheus_url": "prometheus:9090"}, "config.prometheus_url"),
        ({"prometheus_url": "http://ann:pass/word@prometheus"}, "config.prometheus_url"),
        ({"prometheus_url": "file:///etc/passwd"}, "config.prometheus_url"),
        ({"prometheus_url": "http://["}, "config.prometheus_url"),
        ({"severity_values": {"urgent": []}}, "config.severity_values.urgent"),
        ({"severity_values": {"high": "x"}}, "config.severity_values.high"),
        ({"mapping": []}, "config.mapping"),
        ({"mapping": {"titel": "x"}}, "config.mapping.titel"),
        ({"mapping": {"title": "a[["}}, "config.mapping.title"),
        ({"mapping": {"title": "(" * 900}}, "config.mapping.title"),
        ({"mapping": {"title": 5}}, "config.mapping.title"),
        (
            {"mapping": {"status_values": {"firing": [{}]}}},
            "config.mapping.status_values.firing[0]",
        ),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(config: Any, field: str) -> None:
    with pytest.raises(Malformed) as refusal:
        check_config("generic", config)
    assert refusal.value.field == field
