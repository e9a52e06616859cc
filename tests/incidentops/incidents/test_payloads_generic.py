from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from incidentops.incidents.payloads import AlertIn, Malformed, fingerprint_of, parse

SAMPLES = Path(__file__).parents[2] / "data/intake"
AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BEGAN = datetime(2026, 11, 22, 11, 40, tzinfo=UTC)
FOREIGN = {
    "alerts": "checks",
    "fingerprint": "join('/', ['check', to_string(id)])",
    "title": "check",
    "description": "text",
    "status": "state",
    "severity": "prio",
    "service": "$.host.name",
    "starts_at": "since",
    "ends_at": "until",
    "url": "link",
    "labels": "tags",
    "status_values": {"firing": [1, 2], "resolved": [0]},
    "severity_values": {"high": ["p1"]},
}


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def read(document: Any, mapping: dict[str, Any] | None = None) -> tuple[AlertIn, ...]:
    config = {"mapping": mapping} if mapping else {}
    return parse("generic", document, config=config, at=AT).alerts


def test_without_a_mapping_the_fields_have_their_own_names() -> None:
    (one,) = read(sample("generic"))
    assert one == AlertIn(
        fingerprint="disk-7",
        status="firing",
        severity="high",
        title="Disk almost full",
        description="93 % of /var is used.",
        service="storage",
        labels={"host": "db-3", "mount": "/var", "percent": "93", "read_only": "false"},
        url="https://monitor.example/checks/7",
        starts_at=BEGAN,
    )


@pytest.mark.parametrize("wrap", [lambda one: [one, one], lambda one: {"alerts": [one, one]}])
def test_a_document_may_be_a_list_or_hold_one(wrap: Any) -> None:
    assert read(wrap(sample("generic"))) == read(sample("generic")) * 2


def test_a_mapping_reads_a_sender_nobody_has_seen() -> None:
    lag, connections = read(sample("generic_foreign"), FOREIGN)
    assert lag == AlertIn(
        fingerprint="check/17",
        status="firing",
        severity="high",
        title="replication_lag",
        description="lag 340 s",
        service="db-3",
        labels={"shard": "4", "primary": "true"},
        url="https://monitor.example/17",
        starts_at=BEGAN.replace(microsecond=123000),
    )
    assert (connections.status, connections.severity) == ("resolved", "low")
    assert connections.ends_at == BEGAN


def test_a_mapping_that_finds_one_object_finds_one_alert() -> None:
    (one,) = read({"event": {"name": "x"}}, {"alerts": "event", "title": "name"})
    assert (one.title, one.status) == ("x", "firing")


@pytest.mark.parametrize(
    "value",
    [1795347600, 1795347600.0, 1795347600000, "1795347600", "2026-11-22T11:40:00Z",
     "2026-11-22T12:40:00+01:00", "2026-11-22 11:40:00"],
)  # fmt: skip
def test_times_are_rfc_3339_or_epoch_seconds_or_milliseconds(value: Any) -> None:
    (one,) = read({"title": "x", "starts_at": value})
    assert one.starts_at == BEGAN


def test_what_names_an_alert_is_its_fingerprint_unless_it_brings_one() -> None:
    named = {"title": "x", "service": "s", "labels": {"host": "a"}}
    (one,) = read(named)
    assert one.fingerprint == fingerprint_of({"host": "a", "title": "x", "service": "s"})
    assert read(named | {"description": "again"})[0].fingerprint == one.fingerprint
    assert read(named | {"title": "y"})[0].fingerprint != one.fingerprint


def test_an_alert_that_has_ended_is_resolved() -> None:
    assert read({"title": "x", "ends_at": 1795347600})[0].status == "resolved"
    assert read({"title": "x", "ends_at": 1895347600})[0].status == "firing"


@pytest.mark.parametrize(("word", "status"), [("OK", "resolved"), ("Alerting", "firing")])
def test_common_words_for_a_status_are_understood(word: str, status: str) -> None:
    assert read({"title": "x", "status": word})[0].status == status


def test_a_long_fingerprint_is_hashed() -> None:
    (one,) = read({"title": "x", "fingerprint": "f" * 5000})
    assert one.fingerprint.startswith("sha256:")


@pytest.mark.parametrize("name", ["fingerprint", "dedup_key"])
def test_a_recovery_needs_no_more_than_the_name_of_what_recovered(name: str) -> None:
    (one,) = read({name: "disk-7", "status": "resolved"})
    assert (one.fingerprint, one.status, one.title) == ("disk-7", "resolved", "")
    assert read({name: "disk-7", "title": "x"})[0].fingerprint == "disk-7"


def test_a_mapped_fingerprint_is_not_looked_for_elsewhere() -> None:
    document = {"id": 7, "dedup_key": "account", "title": "x"}
    assert read(document, {"fingerprint": "to_string(id)"})[0].fingerprint == "7"


@pytest.mark.parametrize(
    ("document", "mapping", "field"),
    [
        (5, None, "body"),
        ({"fingerprint": "disk-7"}, None, "title"),
        ({"fingerprint": "disk-7", "status": "firing"}, None, "title"),
        ({"status": "resolved"}, None, "title"),
        ({"dedup_key": [], "status": "resolved"}, None, "dedup_key"),
        ([5], None, "body[0]"),
        ({}, None, "title"),
        ({"alerts": [{"title": "a"}, {"title": {}}]}, None, "alerts[1].title"),
        ({"title": "x", "status": "strange"}, None, "status"),
        ({"title": "x", "labels": {"a": [1]}}, None, "labels.a"),
        ({"title": "x", "labels": ["a"]}, None, "labels"),
        ({"title": "x", "starts_at": True}, None, "starts_at"),
        ({"title": "x", "starts_at": 1e300}, None, "starts_at"),
        ({"title": "x", "starts_at": 10**30}, None, "starts_at"),
        ({"title": "x"}, {"alerts": "missing"}, "alerts"),
        ({"items": [{"n": 1}]}, {"alerts": "items", "title": "length(n)"}, "alerts[0].title"),
    ],
)
def test_a_refusal_names_the_field(document: Any, mapping: Any, field: str) -> None:
    with pytest.raises(Malformed) as refusal:
        read(document, mapping)
    assert refusal.value.field == field
