from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models import Sum
from django.utils.timezone import now
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from incidentops.incidents import intake, rates
from incidentops.incidents.intake import Receipt
from incidentops.incidents.models import Alert, Delivery, Source
from incidentops.realtime.models import OutboxEvent
from tests.factories import make_source
from tests.live import wait_for
from tests.threads import together

pytestmark = pytest.mark.django_db
SAMPLES = Path(__file__).parents[2] / "data/intake"
BEGAN = "2026-11-22T08:00:00Z"
ENDED = "2026-11-22T08:30:00Z"
AT_NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


def firing(name: str = "A", *, starts_at: str = BEGAN, **labels: str) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": name, **labels},
        "annotations": {},
        "startsAt": starts_at,
        "endsAt": "0001-01-01T00:00:00Z",
    }


def resolved(name: str = "A", *, starts_at: str = BEGAN, ends_at: str = ENDED) -> dict[str, Any]:
    return firing(name, starts_at=starts_at) | {"status": "resolved", "endsAt": ends_at}


def body(*alerts: dict[str, Any], **members: Any) -> bytes:
    return json.dumps({"version": "4", "alerts": alerts, **members}).encode()


def events() -> int:
    return OutboxEvent.objects.filter(type="alerts.received").count()


def test_a_delivery_keeps_its_body_and_tells_of_its_alerts() -> None:
    source = make_source()
    raw = (SAMPLES / "alertmanager.json").read_bytes()
    receipt = intake.receive(source, raw)
    # One of the three recovered before it was ever known: accepted, and nothing to keep.
    assert receipt.answer() == {"delivery": receipt.delivery, "accepted": 3, "duplicates": 0}
    delivery = Delivery.objects.get(pk=receipt.delivery)
    assert delivery.body.encode() == raw
    assert sorted(Alert.objects.values_list("fingerprint", "status", "count")) == [
        ("39f38c0611ee7abd", "firing", 1),
        ("f404ecabc8dd5cd7", "firing", 1),
    ]
    assert OutboxEvent.objects.get(type="alerts.received").data == {"delivery": delivery.pk}
    source.refresh_from_db()
    assert source.last_delivery_at == delivery.received_at


def test_a_repeated_alert_is_counted_not_repeated() -> None:
    source = make_source()
    intake.receive(source, body(firing("A"), firing("B")))
    receipt = intake.receive(source, body(firing("B"), firing("C"), firing("C")))
    assert (receipt.accepted, receipt.duplicates) == (3, 2)
    counts = dict(Alert.objects.values_list("title", "count"))
    assert counts == {"A": 1, "B": 2, "C": 2}


def test_the_same_fingerprint_of_two_sources_is_two_alerts() -> None:
    for _ in range(2):
        assert intake.receive(make_source(), body(firing())).duplicates == 0
    assert Alert.objects.count() == 2


def test_an_alert_changes_state_and_notes_when() -> None:
    source, at = make_source(), now()
    intake.receive(source, body(firing()), at=at)
    intake.receive(source, body(firing(), groupKey="2"), at=at + timedelta(minutes=1))
    alert = Alert.objects.get()
    assert (alert.state_changed_at, alert.last_received_at) == (at, at + timedelta(minutes=1))
    intake.receive(source, body(resolved()), at=at + timedelta(minutes=2))
    alert.refresh_from_db()
    assert (alert.status, alert.count, alert.is_current) == ("resolved", 3, True)
    assert alert.state_changed_at == at + timedelta(minutes=2)
    assert alert.received_at == at
    assert alert.ends_at == datetime(2026, 11, 22, 8, 30, tzinfo=UTC)


def test_an_alert_keeps_its_beginning_when_later_words_leave_it_out() -> None:
    source, began_at = make_source("generic"), datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

    def say(**fields: str) -> Alert:
        intake.receive(source, json.dumps({"title": "Disk full", **fields}).encode())
        return Alert.objects.get()

    assert say(starts_at=began_at.isoformat()).starts_at == began_at
    assert say().starts_at == began_at
    assert say(status="resolved").starts_at == began_at
    assert say(status="firing").starts_at is None


