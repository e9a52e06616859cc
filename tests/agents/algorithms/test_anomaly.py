from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agents.algorithms import anomaly

values = arrays(np.float64, st.integers(0, 60), elements=st.integers(-1000, 1000).map(float))


def test_a_spike_stands_out_with_its_sign_and_the_rest_does_not():
    series = 10 + np.sin(np.arange(200))
    series[150] = 30.0
    series[180] = -20.0

    scores = anomaly.scores(series)

    assert scores[150] > anomaly.ALARM
    assert scores[180] < -anomaly.ALARM
    others = np.delete(scores, [150, 180])
    assert np.nanmax(np.abs(others)) < anomaly.ALARM


def test_nothing_is_said_of_the_first_points():
    scores = anomaly.scores(np.arange(20.0))

    assert np.isnan(scores[: anomaly.WARM_UP]).all()
    assert not np.isnan(scores[anomaly.WARM_UP :]).any()


def test_a_constant_series_is_normal_until_it_moves():
    series = np.full(100, 7.0)
    series[90:] = 8.0

    scores = anomaly.scores(series)

    assert (scores[anomaly.WARM_UP : 90] == 0).all()
    assert scores[90] > anomaly.ALARM


def test_a_rounding_difference_on_a_constant_series_is_no_anomaly():
    series = np.full(100, 0.3)
    series[90] = 0.1 + 0.2

    assert np.nanmax(np.abs(anomaly.scores(series))) < 1


def test_a_series_at_zero_that_moves_is_as_far_as_the_scale_goes():
    series = np.zeros(50)
    series[40] = 1e-6

    assert anomaly.scores(series)[40] == anomaly.LIMIT


def test_the_scores_equal_a_plain_reading_of_their_definition():
    series = np.random.default_rng(5).normal(50, 4, 70)
    t, window = 66, 40
    past = series[t - window : t]
    mad = 1.4826 * np.median(np.abs(past - np.median(past)))
    scale = max(mad, 0.1 * past.std(), 0.01 * abs(np.median(past)))

    score = anomaly.scores(series, window=window)[t]

    assert np.isclose(score, (series[t] - np.median(past)) / scale)


def test_what_happens_every_day_at_this_hour_is_normal_once_there_is_a_past():
    day = np.zeros(48)
    day[20:22] = 50.0
    series = np.tile(day, 6) + np.random.default_rng(1).normal(0, 1, 48 * 6)

    plain = anomaly.scores(series, window=48)
    seasonal = anomaly.scores(series, window=48, period=48)

    last_peak = slice(5 * 48 + 20, 5 * 48 + 22)
    assert plain[last_peak].min() > anomaly.ALARM
    assert np.abs(seasonal[last_peak]).max() < anomaly.ALARM


def test_a_season_without_enough_past_changes_nothing():
    series = np.random.default_rng(2).normal(0, 1, 100)

    np.testing.assert_array_equal(anomaly.scores(series, period=48), anomaly.scores(series))


@given(values, st.integers(0, 60), st.integers(-1000, 1000), st.sampled_from([None, 7]))
def test_the_score_at_t_does_not_change_when_later_points_do(series, t, later, period):
    changed = series.copy()
    changed[t + 1 :] = later

    before = anomaly.scores(series, window=20, period=period)
    after = anomaly.scores(changed, window=20, period=period)

    np.testing.assert_array_equal(before[: t + 1], after[: t + 1])


@given(values, st.sampled_from([0.25, 2.0, 1024.0]))
def test_scaling_a_series_scales_nothing_in_its_scores(series, factor):
    # Powers of two, so that the arithmetic is exact.
    np.testing.assert_array_equal(
        anomaly.scores(series, window=20), anomaly.scores(series * factor, window=20)
    )


@given(values, st.integers(-10_000, 10_000))
def test_shifting_a_series_moves_nothing_without_a_relative_floor(series, shift):
    one = anomaly.scores(series, window=20, relative_floor=0.0)
    two = anomaly.scores(series + shift, window=20, relative_floor=0.0)

    np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-6)


@given(values, st.just(-1.0))
def test_a_mirrored_series_has_mirrored_scores(series, mirror):
    np.testing.assert_array_equal(
        anomaly.scores(series * mirror, window=20), -anomaly.scores(series, window=20)
    )
