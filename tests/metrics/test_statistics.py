from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metrics import statistics
from tests.narrowing import known

durations = st.lists(st.floats(1, 1e6), min_size=1, max_size=60)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


# Newcombe 1998, Two-sided confidence intervals for the single proportion, table I, method 3.
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_a_rate_has_the_published_wilson_interval(successes, n, low, high):
    estimate = statistics.rate(successes, n)
    assert estimate.value == successes / n
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_rate_agrees_with_another_implementation(counts):
    successes, n = counts
    other = stats.binomtest(successes, n).proportion_ci(method="wilson")
    ours = statistics.rate(successes, n)
    assert (ours.low, ours.high) == pytest.approx((other.low, other.high), abs=1e-12)
    assert 0 <= known(ours.low) <= known(ours.value) <= known(ours.high) <= 1


# Newcombe 1998, Interval estimation for the difference between independent proportions, table II.
@pytest.mark.parametrize(
    ("later", "earlier", "low", "high"),
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)],
)
def test_a_difference_of_rates_has_the_published_hybrid_score_interval(later, earlier, low, high):
    change = statistics.difference(statistics.rate(*later), statistics.rate(*earlier))
    assert (change.low, change.high) == pytest.approx((low, high), abs=5e-5)


@given(durations)
def test_a_median_agrees_with_another_implementation(values):
    ours = statistics.median(values)
    assert ours.value == pytest.approx(np.median(values))
    if len(values) < 6:
        assert (ours.low, ours.high) == (None, None)
        assert "6" in ours.reason
    else:
        other = stats.quantile_test(values, p=0.5).confidence_interval(0.95)
        assert (ours.low, ours.high) == (other.low, other.high)


def test_a_median_of_ten_lies_between_the_second_and_the_ninth():
    estimate = statistics.median(list(range(1, 11)))
    assert (estimate.value, estimate.low, estimate.high) == (5.5, 2, 9)


def test_the_log_t_interval_follows_its_formula():
    x = np.array([12.0, 30.0, 45.0, 61.0, 240.0])
    y = np.log(x)
    s2 = np.var(y, ddof=1)
    half = 2.7764451 * np.sqrt(s2 / 5 + s2**2 / 8)  # t quantile of 4 degrees, from a printed table
    expected = (np.exp(np.mean(y) + s2 / 2 - half), np.exp(np.mean(y) + s2 / 2 + half))
    estimate = statistics.mean(x, rng=rng())
    assert estimate.value == pytest.approx(77.6)
    assert (estimate.low, estimate.high) == pytest.approx(expected, rel=1e-6)
    assert "log-t" in estimate.method


def test_the_bootstrap_agrees_with_students_t_on_symmetric_data():
    x = np.random.default_rng(3).normal(100, 10, 400)
    ours = statistics.mean(x, rng=rng())
    t = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert "bootstrap" in ours.method
    assert (ours.low, ours.high) == pytest.approx((t.low, t.high), rel=0.003)


def test_a_large_sample_uses_students_t():
    x = np.random.default_rng(3).lognormal(6, 1, 3000)
    ours = statistics.mean(x, rng=rng())
    t = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((t.low, t.high))


@given(durations)
def test_a_mean_lies_in_its_interval_or_the_reason_is_given(values):
    estimate = statistics.mean(values, rng=rng())
    assert estimate.value == pytest.approx(np.mean(values))
    assert estimate.n == len(values)
    if estimate.low is None or estimate.high is None:
        assert estimate.reason
    else:
        assert estimate.low <= known(estimate.value) <= estimate.high
        assert math.isfinite(estimate.high)


@given(st.permutations(list(np.random.default_rng(5).lognormal(5, 1, 30))))
def test_the_order_of_observations_does_not_matter(values):
    assert statistics.mean(values, rng=rng()) == statistics.mean(sorted(values), rng=rng())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "no observation"),
        ([60.0], "three"),
        ([60.0, 70.0], "three"),
        ([60.0] * 40, "equal"),
        ([1.0, 60.0, 86_400.0], "do not bound"),
    ],
)
def test_a_mean_without_an_honest_interval_says_why(values, reason):
    estimate = statistics.mean(values, rng=rng())
    assert (estimate.low, estimate.high) == (None, None)
    assert reason in estimate.reason
    assert (estimate.value is None) == (not values)


def test_a_mean_with_zeroes_falls_back_to_students_t():
    assert "Student" in statistics.mean([0.0, 60.0, 90.0, 100.0], rng=rng()).method


def test_nothing_is_estimated_from_nothing():
    for estimate in (statistics.median([]), statistics.rate(0, 0)):
        assert estimate.value is None
        assert estimate.n == 0
        assert estimate.reason
        assert statistics.difference(estimate, statistics.rate(1, 2)).value is None


def test_a_difference_without_intervals_is_still_a_difference():
    change = statistics.difference(statistics.median([5.0]), statistics.median([3.0]))
    assert (change.value, change.low, change.high) == (2.0, None, None)
    assert change.reason


def covered(sampler, truth, estimator, runs: int = 2000) -> float:
    source = np.random.default_rng(11)
    hits = 0
    for _ in range(runs):
        estimate = estimator(sampler(source))
        hits += estimate.low <= truth <= estimate.high
    return hits / runs


def test_the_interval_of_a_small_mean_keeps_its_level():
    share = covered(
        lambda source: source.lognormal(6, 0.8, 12),
        math.exp(6 + 0.32),
        lambda x: statistics.mean(x, rng=rng()),
    )
    assert 0.92 <= share <= 0.98


def test_the_interval_of_a_bootstrapped_mean_keeps_its_level():
    share = covered(
        lambda source: source.gamma(2, 300, 30),
        600,
        lambda x: statistics.mean(x, rng=rng()),
        runs=1000,
    )
    assert 0.92 <= share <= 0.98


def test_the_interval_of_a_median_keeps_its_level():
    share = covered(lambda source: source.lognormal(6, 1.2, 30), math.exp(6), statistics.median)
    assert 0.92 <= share <= 0.98


def test_the_interval_of_a_rate_keeps_its_level():
    share = covered(
        lambda source: source.binomial(40, 0.8), 0.8, lambda k: statistics.rate(int(k), 40)
    )
    assert 0.92 <= share <= 0.98


def test_the_interval_of_a_difference_of_means_keeps_its_level():
    def change(pair):
        later, earlier = pair
        return statistics.difference(
            statistics.mean(later, rng=rng()), statistics.mean(earlier, rng=rng())
        )

    share = covered(
        lambda source: (source.lognormal(6, 0.8, 12), source.lognormal(6.3, 0.8, 10)),
        math.exp(6.32) - math.exp(6.62),
        change,
    )
    assert 0.92 <= share <= 0.985