def test_the_recovery_of_an_unknown_alert_creates_nothing() -> None:
    receipt = intake.receive(make_source(), body(resolved()))
    assert (receipt.accepted, receipt.duplicates) == (1, 0)
    assert Alert.objects.count() == 0
    assert events() == 0


def test_what_fires_after_its_row_is_past_is_a_new_alert() -> None:
    source = make_source()
    intake.receive(source, body(firing()))
    Alert.objects.update(is_current=False)
    receipt = intake.receive(source, body(firing()))
    assert (receipt.replayed, receipt.duplicates) == (False, 0)
    assert Alert.objects.count() == 2


# --- Idempotency


def test_the_same_body_within_ten_minutes_has_no_new_effect() -> None:
    source, at = make_source(), now()
    first = intake.receive(source, body(firing()), at=at)
    again = intake.receive(source, body(firing()), at=at + timedelta(minutes=9))
    assert again.answer() == {**first.answer(), "replayed": True}
    assert (Delivery.objects.count(), Alert.objects.get().count, events()) == (1, 1, 1)
    later = intake.receive(source, body(firing()), at=at + timedelta(minutes=11))
    assert not later.replayed
    assert Alert.objects.get().count == 2


def test_the_same_body_counts_again_once_an_alert_in_it_changed_state() -> None:
    source = make_source()
    intake.receive(source, body(firing("A"), firing("B")))
    intake.receive(source, body(resolved("B")))
    again = intake.receive(source, body(firing("A"), firing("B")))
    assert not again.replayed
    assert set(Alert.objects.values_list("status", flat=True)) == {"firing"}
    assert intake.receive(source, body(firing("A"), firing("B"))).replayed


def test_the_same_body_of_prometheus_has_no_new_effect() -> None:
    source = make_source("prometheus")
    ends_at = (now() + timedelta(minutes=4)).isoformat()
    raw = json.dumps([{"labels": {"alertname": "A"}, "startsAt": BEGAN, "endsAt": ends_at}])
    assert not intake.receive(source, raw.encode()).replayed
    assert intake.receive(source, raw.encode()).replayed


@pytest.mark.parametrize("name", ["fingerprint", "dedup_key"])
def test_a_generic_recovery_by_name_alone_resolves_the_alert_and_leaves_its_words(
    name: str,
) -> None:
    source = make_source("generic")
    alert = {
        name: "disk-7",
        "title": "Disk full",
        "description": "97 % used",
        "severity": "critical",
        "service": "db",
        "labels": {"host": "a"},
        "url": "https://example.org/d",
    }
    intake.receive(source, json.dumps(alert | {"status": "firing"}).encode())
    known = Alert.objects.values(
        "title", "description", "severity", "service", "labels", "url", "starts_at"
    )
    (before,) = known
    receipt = intake.receive(source, json.dumps({name: "disk-7", "status": "resolved"}).encode())
    assert (receipt.accepted, receipt.duplicates) == (1, 1)
    assert list(known.all()) == [before]
    row = Alert.objects.get()
    assert (row.status, row.count) == ("resolved", 2)
    # Nobody knows this one, so there is nothing to end.
    other = intake.receive(source, json.dumps({name: "disk-8", "status": "resolved"}).encode())
    assert (other.accepted, other.duplicates) == (1, 0)
    assert Alert.objects.count() == 1


def test_a_generic_body_is_never_taken_for_a_repetition() -> None:
    source = make_source("generic")
    for count in (1, 2):
        assert not intake.receive(source, b'{"title": "x"}').replayed
        assert Alert.objects.get().count == count


@pytest.mark.parametrize("kind", ["alertmanager", "generic"])
def test_the_same_key_is_the_same_delivery_whatever_the_body(kind: str) -> None:
    source = make_source(kind)
    raw = body(firing()) if kind == "alertmanager" else b'{"title": "x"}'
    first = intake.receive(source, raw, key="k1")
    for other in (raw, b'{"alerts": []}', b"not even JSON"):
        again = intake.receive(source, other, key="k1")
        assert again.answer() == {**first.answer(), "replayed": True}
    assert not intake.receive(source, raw, key="k2").replayed
    assert not intake.receive(make_source(kind), raw, key="k1").replayed


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", ["", "k"])
def test_of_equal_deliveries_at_once_one_has_an_effect(key: str) -> None:
    source = make_source()
    receipts = together(8, lambda _: intake.receive(source, body(firing()), key=key))
    assert len(receipts) == 8
    assert Counter(receipt.replayed for receipt in receipts) == {False: 1, True: 7}
    assert len({receipt.delivery for receipt in receipts}) == 1
    assert Alert.objects.get().count == 1


