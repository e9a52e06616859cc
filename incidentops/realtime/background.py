"""A thread that repeats one piece of work whenever it is woken."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from django.conf import settings
from django.db import connections

logger = logging.getLogger(__name__)

IDLE_SECONDS = 1.0


class Worker:
    """Runs `work` in a daemon thread of this process; many wakes while it runs make one more run.

    It rests for `rest` seconds after each run. The thread starts at the first wake, after any fork,
    and gives its database connections back when it has nothing to do.
    """

    def __init__(self, name: str, work: Callable[[], object], *, rest: float = 0.0) -> None:
        self._name = name
        self._work = work
        self._rest = rest
        self._never = threading.Event()
        self._thread: threading.Thread | None = None
        self._woken = threading.Event()
        self._starting = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def wake(self) -> None:
        if not settings.RELAY_IN_BACKGROUND:
            return
        self._woken.set()
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def _forget(self) -> None:
        """A forked child has the locks and the thread object, but not the thread."""
        self._thread, self._woken, self._starting = None, threading.Event(), threading.Lock()

    def _run(self) -> None:
        while True:
            if not self._woken.wait(IDLE_SECONDS):
                connections.close_all()
                self._woken.wait()
            self._woken.clear()
            try:
                self._work()
            except Exception:
                # The database may be away. The sweep, or the next wake, does this work again.
                logger.exception("%s failed", self._name)
                connections.close_all()
            self._never.wait(self._rest)
