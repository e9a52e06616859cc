"""The one way in: a body becomes a delivery and its alerts, in one transaction.

What a sender says twice has one effect. A key in the request (`Idempotency-Key`) decides alone: the
same key is the same delivery, whatever the body. Without one, the same body of Alertmanager or
Prometheus within ten minutes is the same delivery, unless an alert in it has changed state since.

What arrives out of order does not undo what is known:

* A delivery that reached us before the one that set an alert's state leaves that state (a stalled
  process may commit it late).
* A recovery that ended before the present trouble began belongs to an earlier one and is only
  counted.
* A firing alert is otherwise believed, even when it says it began before the known recovery: a
  sender with two replicas repeats an alert so, and an alert wrongly silent is worse than one
  wrongly reopened. Prometheus' own alerts expire by themselves when they come late.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar

from django.db import OperationalError, connection, transaction
from django.utils.timezone import now

from incidentops.incidents import payloads, rates
from incidentops.incidents.events import AlertsReceived
from incidentops.incidents.models import Alert, Delivery, Source
from incidentops.incidents.payloads import AlertIn
from incidentops.realtime import outbox
from incidentops.statements import insert, places, select

SAME_BODY_WITHIN = timedelta(minutes=10)
KEYED_BY_BODY = frozenset({Source.Kind.ALERTMANAGER, Source.Kind.PROMETHEUS})
# Of the sources' own clock only these two say when an alert began and ended by documented rules.
TELLS_EPISODES = KEYED_BY_BODY

_STAMP_EVERY = timedelta(seconds=10)
_ROWS_PER_STATEMENT = 500
_DEADLOCK_ATTEMPTS = 3

T = TypeVar("T")
_Row = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What the sender is told. `replayed`: the delivery was taken before, this had no effect."""

    delivery: int
    accepted: int
    duplicates: int
    truncated: int = 0
    coalesced: bool = False
    replayed: bool = False

    def answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "delivery": self.delivery,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
        }
        if self.truncated:
            answer["truncated"] = self.truncated
        if self.coalesced:
            answer["coalesced"] = True
        if self.replayed:
            answer["replayed"] = True
        return answer


@dataclass(frozen=True, kw_only=True)
class _Arrival:
    """A parsed body on its way in, its alerts folded by fingerprint in order of fingerprints."""

    source: Source
    text: str
    digest: str
    key: str
    at: datetime
    batch: payloads.Batch
    alerts: Mapping[str, AlertIn]
    times: Mapping[str, int]
    is_over_rate: bool

    @property
    def lock(self) -> str | None:
        """What may be taken in only once at a time."""
        if self.key:
            return f"intake:{self.source.pk}:key:{self.key}"
        if self.source.kind in KEYED_BY_BODY:
            return f"intake:{self.source.pk}:body:{self.digest}"
        return None


def receive(source: Source, body: bytes, *, key: str = "", at: datetime | None = None) -> Receipt:
    """Take in a body that reached us at `at`. On return it is committed and never lost.

    Raises:
        Malformed: it is not in the source's format; nothing has changed.
    """
    if key and (earlier := _by_key(source, key)):
        return _replay(earlier)
    at = at or now()
    text = payloads.text_of(body)
    batch = payloads.parse(source.kind, payloads.document_of(text), config=source.config, at=at)
    alerts, times = _fold(batch.alerts)
    arrival = _Arrival(
        source=source,
        text=text,
        digest=hashlib.sha256(body).hexdigest(),
        key=key,
        at=at,
        batch=batch,
        alerts=alerts,
        times=times,
        is_over_rate=rates.is_over(source, alerts=len(batch.alerts)),
    )
    return _despite_deadlocks(lambda: _take_in(arrival))


def _fold(alerts: Iterable[AlertIn]) -> tuple[dict[str, AlertIn], dict[str, int]]:
    """The last word on each fingerprint, and how often it was named. Sorted: one order of locks."""
    last: dict[str, AlertIn] = {}
    times: dict[str, int] = {}
    for alert in alerts:
        last[alert.fingerprint] = alert
        times[alert.fingerprint] = times.get(alert.fingerprint, 0) + 1
    return {fingerprint: last[fingerprint] for fingerprint in sorted(last)}, times


