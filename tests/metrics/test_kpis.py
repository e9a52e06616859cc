from __future__ import annotations

import json
import statistics as plain
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from incidentops.incidents.models import Incident, Severity, Status
from metrics import kpis, queries, windows
from tests.factories import make_incident
from tests.narrowing import known

AT = datetime(2026, 11, 8, 12, tzinfo=UTC)
KEYS = {
    "value", "low", "high", "n", "unit", "method", "definition", "previous", "change", "quality",
}  # fmt: skip


def resolve_at(at: datetime, *, seconds: float = 600, acknowledged: float | None = 60, **fields):
    """An incident resolved at `at`, `seconds` after it was detected."""
    detected_at = at - timedelta(seconds=seconds)
    return make_incident(
        fields.pop("status", Status.RESOLVED),
        detected_at=detected_at,
        acknowledged_at=(
            None if acknowledged is None else detected_at + timedelta(seconds=acknowledged)
        ),
        resolved_at=at,
        **fields,
    )


def numbers(window: str = "7d", origin: str = "live") -> dict:
    found: dict = kpis.compute(window, origin, at=AT)["kpis"]
    return found


def seed(count: int, generator: np.random.Generator) -> None:
    """Incidents of every kind over three weeks."""
    for _ in range(count):
        resolved_at = AT - timedelta(seconds=float(generator.uniform(0, 21 * 86_400)))
        seconds = float(generator.lognormal(7, 1))
        kind = generator.choice(
            ["resolved", "closed", "merged", "reopened", "failed", "open", "gameday", "unheard"]
        )
        if kind == "merged":
            resolve_at(resolved_at, seconds=seconds, status=Status.MERGED)
        elif kind == "open":
            make_incident(Status.TRIGGERED, detected_at=resolved_at, reopen_count=1)
        elif kind == "gameday":
            resolve_at(resolved_at, seconds=seconds, origin=Incident.Origin.GAMEDAY)
        else:
            resolve_at(
                resolved_at,
                seconds=seconds,
                status=Status.CLOSED if kind == "closed" else Status.RESOLVED,
                acknowledged=None if kind == "unheard" else seconds / 3,
                reopen_count=int(kind == "reopened"),
                failed_action_count=int(kind == "failed"),
            )


def recomputed(since: datetime, until: datetime) -> dict[str, float | None]:
    """The definitions once more, in plain Python over plain rows."""
    resolved = [
        incident
        for incident in Incident.objects.all()
        if incident.origin == "live"
        and incident.status in ("resolved", "closed")
        and since <= known(incident.resolved_at) < until
    ]
    times = [(known(i.resolved_at) - i.detected_at).total_seconds() for i in resolved]
    heard = [
        (i.acknowledged_at - i.detected_at).total_seconds() for i in resolved if i.acknowledged_at
    ]
    clean = [i for i in resolved if not i.reopen_count and not i.failed_action_count]
    return {
        "mttr": plain.fmean(times) if times else None,
        "mttr_median": plain.median(times) if times else None,
        "mtta": plain.fmean(heard) if heard else None,
        "incidents_handled": len(resolved),
        "success_rate": len(clean) / len(resolved) if resolved else None,
    }


@pytest.mark.django_db
def test_every_number_agrees_with_a_recomputation_from_plain_rows():
    seed(160, np.random.default_rng(4))
    found: dict = {}
    now: dict[str, float | None] = {}
    for days in (4, 7, 10):
        found = numbers(f"{days}d")
        now = recomputed(AT - timedelta(days=days), AT)
        before = recomputed(AT - timedelta(days=2 * days), AT - timedelta(days=days))
        for name, value in now.items():
            expected, earlier = known(value), known(before[name])
            assert found[name]["value"] == pytest.approx(expected), (days, name)
            assert found[name]["previous"] == pytest.approx(earlier), (days, name)
            assert found[name]["change"] == pytest.approx(expected - earlier), (days, name)
            if found[name]["low"] is not None:
                assert 0 <= found[name]["low"] <= expected <= found[name]["high"]
    assert found["mttr"]["n"] == found["success_rate"]["n"] == now["incidents_handled"]
    assert found["mttr"]["low"] is not None
    assert found["mttr"]["change_low"] < found["mttr"]["change"] < found["mttr"]["change_high"]


@pytest.mark.django_db
def test_the_answer_has_every_name_and_key_and_is_json():
    answer = kpis.compute("7d", "live", at=AT)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert tuple(answer["kpis"]) == kpis.NAMES
    assert all(set(entry) >= KEYS for entry in answer["kpis"].values())
    assert answer["window"]["from"] == "2026-11-01T12:00:00.000Z"
    assert answer["window"]["to"] == "2026-11-08T12:00:00.000Z"


