from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from awsai.proportions import wilson


def test_no_trials_say_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_it_agrees_with_scipy(pair):
    successes, trials = pair
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")

    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high))
