from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidentops.telemetry.prometheus import split_comparison


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("rate(x[5m]) > 0.5", ("rate(x[5m])", ">", 0.5)),
        ("a / b >= 1e3", ("a / b", ">=", 1000.0)),
        ("1 < x", ("x", ">", 1.0)),
        ("0.5 >= x", ("x", "<=", 0.5)),
        ("x > bool 2", ("x", ">", 2.0)),
        ("up == 0", ("up", "==", 0.0)),
        ("up != 1", ("up", "!=", 1.0)),
        ("((x > 1))", ("x", ">", 1.0)),
        ("x<-1.5", ("x", "<", -1.5)),
        ("x > 10 * 1024 ^ 2", ("x", ">", 10 * 1024**2)),
        ("x > (60 * 60)", ("x", ">", 3600.0)),
        ("x > -2 ^ 2", ("x", ">", -4.0)),
        ('x{a="b > 3", c=~"d"} > 4 # not > 5', ('x{a="b > 3", c=~"d"}', ">", 4.0)),
        ("sum by (job) (rate(e[5m])) / sum(n) > 0.05", ("sum by (job) (rate(e[5m])) / sum(n)", ">", 0.05)),
        ("max_over_time(x[1h:5m] offset 1d) > 3", ("max_over_time(x[1h:5m] offset 1d)", ">", 3.0)),
        ("sum(x) by (and) > 3", ("sum(x) by (and)", ">", 3.0)),
        ("rate(\n  x[5m]\n)\n> 2\n", ("rate(\n  x[5m]\n)", ">", 2.0)),
        ("a > b", ("a", ">", None)),
        ("a > on (job) group_left b", ("a", ">", None)),
        ("x > +Inf", ("x", ">", None)),
    ],
)  # fmt: skip
def test_the_top_level_comparison_is_found(expression, expected):
    assert split_comparison(expression) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "absent(x)",
        "x > 1 and y > 2",
        "x > 1 OR y > 2",
        "x unless y > 2",
        "x > 1 > 0",
        "(x > 1) * 2",
        "count(x > 1)",
        "1 > 2",
        "x >",
        "> 3",
        "x > (1",
        "x) > 1",
        "",
        "(" * 6000,
        "(" * 500 + "x > 1" + ")" * 500,
    ],
)
def test_what_is_not_one_comparison_comes_back_whole(expression):
    assert split_comparison(expression) == (expression, "", None)


@given(st.text(alphabet="xyz0123456789.<>=!()[]{}\"'`#+-*/%^ \neabdnorul", max_size=60))
def test_no_text_breaks_the_reader_and_the_series_is_part_of_it(expression):
    series, comparison, threshold = split_comparison(expression)
    assert series in expression
    assert comparison in {"", ">", ">=", "<", "<=", "==", "!="}
    assert threshold is None or (comparison and math.isfinite(threshold))


@given(
    st.sampled_from(["x", "rate(x[5m])", 'a{b="> 1"} / c', "sum by (z) (x)", "(a > 1) + b"]),
    st.sampled_from([">", ">=", "<", "<=", "==", "!="]),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_series_and_threshold_are_read_back(series, comparison, threshold):
    assert split_comparison(f"{series} {comparison} {threshold!r}") == (
        series,
        comparison,
        threshold,
    )
