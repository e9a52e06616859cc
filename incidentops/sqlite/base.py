"""Django's SQLite backend with a queue before the one write lock.

SQLite lets waiting writers poll with growing pauses: under many threads and processes most of the
time is slept away, and who has waited longest sleeps longest, until its time-out fails the
transaction. Here a transaction first takes an advisory lock on a file beside the database, for which
the kernel wakes waiters at once. The lock orders writers of all processes of this machine; that
nothing is lost or torn remains SQLite's own business.
"""

from __future__ import annotations

import fcntl
import os
from typing import Any

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    _queue: int | None = None
    _has_turn = False

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
