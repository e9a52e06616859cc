"""What all tests share; `tests/lanes.py` chose database and server before."""

from __future__ import annotations

from datetime import timedelta

import pytest


def pytest_configure() -> None:
    """Let the flush after transactional tests empty append-only tables.

    SQLite flushes by DELETE, PostgreSQL by TRUNCATE, which the triggers of those tables refuse. So
    the flush, and nothing else, does without the triggers.
    """
    # `operations` alone cannot be the first module of a backend to be imported.
    from django.db.backends.postgresql.base import DatabaseWrapper as PostgreSQLDatabase
    from django.db.backends.sqlite3.base import DatabaseWrapper as SQLiteDatabase

    SQLite, PostgreSQL = SQLiteDatabase.ops_class, PostgreSQLDatabase.ops_class
    flush, truncate = SQLite.sql_flush, PostgreSQL.sql_flush

    def sql_flush(self, style, tables, **options):
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = cursor.fetchall()
        drop = [f'DROP TRIGGER "{name}"' for name, _ in triggers]
        return [*drop, *flush(self, style, tables, **options), *(sql for _, sql in triggers)]

    def sql_truncate(self, style, tables, **options):
        with self.connection.cursor() as cursor:
            # 32: fires on TRUNCATE.
            cursor.execute(
                "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger "
                "WHERE tgtype & 32 <> 0 AND NOT tgisinternal"
            )
            guarded = [name for (name,) in cursor.fetchall()]
        return [
            *(f"ALTER TABLE {name} DISABLE TRIGGER USER" for name in guarded),
            *truncate(self, style, tables, **options),
            *(f"ALTER TABLE {name} ENABLE TRIGGER USER" for name in guarded),
        ]

    SQLite.sql_flush = sql_flush  # type: ignore[method-assign]  # the patch
    PostgreSQL.sql_flush = sql_truncate  # type: ignore[method-assign]  # the patch


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """On SQLite, a file: threads wait for each other only there, in memory they fail at once."""
    from django.conf import settings
    from django.db import connections

    database = connections["default"].settings_dict
    if connections["default"].vendor == "sqlite":
        database["TEST"]["NAME"] = str(settings.VAR / "test.sqlite3")
        # Tests survive no power failure.
        database["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"


@pytest.fixture(autouse=True, scope="session")
def _cheap_settings() -> None:
    """Nothing is collected for tests, so there is no manifest of hashed names; passwords are cheap.

    Nor does a thread of this process relay behind a test's back; tests of the thread turn it on.
    """
    from django.conf import settings

    settings.RELAY_IN_BACKGROUND = False
    settings.AWSAI_FRESH = timedelta(0)
    settings.STORAGES["staticfiles"] = {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
    }
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
