from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import windows

AT = datetime(2026, 11, 8, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "length"),
    [("7d", timedelta(days=7)), ("24h", timedelta(hours=24)), ("3660d", timedelta(days=3660))],
)
def test_days_and_hours_are_windows(text, length):
    window = windows.parse(text, at=AT)
    assert (window.since, window.until) == (AT - length, AT)


@pytest.mark.parametrize(
    "text",
    ["", "7", "d", "0d", "-1d", "1.5d", "7 d", "7d ", "7w", "07d", "\u0667d", "3661d", "99999h"],
)
def test_anything_else_is_refused(text):
    with pytest.raises(windows.InvalidWindow):
        windows.parse(text, at=AT)


@given(st.integers(1, 3660), st.sampled_from("dh"))
def test_the_previous_window_is_as_long_and_ends_where_this_begins(number, unit):
    window = windows.parse(f"{number}{unit}", at=AT)
    before = window.previous
    assert before.until == window.since
    assert before.until - before.since == window.until - window.since
