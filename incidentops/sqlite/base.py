"""Django's SQLite backend with a queue before the one write lock, and with connections kept open.

SQLite lets waiting writers poll with growing pauses: under many threads and processes most of the
time is slept away, and who has waited longest sleeps longest, until its time-out fails the
transaction. Here a transaction first takes an advisory lock on a file beside the database, for which
the kernel wakes waiters at once. The lock orders writers of all processes of this machine; that
nothing is lost or torn remains SQLite's own business.

Under ASGI each request has its own thread and so a connection of its own. To open one takes a
millisecond, longer than most requests spend in the database, so those that are closed are kept for
whoever opens the next.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from sqlite3 import SQLITE_BUSY, Connection, OperationalError
from threading import Event, Lock
from time import monotonic
from typing import Any
from weakref import WeakSet

from django.db.backends.sqlite3 import base

MOST_IDLE = 16
# As `sqlite3` has it.
DEFAULT_TIMEOUT_SECONDS = 5.0
PAUSE_SECONDS = 0.01


class _Idle:
    """Open connections that nobody uses, each with the file it has open."""

    def __init__(self) -> None:
        self._kept: list[tuple[tuple[int, int], Connection]] = []
        self._inherited: list[Connection] = []
        self._change = Lock()
        os.register_at_fork(after_in_child=self._leave)

    def _leave(self) -> None:
        """A child must neither use nor close what its parent has open."""
        self._inherited += [connection for _, connection in self._kept]
        self._kept, self._change = [], Lock()

    def take(self, path: str) -> Connection | None:
        """One that has this file open, if there is any."""
        file = _file(path)
        with self._change:
            for place, (kept, connection) in enumerate(self._kept):
                if kept == file:
                    del self._kept[place]
                    return connection
        return None

    def keep(self, path: str, connection: Connection) -> bool:
        """Whether there was room for it."""
        file = _file(path)
        with self._change:
            if file is None or len(self._kept) >= MOST_IDLE:
                return False
            self._kept.append((file, connection))
            return True


def _file(path: str) -> tuple[int, int] | None:
    """What tells the file at this path from one that stood there before."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


_idle = _Idle()
_never = Event()


class _Cursor(base.SQLiteCursorWrapper):
    """One that remembers how SQLite writes a statement's placeholders: the same few come again."""

    def convert_query(self, query: str, *, param_names: list[str] | None = None) -> str:
        if param_names is None:
            return _asked(query)
        return super().convert_query(query, param_names=param_names)


@lru_cache(maxsize=512)
def _asked(query: str) -> str:
    return base.FORMAT_QMARK_REGEX.sub("?", query).replace("%%", "%")


class DatabaseWrapper(base.DatabaseWrapper):
    _queue: int | None = None
    _has_turn = False
    _opened: tuple[int, int] | None = None
    _cursors: WeakSet[Any]

    def get_new_connection(self, conn_params: Mapping[str, Any]) -> Any:
        path = str(conn_params["database"])
        connection = None if self.is_in_memory_db() else _idle.take(path)
        if connection is None:
            connection = self._open(conn_params)
        self._opened, self._cursors = _file(path), WeakSet()
        return connection

    def _open(self, conn_params: Mapping[str, Any]) -> Any:
        """Open a connection; of those that turn a new database to WAL, SQLite lets none wait."""
        ends_at = monotonic() + conn_params.get("timeout", DEFAULT_TIMEOUT_SECONDS)
        while True:
            try:
                return super().get_new_connection(conn_params)
            except OperationalError as error:
                if error.sqlite_errorcode != SQLITE_BUSY or monotonic() > ends_at:
                    raise
            _never.wait(PAUSE_SECONDS)

    def create_cursor(self, name: str | None = None) -> Any:
        cursor = self.connection.cursor(factory=_Cursor)
        self._cursors.add(cursor)
        return cursor

    def _start_transaction_under_autocommit(self) -> None:
        self._wait_for_turn()
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]  # absent from the stubs
        except BaseException:
            self._end_turn()
            raise

    def _commit(self) -> Any:
        # A commit that fails is rolled back, which ends the turn.
        result = super()._commit()  # type: ignore[misc]  # absent from the stubs
        self._end_turn()
        return result

    def _rollback(self) -> Any:
        try:
            return super()._rollback()  # type: ignore[misc]  # absent from the stubs
        finally:
            self._end_turn()

    def _close(self) -> Any:
        try:
            if not self._keep():
                return super()._close()  # type: ignore[misc]  # absent from the stubs
        finally:
            self._end_turn()
            if self._queue is not None:
                os.close(self._queue)
                self._queue = None

    def _wait_for_turn(self) -> None:
        if self.is_in_memory_db():
            return
        if self._queue is None:
            path = f"{self.settings_dict['NAME']}-queue"
            self._queue = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._queue, fcntl.LOCK_EX)
        self._has_turn = True

    def _end_turn(self) -> None:
        if self._has_turn and self._queue is not None:
            self._has_turn = False
            fcntl.flock(self._queue, fcntl.LOCK_UN)

    def _keep(self) -> bool:
        """Keep the connection open for somebody else, unless it is in the middle of something."""
        connection, path = self.connection, str(self.settings_dict["NAME"])
        if connection is None or connection.in_transaction or self.is_in_memory_db():
            return False
        if self._opened != _file(path):
            return False
        for cursor in self._cursors:
            # One that was not read to its end would hold the next user in the past.
            cursor.close()
        return _idle.keep(path, connection)
