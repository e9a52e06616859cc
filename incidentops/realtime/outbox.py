"""Publish an event inside the transaction that makes it true; relay it after the commit.

The relay gives committed events a dense position in every topic that shows them, then hands them to
the sockets and the receivers. Identifiers are drawn before the commit and so are not in its order;
positions are drawn after it, under one lock that no business transaction ever waits for.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from django.db import connection, transaction
from django.db.models import Max
from django.db.models.functions import Now
from django.utils.timezone import now

from incidentops.realtime import background, channel, events, frames, topics
from incidentops.realtime.events import Event
from incidentops.realtime.models import OutboxEvent, RelayTurn, TopicEntry, TopicHead
from incidentops.realtime.names import group_of, instant
from incidentops.statements import insert, places, select

logger = logging.getLogger(__name__)

BATCH = 500
REDELIVERIES = 200
# The first event of a burst leaves at once, what follows leaves together: nobody sees more than twenty
# changes a second, and each run costs the process that works on a phase.
REST_SECONDS = 0.05
# How long receivers may take before another process calls them too; doubles with every attempt.
FIRST_REDELIVERY = timedelta(seconds=5)
SLOWEST_REDELIVERY = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """What one relay run gave a topic: events from `first` on, as texts, under `epoch`."""

    topic: str
    epoch: str
    first: int
    texts: list[str]


def publish(event: Event) -> OutboxEvent:
    """Store the event with the caller's transaction and wake the relay once it has committed.

    Raises:
        TransactionManagementError: there is no transaction, so the event could outlive its cause.
    """
    return publish_all([event])[0]


def publish_all(happened: Iterable[Event]) -> list[OutboxEvent]:
    """Store several events as `publish` stores one, in their order.

    Raises:
        TransactionManagementError: as there.
    """
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("publish() needs a transaction")
    at = now()
    rows = insert(
        [
            OutboxEvent(type=event.type, version=event.version, data=event.data(), at=at)
            for event in happened
        ]
    )
    if not rows:
        return []
    transaction.on_commit(_relay_thread.wake, robust=True)
    return rows


def relay() -> int:
    """Place every committed event and hand it over; the number of events."""
    total = 0
    while rows := _relay_batch():
        total += rows
        if rows < BATCH:
            break
    return total


def redeliver() -> int:
    """Call the receivers of events that a crash or a failure left unhandled; their number."""
    rows = claim_unhandled()
    _deliver(rows)
    return len(rows)


def _relay_batch() -> int:
    rows, placed = place()
    show(placed)
    _deliver([row for row in rows if not events.is_unheard(row.type)])
    return len(rows)


def place() -> tuple[list[OutboxEvent], list[Placed]]:
    """Give the oldest committed events their positions, in one short transaction.

    An event that no receiver waits for is handled with that.
    """
    with transaction.atomic():
        _take_turn()
        rows = select(OutboxEvent, _UNPLACED, [BATCH])
        if not rows:
            return [], []
        placed = _assign_positions(rows)
        _change([row for row in rows if events.is_unheard(row.type)], _PLACED_AND_HANDLED)
        _change([row for row in rows if not events.is_unheard(row.type)], _PLACED_AND_DUE)
    return rows, placed


def show(placed: Iterable[Placed]) -> None:
    """Hand each topic's new events to the hubs."""
    for batch in placed:
        channel.group_send(
            group_of(batch.topic),
            {
                "type": "batch",
                "topic": batch.topic,
                "epoch": batch.epoch,
                "first": batch.first,
                "events": batch.texts,
            },
        )


def claim_unhandled() -> list[OutboxEvent]:
    """The events whose receivers are due again; each is put off, so that a crash is found later."""
    with transaction.atomic():
        _take_turn()
        rows = list(
            OutboxEvent.objects.filter(
                positioned_at__isnull=False, handled_at=None, due_at__lte=Now()
            ).order_by("due_at", "id")[:REDELIVERIES]
        )
        by_attempts = defaultdict(list)
        for row in rows:
            by_attempts[row.attempts].append(row.pk)
        for attempts, ids in by_attempts.items():
            OutboxEvent.objects.filter(pk__in=ids).update(
                attempts=attempts + 1, due_at=Now() + back_off(attempts + 1)
            )
    return rows


def back_off(attempts: int) -> timedelta:
    """How long after its nth attempt an event is due again."""
    doublings = min(max(attempts - 1, 0), 16)
    return min(FIRST_REDELIVERY * (1 << doublings), SLOWEST_REDELIVERY)


def _take_turn() -> None:
    """Let no other process place or claim events until the transaction ends.

    SQLite needs nothing for that: its transactions begin by taking the one write lock.
    """
    if not connection.features.has_select_for_update:
        return
    with connection.cursor() as cursor:
        cursor.execute(_TURN)
        if cursor.fetchone() is None:
            RelayTurn.objects.get_or_create(pk=1)
            cursor.execute(_TURN)


