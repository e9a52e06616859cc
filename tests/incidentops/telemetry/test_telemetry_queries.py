from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from incidentops.telemetry import queries
from incidentops.telemetry.models import Change, LogLine, Sample, Series
from tests.factories import make_service

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 8, 12, tzinfo=UTC)
UNTIL = START + timedelta(minutes=10)


def make_series(service: str, metric: str, minutes: range = range(10)) -> Series:
    series = Series.objects.create(service=service, metric=metric, key=f"{service}/{metric}")
    Sample.objects.bulk_create(
        Sample(series=series, at=START + timedelta(minutes=minute), value=minute)
        for minute in minutes
    )
    return series


def test_series_are_bounded_in_time_points_and_number(django_assert_num_queries):
    for metric in ("a", "b", "c"):
        make_series("cart", metric, range(-5, 15))
    make_series("cart", "0 outside", range(20, 25))
    make_series("other", "a")
    with django_assert_num_queries(2):
        found = queries.series_for("cart", since=START, until=UNTIL, limit_series=2, limit_points=3)
    assert [series.metric for series in found] == ["a", "b"]
    assert all(series.values.tolist() == [7, 8, 9] for series in found)
    assert found[0].at.tolist() == [(START + timedelta(minutes=m)).timestamp() for m in (7, 8, 9)]


def test_a_range_is_half_open_and_several_services_may_be_asked():
    make_series("cart", "a", range(11))
    make_series("other", "a", range(11))
    found = queries.series_for(["cart", "other"], since=START, until=UNTIL)
    assert [(series.service, series.values.size) for series in found] == [
        ("cart", 10),
        ("other", 10),
    ]


@pytest.mark.parametrize("fraction", [0, 1, 250_000, 999_999])
def test_instants_keep_their_microseconds(fraction):
    at = START + timedelta(microseconds=fraction)
    Sample.objects.create(series=make_series("cart", "a", range(0)), at=at, value=1)
    (series,) = queries.series_for("cart", since=START, until=UNTIL)
    assert series.at[0] == pytest.approx(at.timestamp(), abs=1e-6)


def test_a_service_without_samples_has_no_series():
    make_series("cart", "a", range(0))
    assert queries.series_for("cart", since=START, until=UNTIL) == []


def test_the_neighbourhood_grows_hop_by_hop_in_both_directions(django_assert_max_num_queries):
    database = make_service("database")
    store = make_service("store", depends_on=(database,))
    cart = make_service("cart", depends_on=(store,))
    make_service("web", depends_on=(cart,))
    make_service("alone")
    found = {}
    for hops in range(3):
        with django_assert_max_num_queries(hops + 3):
            found[hops] = queries.services_around(["store", "unknown"], hops=hops)
    assert {s.name for s in found[0]} == {"store"}
    assert {s.name for s in found[1]} == {"store", "cart", "database"}
    assert {s.name for s in found[2]} == {"store", "cart", "database", "web"}
    assert found[0][0].depends_on == ()
    assert {s.name: s.depends_on for s in found[1]}["cart"] == ("store",)
    assert len(queries.services_around(["store"], hops=2, limit=2)) == 2


def test_changes_and_logs_are_bounded():
    cart = make_service("cart")
    for minute in range(-1, 12):
        at = START + timedelta(minutes=minute)
        Change.objects.create(service=cart, kind="deploy", title=str(minute), at=at)
        LogLine.objects.create(service="cart", at=at, message=str(minute))
    changes = queries.changes_for(["cart"], since=START, until=UNTIL, limit=2)
    assert [change.title for change in changes] == ["9", "8"]
    logs = queries.logs_for(["cart"], since=START, until=UNTIL, limit=2)
    assert [line.message for line in logs] == ["8", "9"]
    assert queries.logs_for([], since=START, until=UNTIL) == []