@pytest.mark.django_db
def test_no_data_is_null_with_a_reason_and_never_a_number():
    found = numbers()
    for name in kpis.NAMES:
        if name in ("incidents_handled", "incidents_in_progress"):
            assert found[name]["value"] == found[name]["n"] == 0
        else:
            assert found[name]["value"] is None
            assert found[name]["reason"]
        assert found[name]["low"] is found[name]["high"] is None
        assert found[name]["quality"]["share"] is None


@pytest.mark.django_db
def test_what_is_not_measured_yet_says_so():
    seed(20, np.random.default_rng(1))
    for name in ("incidents_prevented", "cost_savings", "efficiency", "data_quality"):
        entry = numbers()[name]
        assert (entry["value"], entry["n"]) == (None, 0)
        assert entry["reason"]
        assert entry["definition"]


@pytest.mark.django_db
def test_a_window_has_its_first_instant_and_not_its_last():
    resolve_at(AT - timedelta(days=7))
    resolve_at(AT)
    resolve_at(AT - timedelta(microseconds=1))
    found = numbers()["incidents_handled"]
    assert (found["value"], found["previous"]) == (2, 0)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offsets=st.lists(st.integers(-3, 3), max_size=6), hours=st.integers(1, 48))
@pytest.mark.django_db
def test_every_resolution_belongs_to_exactly_one_of_two_adjoining_windows(offsets, hours):
    Incident.objects.all().delete()
    window = windows.parse(f"{hours}h", at=AT)
    borders = [window.previous.since, window.since, window.until]
    for offset in offsets:
        for border in borders:
            resolve_at(border + timedelta(microseconds=offset))
    later = queries.resolved_in(window, origin="live")
    earlier = queries.resolved_in(window.previous, origin="live")
    inside = Incident.objects.filter(
        resolved_at__gte=window.previous.since, resolved_at__lt=window.until
    )
    assert len(later) + len(earlier) == inside.count()
    assert not {row.resolved_at for row in later} & {row.resolved_at for row in earlier}


@pytest.mark.django_db
def test_a_reopened_incident_counts_once_and_as_a_failure_and_not_while_open():
    resolve_at(AT - timedelta(hours=1), reopen_count=2)
    resolve_at(AT - timedelta(hours=1))
    make_incident(Status.TRIGGERED, reopen_count=1)
    found = numbers()
    assert found["incidents_handled"]["value"] == 2
    assert found["success_rate"]["value"] == 0.5
    assert found["incidents_in_progress"]["value"] == 1


@pytest.mark.django_db
def test_exercises_never_mix_with_live_incidents():
    resolve_at(AT - timedelta(hours=1), seconds=100)
    resolve_at(AT - timedelta(hours=1), seconds=500, origin="gameday")
    assert numbers(origin="live")["mttr"]["value"] == 100
    assert numbers(origin="gameday")["mttr"]["value"] == 500


@pytest.mark.django_db
def test_stamps_that_are_missing_or_out_of_order_lower_the_quality():
    resolve_at(AT - timedelta(hours=1), acknowledged=None)
    resolve_at(AT - timedelta(hours=1), acknowledged=-5)
    resolve_at(AT - timedelta(hours=1), acknowledged=20)
    resolve_at(AT - timedelta(hours=1), acknowledged=40)
    entry = numbers()["mtta"]
    assert (entry["value"], entry["n"]) == (20, 3)
    assert entry["quality"]["share"] == 0.5
    assert (entry["quality"]["missing"], entry["quality"]["clamped"]) == (1, 1)
    assert len(entry["quality"]["flags"]) == 2


@pytest.mark.django_db
def test_open_incidents_are_counted_by_status_and_severity():
    make_incident(Status.TRIGGERED, severity=Severity.CRITICAL)
    make_incident(Status.TRIGGERED, severity=Severity.LOW)
    make_incident(Status.MITIGATED, severity=Severity.LOW)
    make_incident(Status.TRIGGERED, origin="gameday")
    resolve_at(AT)
    assert queries.in_progress(origin="live") == {
        "total": 3,
        "by_status": {"triggered": 2, "acknowledged": 0, "mitigated": 1},
        "by_severity": {"critical": 1, "high": 0, "medium": 0, "low": 2},
    }


@pytest.mark.django_db
def test_the_numbers_take_three_queries(django_assert_num_queries):
    seed(30, np.random.default_rng(1))
    with django_assert_num_queries(3):
        numbers()


@pytest.mark.django_db
def test_an_unknown_origin_is_refused():
    with pytest.raises(kpis.UnknownOrigin):
        numbers(origin="both")