def _assign_positions(rows: list[OutboxEvent]) -> list[Placed]:
    shown: dict[str, list[tuple[OutboxEvent, str]]] = defaultdict(list)
    for row in rows:
        for topic, data in _routes(row):
            shown[topic].append((row, data))
    if not shown:
        return []
    heads = _heads(shown)
    entries, placed = [], []
    for topic, items in shown.items():
        head = heads.get(topic) or _new_head(topic)
        heads[topic] = head
        first = head.position + 1
        entries += [
            (topic, position, row.pk, data)
            for position, (row, data) in enumerate(items, start=first)
        ]
        head.position += len(items)
        texts = [
            text_of(row, position=position, data=data)
            for position, (row, data) in enumerate(items, start=first)
        ]
        placed.append(Placed(topic=topic, epoch=head.epoch, first=first, texts=texts))
    with connection.cursor() as cursor:
        cursor.executemany(_ENTER, entries)
        moved = [(head.topic, head.epoch, head.position) for head in heads.values()]
        cursor.executemany(_MOVE, moved)
    return placed


def _heads(names: Collection[str]) -> dict[str, TopicHead]:
    found = select(TopicHead, _HEADS.format(places(len(names))), [*names])
    return {head.topic: head for head in found}


def _new_head(topic: str) -> TopicHead:
    """A head for a topic that has none, beyond what it may have had before its head was lost."""
    newest = TopicEntry.objects.filter(topic=topic).aggregate(newest=Max("position"))["newest"]
    return TopicHead(topic=topic, position=newest or 0)


def text_of(row: OutboxEvent, *, position: int, data: str) -> str:
    """The event as sockets send it, with its data as JSON text."""
    return frames.event(
        position=position, type=row.type, at=instant(row.at), version=row.version, data=data
    )


def _routes(row: OutboxEvent) -> list[tuple[str, str]]:
    """The topics that show the event, each with what it shows as JSON text."""
    try:
        routed = list(topics.route(events.rebuild(row.type, row.data, row.version)))
        texts: dict[int, str] = {}
        for _, data in routed:
            if id(data) not in texts:
                texts[id(data)] = frames.dumps(data)
        return [(topic, texts[id(data)]) for topic, data in routed]
    except Exception:
        # An old row of a type that is gone, or a faulty projection: shown nowhere, the rest goes on.
        logger.exception("Event %s cannot be shown on any topic", row)
        return []


def _deliver(rows: list[OutboxEvent]) -> None:
    _change([row for row in rows if _handle(row)], _HANDLED)


def _handle(row: OutboxEvent) -> bool:
    """Call every receiver of the event; whether all of them took it."""
    receivers = events.receivers_of(row.type)
    try:
        event = events.rebuild(row.type, row.data, row.version)
    except (KeyError, TypeError) as error:
        # Written by another version of the code, which may yet come to handle it.
        logger.warning("Event %s is of no known form: %r", row, error)
        return False
    taken = True
    for receiver in receivers:
        try:
            receiver(event)
        except Exception:
            # Whatever one receiver raises must not keep the event from the others.
            logger.exception("Receiver %s failed on event %s", receiver.__qualname__, row)
            taken = False
    return taken


# --- Statements --------------------------------------------------------------------------------

# In plain SQL, since they run up to twenty times a second in every process that has events: to be
# built by the ORM takes several times as long as to run.
_TURN = "SELECT id FROM realtime_relayturn WHERE id = 1 FOR UPDATE"
_UNPLACED = """
    SELECT id, type, version, data, at FROM realtime_outboxevent
    WHERE positioned_at IS NULL ORDER BY id LIMIT %s
"""
_HEADS = "SELECT * FROM realtime_topichead WHERE topic IN ({})"
_ENTER = "INSERT INTO realtime_topicentry (topic, position, event_id, data) VALUES (%s, %s, %s, %s)"
_MOVE = """
    INSERT INTO realtime_topichead (topic, epoch, position) VALUES (%s, %s, %s)
    ON CONFLICT (topic) DO UPDATE SET position = excluded.position
"""

_PLACED_AND_HANDLED = "positioned_at = {now}, attempts = 1, handled_at = {now}"
_PLACED_AND_DUE = "positioned_at = {now}, attempts = 1, due_at = {soon}"
_HANDLED = "handled_at = {now}"


def _change(rows: list[OutboxEvent], assignments: str) -> None:
    """Change columns of rows that are not handled yet."""
    if rows:
        ids = places(len(rows))
        update = f"UPDATE realtime_outboxevent SET {_timed(assignments, connection.vendor)}"  # noqa: S608  # our own words
        with connection.cursor() as cursor:
            where = f"WHERE handled_at IS NULL AND id IN ({ids})"
            cursor.execute(f"{update} {where}", [row.pk for row in rows])


@cache
def _timed(assignments: str, vendor: str) -> str:
    """The assignments with the database's own clock, as this kind of database reads it."""
    seconds = FIRST_REDELIVERY.total_seconds()
    match vendor:
        case "sqlite":
            clock = "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW'{})"
            now, soon = clock.format(""), clock.format(f", '+{seconds} seconds'")
        case _:
            now = "STATEMENT_TIMESTAMP()"
            soon = f"{now} + INTERVAL '{seconds} seconds'"
    return assignments.format(now=now, soon=soon)


_relay_thread = background.Worker("outbox-relay", relay, rest=REST_SECONDS)
