"""Whoever works on a row holds it for a short lease, and renews it for as long as it works.

So what a lost worker held is free within seconds, and what a slow one holds stays with it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType

from django.conf import settings
from django.db import DatabaseError, connection

log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another worker has it now; whatever this one found must be thrown away."""


class Heartbeat:
    """Renews a lease every third of it from a thread of its own, while the block runs.

    `renew` raises `LeaseLost` when there is nothing left to renew; `of` names the row in the log.
    """

    def __init__(self, renew: Callable[[], None], *, of: object) -> None:
        self._renew, self._of = renew, of
        self._done = threading.Event()
        self.is_lost = False
        self._thread = threading.Thread(target=self._beat, daemon=True, name="lease")

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def check(self) -> None:
        """Stop a run whose lease is known to be lost.

        Raises:
            LeaseLost: it is.
        """
        if self.is_lost:
            raise LeaseLost(str(self._of))

    def _beat(self) -> None:
        has_connected = False
        while not self._done.wait(settings.LEASE.total_seconds() / 3):
            has_connected = True
            try:
                self._renew()
            except LeaseLost:
                self.is_lost = True
                break
            except DatabaseError as error:
                # A restart of the database may be shorter than the lease: keep trying.
                log.warning("The lease of %s was not renewed: %s", self._of, error)
                connection.close()
        if has_connected:
            connection.close()
