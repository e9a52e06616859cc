"""Database, broker, migrations, worker and beat."""

from __future__ import annotations

from datetime import timedelta

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from redis.exceptions import RedisError

from incidentops.health import heartbeats
from incidentops.health.registry import Probe, Reading, Vital, register, register_vital
from incidentops.realtime import soundings

# Beat writes every two seconds, workers every two or three.
SILENT_AFTER = timedelta(seconds=15)
# The sweep runs every second; an event that waits for ten has been missed by several.
UNRELAYED_AFTER = timedelta(seconds=10)


def _database() -> Reading:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return Reading(ok=False, summary=f"The database does not answer: {type(error).__name__}.")
    return Reading(
        ok=True, summary="The database answers.", detail={"vendor": connection.display_name}
    )


def _migrations() -> Reading:
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return Reading(ok=False, summary=f"Migrations cannot be read: {type(error).__name__}.")
    names = [f"{migration.app_label}.{migration.name}" for migration, _ in pending]
    if names:
        return Reading(
            ok=False,
            summary=f"{len(names)} migrations are not applied; run `manage.py migrate`.",
            detail={"pending": names},
        )
    return Reading(ok=True, summary="All migrations are applied.", detail={"pending": []})


def _broker() -> Reading:
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2, retry=None
    )
    try:
        client.ping()
    except RedisError as error:
        return Reading(ok=False, summary=f"Redis does not answer: {type(error).__name__}.")
    finally:
        client.close()
    return Reading(ok=True, summary="Redis answers.")


def _living(who: heartbeats.Beating) -> Reading:
    try:
        age = heartbeats.age(who)
    except RedisError:
        return Reading(
            ok=False,
            summary=f"The {who} cannot be heard while Redis is away.",
            detail={"age_seconds": None},
        )
    if age is None:
        return Reading(
            ok=False,
            summary=f"No {who} has given a sign of life in the last hour.",
            detail={"age_seconds": None},
        )
    seconds = round(age.total_seconds(), 1)
    return Reading(
        ok=age < SILENT_AFTER,
        summary=f"The {who} gave a sign of life {seconds} s ago.",
        detail={"age_seconds": seconds},
    )


def _channel_layer() -> Reading:
    try:
        milliseconds = soundings.round_trip_ms()
    except (RedisError, OSError, TimeoutError) as error:
        return Reading(
            ok=False, summary=f"Nothing comes through the channel layer: {type(error).__name__}."
        )
    return Reading(
        ok=True,
        summary=f"A message takes {milliseconds} ms through the channel layer.",
        detail={"round_trip_ms": milliseconds},
    )


def _outbox() -> Reading:
    try:
        seconds = round(soundings.oldest_unrelayed().total_seconds(), 3)
        overdue = soundings.overdue_events()
    except DatabaseError as error:
        return Reading(ok=False, summary=f"The outbox cannot be read: {type(error).__name__}.")
    detail = {"oldest_unrelayed_seconds": seconds, "overdue_events": overdue}
    if timedelta(seconds=seconds) > UNRELAYED_AFTER:
        return Reading(ok=False, summary=f"An event waits for {seconds} s.", detail=detail)
    if overdue:
        summary = f"{overdue} events have a receiver that fails."
        return Reading(ok=False, summary=summary, detail=detail)
    return Reading(ok=True, summary="Events are relayed as they come.", detail=detail)


register(Probe(name="database", check=_database))
register(Probe(name="broker", check=_broker))
register(Probe(name="migrations", check=_migrations))
register(Probe(name="worker", check=lambda: _living(heartbeats.Beating.WORKER)))
register(Probe(name="beat", check=lambda: _living(heartbeats.Beating.BEAT)))
register(Probe(name="channel_layer", check=_channel_layer))
register(Probe(name="outbox", check=_outbox, is_critical=False))
register_vital(Vital(name="sockets", read=soundings.open_sockets))
