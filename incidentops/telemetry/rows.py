"""Read pushed samples and log lines. Pure: bytes in, frozen rows out, or which field is wrong."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

MAX_ROWS = 5000
MAX_LABELS = 32
LONGEST_SERVICE = 120
LONGEST_METRIC = 160
LONGEST_UNIT = 24
LONGEST_LEVEL = 16
LONGEST_LABEL = 300
LONGEST_MESSAGE = 8000
FARTHEST_AHEAD = timedelta(days=1)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM = 1e11  # as seconds that is the year 5138, as milliseconds 1973


class InvalidRow(ValueError):
    """A row cannot be taken: `field` names it ("samples[3].value"), `reason` is for people."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.field = name
        self.reason = reason


class TooManyRows(ValueError):
    """More rows than one request may carry."""


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """One measurement; `series_key` is the identity of its series (see `series_key`)."""

    series_key: str
    service: str
    metric: str
    at: datetime
    value: float
    unit: str = ""
    labels: dict[str, str] = field(default_factory=dict)


def series_key(service: str, metric: str, labels: dict[str, str]) -> str:
    """The identity of a series: the same for labels in any order."""
    identity = json.dumps([service, metric, sorted(labels.items())])
    return hashlib.sha256(identity.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class LogRow:
    service: str
    at: datetime
    level: str
    message: str
    identity: uuid.UUID


def decode_json(raw: bytes, *, name: str) -> list[Any]:
    """The rows of a JSON body: a list, `{name: list}`, or one row alone."""
    document = _json(raw, "The body")
    if isinstance(document, dict) and name in document:
        document = document[name]
        if not isinstance(document, list):
            raise InvalidRow(name, "must be a list")
    if isinstance(document, dict):
        document = [document]
    if not isinstance(document, list):
        raise InvalidRow(name, "must be a list of rows")
    return document


def decode_ndjson(raw: bytes, *, name: str) -> list[Any]:
    """The rows of a body with one JSON document a line; empty lines are none."""
    lines = raw.split(b"\n")
    return [_json(line, f"Line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _json(raw: bytes, what: str) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise InvalidRow("body", f"{what} is not JSON in UTF-8.") from None


def read_samples(rows: list[Any], *, received_at: datetime) -> list[SampleRow]:
    """Every sample of the rows, compact ones (`points`) unfolded.

    Raises:
        InvalidRow: a field is missing, malformed or out of bounds.
        TooManyRows: there are more than `MAX_ROWS` samples.
    """
    samples: list[SampleRow] = []
    for place, row in enumerate(rows):
        for sample in _samples(row, f"samples[{place}]", received_at):
            samples.append(sample)
            if len(samples) > MAX_ROWS:
                raise TooManyRows
    return samples


def _samples(row: Any, name: str, received_at: datetime) -> Iterator[SampleRow]:
    _require_object(row, name)
    service = _text(row, "service", name, LONGEST_SERVICE)
    metric = _text(row, "metric", name, LONGEST_METRIC)
    unit = _text(row, "unit", name, LONGEST_UNIT, default="")
    labels = _labels(row.get("labels"), f"{name}.labels")
    if "points" not in row:
        points = [(_moment(row, name, received_at), _number(row.get("value"), f"{name}.value"))]
    else:
        points = _points(row["points"], f"{name}.points", received_at)
    key = series_key(service, metric, labels)
    for at, value in points:
        yield SampleRow(
            series_key=key,
            service=service,
            metric=metric,
            unit=unit,
            labels=labels,
            at=at,
            value=value,
        )


def _points(points: Any, name: str, received_at: datetime) -> list[tuple[datetime, float]]:
    if not isinstance(points, list):
        raise InvalidRow(name, "must be a list of [time, value] pairs")
    if len(points) > MAX_ROWS:
        raise TooManyRows
    read = []
    for place, point in enumerate(points):
        if not isinstance(point, list) or len(point) != 2:
            raise InvalidRow(f"{name}[{place}]", "must be a [time, value] pair")
        read.append(
            (
                _instant(point[0], f"{name}[{place}][0]", received_at),
                _number(point[1], f"{name}[{place}][1]"),
            )
        )
    return read


def read_logs(rows: list[Any], *, received_at: datetime) -> list[LogRow]:
    """Every log line of the rows.

    A line's identity is its content and how often that content came before in this body: pushing a
    body again adds nothing, while equal lines of one body all count.

    Raises:
        InvalidRow: a field is missing, malformed or out of bounds.
        TooManyRows: there are more than `MAX_ROWS` lines.
    """
    if len(rows) > MAX_ROWS:
        raise TooManyRows
    seen: Counter[str] = Counter()
    return [_log(row, f"logs[{place}]", received_at, seen) for place, row in enumerate(rows)]


def _log(row: Any, name: str, received_at: datetime, seen: Counter[str]) -> LogRow:
    _require_object(row, name)
    service = _text(row, "service", name, LONGEST_SERVICE)
    level = _text(row, "level", name, LONGEST_LEVEL, default="").lower()
    at = _moment(row, name, received_at)
    message = row.get("message")
    if not isinstance(message, str) or not message.strip():
        raise InvalidRow(f"{name}.message", "must be a text that is not empty")
    message = _storable(message)
    content = json.dumps([service, at.isoformat(), level, message])
    seen[content] += 1
    digest = hashlib.sha256(f"{content}#{seen[content]}".encode()).digest()
    return LogRow(
        service=service, at=at, level=level, message=message, identity=uuid.UUID(bytes=digest[:16])
    )


def _storable(message: str) -> str:
    """Without what no database keeps in a text, and bounded; what was cut off is counted."""
    clean = message.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if len(clean) <= LONGEST_MESSAGE:
        return clean
    return f"{clean[:LONGEST_MESSAGE]}… ({len(clean) - LONGEST_MESSAGE} more characters)"


def _require_object(row: Any, name: str) -> None:
    if not isinstance(row, dict):
        raise InvalidRow(name, "must be an object")


def _text(
    row: dict[str, Any], key: str, name: str, longest: int, default: str | None = None
) -> str:
    value = row.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or (not value.strip() and default is None):
        raise InvalidRow(f"{name}.{key}", "must be a text that is not empty")
    return _identifier(value.strip(), f"{name}.{key}", longest)


def _identifier(text: str, name: str, longest: int) -> str:
    if len(text) > longest:
        raise InvalidRow(name, f"must have at most {longest} characters")
    if any(character < " " or "\ud800" <= character <= "\udfff" for character in text):
        raise InvalidRow(name, "must not contain control characters or lone surrogates")
    return text


def _labels(labels: Any, name: str) -> dict[str, str]:
    if labels is None:
        return {}
    if not isinstance(labels, dict) or len(labels) > MAX_LABELS:
        raise InvalidRow(name, f"must be an object with at most {MAX_LABELS} members")
    for label, value in labels.items():
        _identifier(label, name, LONGEST_LABEL)
        if not isinstance(value, str):
            raise InvalidRow(f"{name}.{label}", "must be a text")
        _identifier(value, f"{name}.{label}", LONGEST_LABEL)
    return labels


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRow(name, "must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidRow(name, "must be finite: leave the sample out where there was no value")
    return number


def _moment(row: dict[str, Any], name: str, received_at: datetime) -> datetime:
    key = "at" if "at" in row else "timestamp"
    value = row.get(key)
    return received_at if value is None else _instant(value, f"{name}.{key}", received_at)


def _instant(value: Any, name: str, received_at: datetime) -> datetime:
    """RFC 3339 with an offset, or seconds or milliseconds since 1970."""
    at = _from_text(value, name) if isinstance(value, str) else _from_epoch(value, name)
    if not EARLIEST <= at <= received_at + FARTHEST_AHEAD:
        raise InvalidRow(name, "must lie after 1999 and not more than a day ahead")
    return at


def _from_text(text: str, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidRow(name, "must be RFC 3339 with an offset, or a number of seconds since 1970")


def _from_epoch(value: Any, name: str) -> datetime:
    seconds = _number(value, name)
    if abs(seconds) >= _MILLISECONDS_FROM:
        seconds /= 1000
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise InvalidRow(name, "must lie after 1999 and not more than a day ahead") from None