@pytest.mark.django_db(transaction=True)
def test_no_alert_is_lost_or_doubled_when_deliveries_overlap() -> None:
    source = make_source()
    names = [f"A{number}" for number in range(30)]

    def deliver(index: int) -> Receipt:
        some = names[index * 3 :] + names[: index * 3]
        return intake.receive(source, body(*map(firing, some), groupKey=str(index)))

    receipts = together(8, deliver)
    assert sum(receipt.accepted - receipt.duplicates for receipt in receipts) == 30
    assert set(Alert.objects.values_list("count", flat=True)) == {8}


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="one writer at a time")
def test_overlapping_deliveries_of_new_alerts_never_wait_for_each_other_in_a_circle() -> None:
    """The database would find out after a second, and for so long all of them would stand still."""
    source = make_source()
    circles: list[Exception] = []

    def note(execute: Any, *arguments: Any) -> Any:
        try:
            return execute(*arguments)
        except OperationalError as error:
            circles.append(error)
            raise

    def deliver(index: int) -> None:
        chosen = Random(index)
        with connection.execute_wrapper(note):
            for number in range(30):
                some = chosen.sample(range(number * 20, number * 20 + 200), 50)
                intake.receive(source, body(*[firing(f"A{i}") for i in some], groupKey=str(index)))

    together(6, deliver)
    assert not circles
    assert Alert.objects.aggregate(total=Sum("count")) == {"total": 6 * 30 * 50}


# --- Order


def test_a_delivery_that_was_held_up_does_not_undo_a_later_one() -> None:
    source, at = make_source(), now()
    intake.receive(source, body(firing()), at=at)
    intake.receive(source, body(resolved()), at=at + timedelta(seconds=30))
    intake.receive(source, body(firing(), groupKey="late"), at=at + timedelta(seconds=20))
    alert = Alert.objects.get()
    assert (alert.status, alert.count) == ("resolved", 3)


def test_a_recovery_from_an_earlier_trouble_does_not_end_the_present_one() -> None:
    source = make_source()
    intake.receive(source, body(firing(starts_at="2026-11-22T09:00:00Z")))
    intake.receive(source, body(resolved(starts_at=BEGAN, ends_at=ENDED)))
    alert = Alert.objects.get()
    assert (alert.status, alert.count) == ("firing", 2)
    assert alert.starts_at == datetime(2026, 11, 22, 9, tzinfo=UTC)


def test_a_late_body_of_prometheus_has_expired() -> None:
    source = make_source("prometheus")
    alert = {"labels": {"alertname": "A"}, "startsAt": BEGAN}
    soon = (now() + timedelta(minutes=4)).isoformat()
    intake.receive(source, json.dumps([alert | {"endsAt": soon}]).encode())
    intake.receive(source, json.dumps([alert | {"endsAt": ENDED}]).encode())
    expired = "2026-11-22T08:10:00Z"
    intake.receive(source, json.dumps([alert | {"endsAt": expired}]).encode())
    assert Alert.objects.get().status == "resolved"


