"""Whoever works on a row holds it for a short lease, and renews it for as long as it works.

So what a lost worker held is free within seconds, and what a slow one holds stays with it. Who runs on
the same machine can tell at once that a process has ended, and need not wait for its lease.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import TracebackType

from django.conf import settings
from django.db import DatabaseError, connection

log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another worker has it now; whatever this one found must be thrown away."""


def holder() -> str:
    """This process as the holder of a lease, in at most 80 characters; its id stands last."""
    return _holder(os.getpid())


@lru_cache(maxsize=1)
def _holder(pid: int) -> str:
    return f"{socket.gethostname()[:40]}:{_space()}:{_start_of(pid) or ''}:{pid}"


def is_gone(holder: str) -> bool:
    """Whether the holder is known to have ended. What runs elsewhere, or is only stopped, is not."""
    try:
        _, space, start, pid = holder.split(":")
    except ValueError:  # nobody, or as another version writes it
        return False
    if not (space and start and space == _space()):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _start_of(int(pid)) not in (start, None)


@lru_cache(maxsize=1)
def _space() -> str:
    """Where a process id means the same process; empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{boot}{namespace}".encode()).hexdigest()[:8]


def _start_of(pid: int) -> str | None:
    """When the process began, in ticks since the boot; "ended" if only its parent still knows it.

    None where that cannot be read.
    """
    try:
        # The name, which may hold anything, stands in parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "ended" if fields[0] in "ZX" else fields[19]


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
