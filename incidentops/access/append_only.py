"""Triggers by which the database itself refuses to change or delete the rows of a chain."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.apps.registry import Apps
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from incidentops.access.chain import ChainLink

_REFUSAL = "rows of this table are never changed or deleted"


def protect_chains(
    sender: AppConfig, *, using: str, apps: Apps | None = None, **kwargs: Any
) -> None:
    """Install the triggers for an app's chains after each `migrate`.

    Not in a migration: SQLite rebuilds a table to alter it and drops its triggers on the way.
    """
    del apps, kwargs
    for model in sender.get_models():
        if issubclass(model, ChainLink):
            protect(connections[using], model._meta.db_table)


def protect(connection: BaseDatabaseWrapper, table: str) -> None:
    if table not in connection.introspection.table_names():
        return
    present = triggers_of(connection, table)
    with connection.cursor() as cursor:
        for name, statement in _statements(connection.vendor, table).items():
            if name not in present:
                cursor.execute(statement)


def is_protected(connection: BaseDatabaseWrapper, table: str) -> bool:
    return set(_statements(connection.vendor, table)) <= triggers_of(connection, table)


def triggers_of(connection: BaseDatabaseWrapper, table: str) -> set[str]:
    query = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s",
        # 'D': disabled.
        "postgresql": "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(%s) "
        "AND NOT tgisinternal AND tgenabled <> 'D'",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(query, [table])
        return {row[0] for row in cursor.fetchall()}


def _statements(vendor: str, table: str) -> dict[str, str]:
    """The statement that creates each trigger, by its name."""
    if vendor == "sqlite":
        return {
            f"{table}_no_{verb}": f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} "
            f"ON {table} BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
            for verb in ("update", "delete")
        }
    function = (
        "CREATE OR REPLACE FUNCTION access_refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        # `check_violation` reaches Django as IntegrityError, as SQLite's RAISE(ABORT) does.
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'check_violation'; END $$; "
    )
    return {
        f"{table}_no_{verb}": f"{function}CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} "
        f"ON {table} FOR EACH STATEMENT EXECUTE FUNCTION access_refuse_change()"
        for verb in ("update", "delete", "truncate")
    }
