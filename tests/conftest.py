"""Lanes: by default SQLite and a private embedded server; PostgreSQL and Redis by environment.

`TEST_DATABASE_URL` and `TEST_REDIS_URL` choose the second lane. Settings are read once, so the
environment is arranged here, before Django loads.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest
import redis

_VAR = Path(tempfile.mkdtemp(prefix="incidentops-tests-"))
atexit.register(shutil.rmtree, _VAR, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith("IOP_")]:
    del os.environ[_name]
os.environ |= {
    "IOP_VAR": str(_VAR),
    "IOP_SECRET_KEY": "only-for-tests-" + "x" * 40,
    "IOP_REDIS_PREFIX": f"test-{uuid.uuid4().hex[:8]}",
    "IOP_LOG_LEVEL": "WARNING",
}
os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL", "")


def _private_server() -> str:
    from incidentops import embedded

    password, port = embedded.new_password(), embedded.free_port()
    command = embedded.server_command(_VAR / "redis", port=port, password=password, durable=False)
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    atexit.register(server.terminate)
    url = embedded.server_url(port=port, password=password)
    client = redis.Redis.from_url(
        url, retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 100)
    )
    client.ping()
    client.close()
    return url


os.environ["REDIS_URL"] = os.environ.get("TEST_REDIS_URL") or _private_server()


def pytest_report_header() -> list[str]:
    database = "PostgreSQL" if os.environ["DATABASE_URL"] else "SQLite"
    server = "given Redis" if os.environ.get("TEST_REDIS_URL") else "embedded server"
    return [f"lane: {database} + {server}"]


def pytest_configure() -> None:
    """Let the flush after transactional tests empty append-only tables.

    SQLite flushes by DELETE, PostgreSQL by TRUNCATE, which the triggers of those tables refuse. So
    the flush, and nothing else, does without the triggers.
    """
    from django.db.backends.postgresql.operations import DatabaseOperations as PostgreSQL
    from django.db.backends.sqlite3.operations import DatabaseOperations as SQLite

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

    SQLite.sql_flush, PostgreSQL.sql_flush = sql_flush, sql_truncate
