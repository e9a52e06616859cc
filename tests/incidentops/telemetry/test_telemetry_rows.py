from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidentops.telemetry import rows
from incidentops.telemetry.rows import InvalidRow, TooManyRows

NOW = datetime(2026, 11, 8, 12, tzinfo=UTC)
SAMPLE = {"service": "cart", "metric": "latency", "value": 1.5, "at": "2026-11-08T11:00:00Z"}
LOG = {"service": "cart", "level": "ERROR", "message": "boom", "at": "2026-11-08T11:00:00Z"}
AN_HOUR_AGO = NOW - timedelta(hours=1)


def one(**changes):
    (sample,) = rows.read_samples([SAMPLE | changes], received_at=NOW)
    return sample


def wrong_field(row, read=rows.read_samples) -> str:
    with pytest.raises(InvalidRow) as caught:
        read([SAMPLE if read is rows.read_samples else LOG, row], received_at=NOW)
    return caught.value.field


@pytest.mark.parametrize(
    "at",
    [
        "2026-11-08T11:00:00Z",
        "2026-11-08T12:00:00+01:00",
        "2026-11-08T11:00:00.000000000Z",
        AN_HOUR_AGO.timestamp(),
        int(AN_HOUR_AGO.timestamp() * 1000),
    ],
)
def test_times_may_be_text_or_seconds_or_milliseconds(at):
    assert one(at=at).at == AN_HOUR_AGO


def test_a_time_may_be_named_timestamp_or_be_left_out():
    row = {key: value for key, value in SAMPLE.items() if key != "at"}
    assert rows.read_samples([row], received_at=NOW)[0].at == NOW
    row["timestamp"] = AN_HOUR_AGO.timestamp()
    assert rows.read_samples([row], received_at=NOW)[0].at == AN_HOUR_AGO


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"at": "yesterday"}, "at"),
        ({"at": "2026-11-08T11:00:00"}, "at"),
        ({"at": True}, "at"),
        ({"at": 5}, "at"),
        ({"at": 1e300}, "at"),
        ({"at": "2026-11-10T11:00:00Z"}, "at"),
        ({"at": "0001-01-01T00:00:00+23:59"}, "at"),
        ({"at": []}, "at"),
        ({"value": None}, "value"),
        ({"value": "1"}, "value"),
        ({"value": True}, "value"),
        ({"value": float("nan")}, "value"),
        ({"value": float("-inf")}, "value"),
        ({"value": 10**400}, "value"),
        ({"service": ""}, "service"),
        ({"service": None}, "service"),
        ({"service": "x" * 121}, "service"),
        ({"metric": 7}, "metric"),
        ({"metric": "a\x00b"}, "metric"),
        ({"metric": "a\ud800"}, "metric"),
        ({"unit": "x" * 25}, "unit"),
        ({"labels": []}, "labels"),
        ({"labels": {"pod": 7}}, "labels.pod"),
        ({"labels": {str(i): "" for i in range(33)}}, "labels"),
        ({"points": 7}, "points"),
        ({"points": [[1]]}, "points[0]"),
        ({"points": [[AN_HOUR_AGO.timestamp(), 1], ["x", 1]]}, "points[1][0]"),
        ({"points": [[AN_HOUR_AGO.timestamp(), float("nan")]]}, "points[0][1]"),
    ],
)
def test_a_refusal_names_the_row_and_the_field(changes, field):
    assert wrong_field(SAMPLE | changes) == f"samples[1].{field}"


def test_a_row_that_is_no_object_is_named():
    assert wrong_field(7) == "samples[1]"
    assert wrong_field([], rows.read_logs) == "logs[1]"
    assert wrong_field(LOG | {"message": " "}, rows.read_logs) == "logs[1].message"


def test_points_unfold_into_samples_of_one_series():
    start = AN_HOUR_AGO.timestamp()
    row = {"service": "a", "metric": "m", "labels": {"x": "1"}, "points": [[start, 1], [start + 1, 2]]}  # fmt: skip
    first, second = rows.read_samples([row], received_at=NOW)
    assert first.series_key == second.series_key
    assert (first.value, second.value) == (1, 2)


def test_the_order_of_labels_makes_no_other_series():
    assert (
        one(labels={"a": "1", "b": "2"}).series_key == one(labels={"b": "2", "a": "1"}).series_key
    )
    assert one(labels={"a": "1"}).series_key != one(labels={"a": "2"}).series_key


def test_too_many_rows_are_too_many_however_they_are_written():
    point = [AN_HOUR_AGO.timestamp(), 1]
    compact = {"service": "a", "metric": "m", "points": [point] * 2501}
    with pytest.raises(TooManyRows):
        rows.read_samples([compact, compact], received_at=NOW)
    with pytest.raises(TooManyRows):
        rows.read_samples([SAMPLE] * 5001, received_at=NOW)
    with pytest.raises(TooManyRows):
        rows.read_logs([LOG] * 5001, received_at=NOW)


def test_equal_lines_of_one_body_all_count_and_a_repeated_body_has_the_same_identities():
    first = rows.read_logs([LOG, LOG, LOG | {"message": "other"}], received_at=NOW)
    again = rows.read_logs([LOG, LOG], received_at=NOW)
    assert len({row.identity for row in first}) == 3
    assert [row.identity for row in again] == [row.identity for row in first[:2]]


def test_a_message_is_kept_as_far_as_a_database_can():
    (row,) = rows.read_logs([LOG | {"message": "a\x00b\ud800" + "x" * 9000}], received_at=NOW)
    assert row.message.startswith("a\ufffdb?xxx")
    assert row.message.endswith("… (1004 more characters)")
    assert row.level == "error"


@pytest.mark.parametrize(
    ("body", "count"),
    [(b"[{}, {}]", 2), (b'{"samples": [{}]}', 1), (b"{}", 1), (b"[]", 0)],
)
def test_json_rows_come_in_a_list_or_named_or_alone(body, count):
    assert len(rows.decode_json(body, name="samples")) == count


@pytest.mark.parametrize(
    "body", [b"", b"{", b"7", b'"a"', b"\xff", b"[" * 100_000, b'{"samples": 7}']
)
def test_a_body_that_is_no_rows_is_refused(body):
    with pytest.raises(InvalidRow):
        rows.decode_json(body, name="samples")


def test_ndjson_skips_empty_lines_and_names_the_line_that_is_wrong():
    assert rows.decode_ndjson(b'{"a":1}\r\n\n{"b":2}', name="samples") == [{"a": 1}, {"b": 2}]
    with pytest.raises(InvalidRow, match="Line 3"):
        rows.decode_ndjson(b"{}\n{}\n{oops\n", name="samples")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from([*SAMPLE, "labels", "points", "unit", "timestamp"]), json_values
    )
)
def test_whatever_comes_is_a_row_or_a_refusal_that_names_a_field(changes):
    fields = []
    for base, read in ((SAMPLE, rows.read_samples), (LOG, rows.read_logs)):
        try:
            for row in read([base | changes], received_at=NOW):
                json.dumps([row.service]).encode()
        except InvalidRow as error:
            fields.append(error.field)
    assert all(fields)
