"""Group commit: what several threads want written at the same time is written in one transaction.

Each commit waits for the disk once, so that ten rows in one cost little more than one. Nobody waits
in order to fill a group: whoever comes while another is writing goes into the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar

from django.db import connection

T = TypeVar("T")
R = TypeVar("R")


class _Entry(Generic[T, R]):
    def __init__(self, item: T) -> None:
        self.item = item
        self.result: R | Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.result is not None


class Journal(Generic[T, R]):
    """`write_all` writes items in one transaction and answers with a result for each, in their order.

    A result that is an exception is raised to whoever wanted that item written. Results are never
    None.
    """

    def __init__(self, write_all: Callable[[Sequence[T]], Sequence[R | Exception]]) -> None:
        self._write_all = write_all
        self._waiting: list[_Entry[T, R]] = []
        self._change = Lock()
        self._turn = Lock()

    def write(self, item: T) -> R:
        """Have the item written; it is committed on return, unless the caller's transaction is open."""
        entry: _Entry[T, R] = _Entry(item)
        if connection.in_atomic_block:
            # What others want written must not depend on how this caller's transaction ends.
            self._settle([entry])
        else:
            with self._change:
                self._waiting.append(entry)
            while not entry.is_done:
                with self._turn:
                    if not entry.is_done:
                        self._write_waiting()
        if isinstance(entry.result, Exception):
            raise entry.result
        assert entry.result is not None
        return entry.result

    def _write_waiting(self) -> None:
        with self._change:
            entries, self._waiting = self._waiting, []
        try:
            self._settle(entries)
        finally:
            # A thread that is told to stop leaves what it has not written to the next one.
            with self._change:
                self._waiting[:0] = [entry for entry in entries if not entry.is_done]

    def _settle(self, entries: list[_Entry[T, R]]) -> None:
        try:
            results = self._write_all([entry.item for entry in entries])
        except Exception as error:  # noqa: BLE001  # raised to whoever wanted the item written
            # One item that the database refuses must not take the others with it.
            if len(entries) > 1:
                for entry in entries:
                    self._settle([entry])
            else:
                entries[0].result = error
            return
        for entry, result in zip(entries, results, strict=True):
            entry.result = result
