"""Work done by several threads at the same time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


def together(number: int, work: Callable[[int], T]) -> list[T]:
    """Run `work` in threads that start at once, each with a connection of its own."""
    barrier = Barrier(number)

    def run(index: int) -> T:
        try:
            barrier.wait()
            return work(index)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))