def _despite_deadlocks(step: Callable[[], T]) -> T:
    """Run a transaction again when the database chose it to end a deadlock with another one."""
    for _ in range(_DEADLOCK_ATTEMPTS - 1):
        try:
            return step()
        except OperationalError as error:
            is_deadlock = getattr(error.__cause__, "sqlstate", "") == "40P01"
            if not is_deadlock or connection.in_atomic_block:
                raise
    return step()


def _take_in(arrival: _Arrival) -> Receipt:
    with transaction.atomic():
        _wait_for_turn(arrival.lock)
        if arrival.key and (earlier := _by_key(arrival.source, arrival.key)):
            return _replay(earlier)
        fresh = _insert(arrival, _unknown(arrival))
        rows = _current_rows(arrival, besides=fresh)
        if not fresh and (earlier := _same_without_effect(arrival, rows)):
            return _replay(earlier)
        wanted = _wanted(arrival, rows, besides=fresh)
        fresh |= _upsert(arrival, wanted)
        known = [fingerprint for fingerprint in arrival.alerts if fingerprint in rows]
        duplicates = sum(
            arrival.times[fingerprint] - (fingerprint in fresh)
            for fingerprint in {*known, *wanted, *fresh}
        )
        delivery = Delivery(
            source=arrival.source,
            key=arrival.key,
            body=arrival.text,
            body_digest=arrival.digest,
            received_at=arrival.at,
            accepted=len(arrival.batch.alerts),
            duplicates=duplicates,
            truncated=arrival.batch.truncated,
            is_coalesced=arrival.is_over_rate,
        )
        insert([delivery])
        _stamp(arrival)
        is_news = bool(fresh) or any(
            wanted[f].status != rows[f].status for f in known if f in wanted
        )
        if is_news or (wanted and not arrival.is_over_rate):
            outbox.publish(AlertsReceived(delivery=delivery.pk))
    return _receipt(delivery)


def _wait_for_turn(lock: str | None) -> None:
    """Let only one holder of this lock on until the transaction ends.

    SQLite needs none: its transactions begin by taking the one write lock.
    """
    if lock and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [lock])


def _by_key(source: Source, key: str) -> Delivery | None:
    return Delivery.objects.filter(source=source, key=key).defer("body").first()


# In plain SQL, here and below, since it runs for every delivery: to be built by the ORM takes longer
# than to run.
_OPEN = "SELECT {} FROM incidents_alert WHERE source_id = %s AND is_current AND fingerprint IN ({})"


def _open(arrival: _Arrival, *columns: str) -> tuple[str, list[str]]:
    """The statement that reads these columns of the body's open rows, and its values."""
    named = places(len(arrival.alerts))
    return _OPEN.format(", ".join(columns), named), [arrival.source.pk, *arrival.alerts]


def _unknown(arrival: _Arrival) -> dict[str, AlertIn]:
    """The firing alerts that have no open row yet, to be added before any row is locked.

    Whoever held rows and then waited for one that another delivery is adding, which waits for these
    rows, would wait for ever. Where only one writes at a time there is nothing to wait for.
    """
    if not (connection.features.has_select_for_update and arrival.alerts):
        return {}
    with connection.cursor() as cursor:
        cursor.execute(*_open(arrival, "fingerprint"))
        known = {fingerprint for (fingerprint,) in cursor.fetchall()}
    return {
        fingerprint: alert
        for fingerprint, alert in arrival.alerts.items()
        if alert.status == "firing" and fingerprint not in known
    }


_KNOWN = ("id", "fingerprint", "status", "state_changed_at", "starts_at", "ends_at")
_DESCRIBED = ("title", "severity", "description", "service", "labels", "annotations", "url")


def _current_rows(arrival: _Arrival, *, besides: Container[str]) -> dict[str, Alert]:
    """The open rows of the body's other fingerprints, locked in their order."""
    if not arrival.alerts:
        return {}
    are_titled = all(alert.title for alert in arrival.alerts.values())
    statement, values = _open(arrival, *_KNOWN, *(() if are_titled else _DESCRIBED))
    locking = " FOR UPDATE" * connection.features.has_select_for_update
    rows = select(Alert, f"{statement} ORDER BY fingerprint{locking}", values)
    return {row.fingerprint: row for row in rows if row.fingerprint not in besides}


