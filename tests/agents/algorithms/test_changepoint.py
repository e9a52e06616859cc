from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agents.algorithms import changepoint

# Annual flow of the Nile at Aswan, 1871-1970, 10^8 m^3: the classic of the field. The flow dropped
# after 1898, when the first dam was begun (Cobb, Biometrika 65, 1978).
NILE = np.array(
    [
        "1120",
        "1160",
        "963",
        "1210",
        "1160",
        "1160",
        "813",
        "1230",
        "1370",
        "1140",
        "995",
        "935",
        "1110",
        "994",
        "1020",
        "960",
        "1180",
        "799",
        "958",
        "1140",
        "1100",
        "1210",
        "1150",
        "1250",
        "1260",
        "1220",
        "1030",
        "1100",
        "774",
        "840",
        "874",
        "694",
        "940",
        "833",
        "701",
        "916",
        "692",
        "1020",
        "1050",
        "969",
        "831",
        "726",
        "456",
        "824",
        "702",
        "1120",
        "1100",
        "832",
        "764",
        "821",
        "768",
        "845",
        "864",
        "862",
        "698",
        "845",
        "744",
        "796",
        "1040",
        "759",
        "781",
        "865",
        "845",
        "944",
        "984",
        "897",
        "822",
        "1010",
        "771",
        "676",
        "649",
        "846",
        "812",
        "742",
        "801",
        "1040",
        "860",
        "874",
        "848",
        "890",
        "744",
        "749",
        "838",
        "1050",
        "918",
        "986",
        "797",
        "923",
        "975",
        "815",
        "1020",
        "906",
        "901",
        "1170",
        "912",
        "746",
        "919",
        "718",
        "714",
        "740",
    ],
    dtype=np.float64,
)
YEARS = np.arange(1871.0, 1971.0)


def at(n: int) -> np.ndarray:
    return 1_700_000_000.0 + 60.0 * np.arange(n)


def test_the_nile_changed_after_1898():
    found = changepoint.onset(YEARS, NILE)

    assert found is not None
    assert found.shape == "step"
    assert found.at == 1899
    assert found.earliest <= 1898 <= found.latest
    assert found.latest - found.earliest <= 10
    assert -270 < found.change < -230


def test_the_start_of_a_slow_rise_is_found_as_a_ramp():
    values = np.random.default_rng(3).normal(0, 1, 200)
    values[120:] += 0.5 * np.arange(80)

    found = changepoint.onset(at(200), values)

    assert found is not None
    assert found.shape == "ramp"
    assert found.earliest <= at(200)[120] <= found.latest
    assert abs(found.index - 120) <= 8
    assert np.isclose(found.change * 60, 0.5, rtol=0.1)


def test_noise_has_no_onset():
    found = [
        changepoint.onset(at(120), np.random.default_rng(seed).normal(0, 1, 120))
        for seed in range(100)
    ]

    assert sum(one is not None for one in found) <= 2


def test_a_constant_series_and_a_short_one_have_no_onset():
    assert changepoint.onset(at(100), np.full(100, 0.1)) is None
    assert changepoint.onset(at(5), np.array([0, 0, 0, 9, 9.0])) is None


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        values = np.random.default_rng(seed).normal(0, 1, 100)
        values[60:] += 2.0
        found = changepoint.onset(at(100), values)
        hits += found is not None and found.earliest <= at(100)[60] <= found.latest

    assert hits >= 180


@given(
    st.lists(st.integers(-50, 50), min_size=12, max_size=60),
    st.sampled_from([0.5, 4.0]),
    st.integers(-64, 64),
)
def test_scale_and_shift_move_no_onset(numbers, factor, shift):
    values = np.array(numbers, dtype=np.float64)
    values[len(numbers) // 2 :] += 500

    one = changepoint.onset(at(values.size), values)
    two = changepoint.onset(at(values.size), values * factor + shift)

    assert one is not None
    assert two is not None
    assert (one.index, one.shape) == (two.index, two.shape)
    assert np.isclose(one.change * factor, two.change)