# --- Rates


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A busy machine must not look like a Redis that is down."""
    monkeypatch.setattr(rates, "_TIMEOUT_SECONDS", 10)
    monkeypatch.setattr(rates, "_counts", rates.Counts())
    rates._client.cache_clear()
    yield
    rates._client.cache_clear()


def test_over_its_rate_a_source_is_stored_and_folded_into_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("incidentops.incidents.rates.time.time", lambda: 1_795_347_600.0)
    source = make_source(config={"limits": {"alerts_per_10s": 2}})
    assert not intake.receive(source, body(firing("A"), firing("B"))).coalesced
    repeated = intake.receive(source, body(firing("A"), groupKey="2"))
    assert repeated.answer()["coalesced"] is True
    assert (Delivery.objects.count(), Alert.objects.get(title="A").count) == (2, 2)
    assert events() == 1, "nothing new, so nobody is woken"
    assert intake.receive(source, body(firing("C"))).coalesced
    assert Alert.objects.get(title="C").status == "firing"
    assert intake.receive(source, body(resolved("A"))).coalesced
    assert Alert.objects.get(title="A").status == "resolved"
    assert events() == 3


def test_while_redis_is_down_each_process_counts_what_it_takes_itself(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    source = make_source(config={"limits": {"alerts_per_10s": 2, "bytes_per_10s": 100}})
    here, there = rates.Counts(), rates.Counts()
    assert [here.add(source.pk, "bytes_per_10s", 60, AT_NOON) for _ in range(2)] == [60, 120]
    assert there.add(source.pk, "bytes_per_10s", 60, AT_NOON) == 60
    assert not intake.receive(source, body(firing("A"), firing("B"))).coalesced
    assert "Redis failed" in caplog.text


def test_processes_count_together() -> None:
    source = make_source()
    here, there = rates.Counts(), rates.Counts()
    assert here.add(source.pk, "bytes_per_10s", 60, AT_NOON) == 60
    assert there.add(source.pk, "bytes_per_10s", 50, AT_NOON) == 110, "asked at its first one"
    here.add(source.pk, "bytes_per_10s", 5, AT_NOON)
    wait_for(lambda: here.add(source.pk, "bytes_per_10s", 0, AT_NOON) == 115)
    wait_for(lambda: there.add(source.pk, "bytes_per_10s", 0, AT_NOON) == 115)
    assert here.add(source.pk, "bytes_per_10s", 1, AT_NOON + 10) == 1, "another window"


def test_past_the_byte_rate_a_source_waits_for_the_next_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("incidentops.incidents.rates.time.time", lambda: 1_795_347_603.0)
    source = make_source(config={"limits": {"bytes_per_10s": 100}})
    assert rates.seconds_to_wait(source, size=100) is None
    assert rates.seconds_to_wait(source, size=1) == 7
    assert rates.seconds_to_wait(make_source(), size=1_000_000) is None


# --- Invariants

_names = st.sampled_from("ABCD")
_bodies = st.lists(st.lists(st.tuples(_names, st.booleans()), max_size=6), min_size=1, max_size=6)


class Accounting(TestCase):
    @given(_bodies)
    @settings(max_examples=40, deadline=None)
    def test_every_alert_is_counted_once_and_the_last_word_stands(
        self, bodies: list[list[tuple[str, bool]]]
    ) -> None:
        """Against a model in plain Python."""
        source, at = make_source(), now()
        counts: Counter[str] = Counter()
        states: dict[str, str] = {}
        for number, alerts in enumerate(bodies):
            last = dict(alerts)
            receipt = intake.receive(
                source,
                body(
                    *[firing(name) if fires else resolved(name) for name, fires in alerts],
                    groupKey=str(number),
                ),
                at=at + timedelta(seconds=number),
            )
            kept = {name for name in last if name in states or last[name]}
            fresh = kept - set(states)
            for name, _ in alerts:
                counts[name] += name in kept
            states |= {name: "firing" if last[name] else "resolved" for name in kept}
            assert receipt.accepted == len(alerts)
            assert receipt.duplicates == sum(name in kept for name, _ in alerts) - len(fresh)
        rows = Alert.objects.filter(source=source)
        assert {row.title: (row.status, row.count) for row in rows} == {
            name: (states[name], counts[name]) for name in states
        }


def test_a_large_group_is_written_whole() -> None:
    receipt = intake.receive(make_source(), body(*[firing(f"A{i}") for i in range(1200)]))
    assert receipt.accepted == 1200
    assert Alert.objects.count() == 1200


def test_intake_takes_a_fixed_number_of_statements(
    django_assert_max_num_queries: Any,
) -> None:
    source = make_source()
    with django_assert_max_num_queries(10):
        intake.receive(source, body(*[firing(f"A{i}") for i in range(100)]))
    assert connection.vendor in ("sqlite", "postgresql")
    assert Source.objects.count() == 1