_SAME_BODY = """
    SELECT id, received_at, accepted, duplicates, truncated, is_coalesced FROM incidents_delivery
    WHERE source_id = %s AND body_digest = %s AND received_at > %s
    ORDER BY received_at DESC LIMIT 1
"""


def _same_without_effect(arrival: _Arrival, rows: Mapping[str, Alert]) -> Delivery | None:
    """The delivery this body repeats, when every alert still stands as it said then."""
    if arrival.key or arrival.source.kind not in KEYED_BY_BODY:
        return None
    since = _database_time(arrival.at - SAME_BODY_WITHIN)
    found = select(Delivery, _SAME_BODY, [arrival.source.pk, arrival.digest, since])
    earlier = next(iter(found), None)
    if earlier is None:
        return None
    for fingerprint, alert in arrival.alerts.items():
        row = rows.get(fingerprint)
        if row is None and alert.status == "firing":
            return None
        if row and (row.status != alert.status or row.state_changed_at > earlier.received_at):
            return None
    return earlier


def _wanted(
    arrival: _Arrival, rows: Mapping[str, Alert], *, besides: Container[str]
) -> dict[str, AlertIn]:
    """The other alerts to write, as they are to stand. The recovery of what is not open is not one.

    A sender that tells the beginning once and not again has not taken it back.
    """
    tells_episodes = arrival.source.kind in TELLS_EPISODES
    wanted = {}
    for fingerprint, alert in arrival.alerts.items():
        if fingerprint in besides:
            continue
        row = rows.get(fingerprint)
        if row is None:
            if alert.status == "firing":
                wanted[fingerprint] = alert
            continue
        if not alert.title:
            alert = _described(alert, row)
        if row.state_changed_at > arrival.at or (tells_episodes and _is_of_the_past(alert, row)):
            wanted[fingerprint] = _in_state_of(row, alert)
        elif alert.starts_at is None and not _fires_anew(alert, row):
            wanted[fingerprint] = replace(alert, starts_at=row.starts_at)
        else:
            wanted[fingerprint] = alert
    return wanted


def _described(alert: AlertIn, row: Alert) -> AlertIn:
    """A recovery without a title, with what was known of the alert where it says nothing."""
    severity: payloads.Severity = next(one for one in payloads.SEVERITIES if one == row.severity)
    return replace(
        alert,
        title=row.title,
        severity=severity,
        description=alert.description or row.description,
        service=alert.service or row.service,
        labels=alert.labels or row.labels,
        annotations=alert.annotations or row.annotations,
        url=alert.url or row.url,
    )


def _fires_anew(alert: AlertIn, row: Alert) -> bool:
    return alert.status == "firing" and row.status == Alert.Status.RESOLVED


def _is_of_the_past(alert: AlertIn, row: Alert) -> bool:
    """Whether a recovery ended before the trouble that the row tells of began."""
    return (
        alert.status == "resolved"
        and row.status == Alert.Status.FIRING
        and row.starts_at is not None
        and alert.starts_at is not None
        and alert.ends_at is not None
        and max(alert.starts_at, alert.ends_at) < row.starts_at
    )


def _in_state_of(row: Alert, alert: AlertIn) -> AlertIn:
    status: payloads.Status = "firing" if row.status == Alert.Status.FIRING else "resolved"
    return replace(alert, status=status, starts_at=row.starts_at, ends_at=row.ends_at)


# A repetition changes what the sender may change and adds to the count; what it belongs to and when
# it first came stay.
_COLUMNS = (
    "source_id",
    "fingerprint",
    "is_current",
    "status",
    "severity",
    "title",
    "description",
    "service",
    "labels",
    "annotations",
    "url",
    "starts_at",
    "ends_at",
    "received_at",
    "last_received_at",
    "state_changed_at",
    "count",
    "merge_reason",
)
_REPLACED = (
    "status",
    "severity",
    "title",
    "description",
    "service",
    "labels",
    "annotations",
    "url",
    "starts_at",
    "ends_at",
    "last_received_at",
)
_INSERT = (
    f"INSERT INTO incidents_alert ({', '.join(_COLUMNS)}) {{rows}}"
    " ON CONFLICT (source_id, fingerprint) WHERE is_current "
)
_ADD = f"{_INSERT} DO NOTHING RETURNING fingerprint, count"
_UPSERT = (
    f"{_INSERT} DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _REPLACED)
    + ", count = incidents_alert.count + excluded.count"
    ", state_changed_at = CASE WHEN incidents_alert.status = excluded.status"
    " THEN incidents_alert.state_changed_at ELSE excluded.state_changed_at END"
    " RETURNING fingerprint, count"
)


