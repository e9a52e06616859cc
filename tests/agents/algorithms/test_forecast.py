from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.algorithms import forecast
from agents.algorithms.forecast import Forecast, NotEnoughData
from tests.narrowing import known


def at(n: int) -> np.ndarray:
    return 1_700_000_000.0 + 60.0 * np.arange(n)


def predicted(values, **options) -> Forecast:
    values = np.asarray(values, dtype=np.float64)
    found = forecast.forecast(at(values.size), values, **{"horizon_seconds": 3600, **options})
    assert isinstance(found, Forecast)
    return found


def test_a_rise_is_followed_and_its_crossing_timed():
    values = 50 + 0.5 * np.arange(60) + np.random.default_rng(1).normal(0, 0.5, 60)

    future = predicted(values)
    crossing = forecast.time_to_threshold(future, threshold=90.0, comparison=">")

    truth = (90 - (50 + 0.5 * 59)) / 0.5 * 60
    assert future.is_trending
    assert known(crossing.low) < truth < known(crossing.high)
    assert crossing.seconds == pytest.approx(truth, rel=0.1)


def test_noise_has_no_trend_and_leads_nowhere():
    trending = 0
    for seed in range(100):
        future = predicted(np.random.default_rng(seed).normal(10, 1, 60))
        trending += future.is_trending
        if not future.is_trending:
            crossing = forecast.time_to_threshold(future, threshold=20, comparison=">")
            assert crossing.seconds is None

    assert trending <= 8


def test_a_wandering_series_is_not_taken_for_a_trend_as_often_as_its_neighbours_suggest():
    rng = np.random.default_rng(7)
    trending = 0
    for _ in range(100):
        shocks, values = rng.normal(0, 1, 60), np.zeros(60)
        for i in range(1, 60):
            values[i] = 0.6 * values[i - 1] + shocks[i]
        trending += predicted(values).is_trending

    assert trending <= 15


def test_the_band_covers_what_comes_about_as_often_as_it_says():
    inside = []
    for seed in range(50):
        values = np.random.default_rng(seed).normal(10, 2, 132)
        future = predicted(values[:120], horizon_seconds=720, steps=12)
        inside.append((future.lower <= values[120:]) & (values[120:] <= future.upper))

    assert 0.9 <= np.mean(inside) <= 0.99


def test_outliers_do_not_bend_the_trend():
    values = 1.0 * np.arange(60)
    values[[10, 30, 50]] = 900

    assert predicted(values).slope * 60 == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize(
    ("comparison", "threshold", "expected"),
    [(">", 9, True), (">=", 10, True), (">", 10, False), ("<", 11, True), ("<", 10, False)],
)
def test_a_passed_threshold_is_breached_already(comparison, threshold, expected):
    future = predicted(np.full(20, 10.0))

    crossing = forecast.time_to_threshold(future, threshold=threshold, comparison=comparison)

    assert crossing.is_breached is expected
    assert (crossing.seconds == 0.0) is expected


def test_a_trend_away_from_the_threshold_never_gets_there():
    future = predicted(100 - np.arange(30.0))

    crossing = forecast.time_to_threshold(future, threshold=200, comparison=">")

    assert (crossing.seconds, crossing.low, crossing.high) == (None, None, None)


def test_too_few_points_are_said_to_be_too_few():
    found = forecast.forecast(at(5), np.arange(5.0), horizon_seconds=60)

    assert found == NotEnoughData(have=5, needed=forecast.NEEDED_POINTS)


@given(
    st.lists(st.integers(-100, 100), min_size=12, max_size=40),
    st.sampled_from([0.5, 8.0]),
    st.integers(-1000, 1000),
)
def test_scale_and_shift_pass_through(numbers, factor, shift):
    values = np.array(numbers, dtype=np.float64)

    one, two = predicted(values), predicted(values * factor + shift)

    np.testing.assert_allclose(two.mean, one.mean * factor + shift, atol=1e-6)
    np.testing.assert_allclose(two.upper, one.upper * factor + shift, atol=1e-6)
    assert (one.lower <= one.mean).all()
    assert (one.mean <= one.upper).all()