def _insert(arrival: _Arrival, alerts: Mapping[str, AlertIn]) -> set[str]:
    """Add the alerts, but for those that another delivery has added meanwhile; those that are new."""
    return {fingerprint for fingerprint, _ in _write(_ADD, arrival, alerts)}


def _upsert(arrival: _Arrival, alerts: Mapping[str, AlertIn]) -> set[str]:
    """Write the alerts; the fingerprints that are new."""
    # An open row had been counted before, so only a new one has exactly this count.
    written = _write(_UPSERT, arrival, alerts)
    return {fingerprint for fingerprint, count in written if count == arrival.times[fingerprint]}


def _write(
    statement: str, arrival: _Arrival, alerts: Mapping[str, AlertIn]
) -> Iterator[tuple[str, int]]:
    """Run the statement over the alerts; the fingerprint and count of each row it wrote."""
    rows: list[_Row] = [
        (
            arrival.source.pk,
            fingerprint,
            True,
            alert.status,
            alert.severity,
            alert.title,
            alert.description,
            alert.service,
            alert.labels,
            alert.annotations,
            alert.url,
            alert.starts_at,
            alert.ends_at,
            arrival.at,
            arrival.at,
            arrival.at,
            arrival.times[fingerprint],
            {},
        )
        for fingerprint, alert in alerts.items()
    ]
    given = _as_values if connection.vendor == "sqlite" else _as_one_document
    with connection.cursor() as cursor:
        for start in range(0, len(rows), _ROWS_PER_STATEMENT):
            placed, values = given(rows[start : start + _ROWS_PER_STATEMENT])
            cursor.execute(statement.format(rows=placed), values)
            yield from cursor.fetchall()


def _as_values(rows: Sequence[_Row]) -> tuple[str, list[Any]]:
    row_of_places = f"({places(len(_COLUMNS))})"
    return f"VALUES {', '.join([row_of_places] * len(rows))}", [
        json.dumps(value)
        if isinstance(value, Mapping)
        else _database_time(value)
        if isinstance(value, datetime)
        else value
        for row in rows
        for value in row
    ]


def _as_one_document(rows: Sequence[_Row]) -> tuple[str, list[Any]]:
    """For PostgreSQL, whose driver takes longer to place hundreds of values than the server to run."""
    columns = ", ".join(_COLUMNS)
    document = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    return (
        f"SELECT {columns} FROM jsonb_to_recordset(%s) AS given ({_typed_columns()})"  # noqa: S608 - as above
        " ORDER BY fingerprint",
        [json.dumps(document, default=datetime.isoformat)],
    )


@cache
def _typed_columns() -> str:
    fields = {field.column: field for field in Alert._meta.concrete_fields}
    return ", ".join(f"{name} {fields[name].db_type(connection)}" for name in _COLUMNS)


def _database_time(at: datetime | None) -> Any:
    return connection.ops.adapt_datetimefield_value(at)


def _stamp(arrival: _Arrival) -> None:
    """Note when the source last delivered; seldom, for one row must not hold up all deliveries."""
    last = arrival.source.last_delivery_at
    if last is None or last < arrival.at - _STAMP_EVERY:
        Source.objects.filter(pk=arrival.source.pk).update(last_delivery_at=arrival.at)


def _receipt(delivery: Delivery) -> Receipt:
    return Receipt(
        delivery=delivery.pk,
        accepted=delivery.accepted,
        duplicates=delivery.duplicates,
        truncated=delivery.truncated,
        coalesced=delivery.is_coalesced,
    )


def _replay(earlier: Delivery) -> Receipt:
    return replace(_receipt(earlier), replayed=True)
