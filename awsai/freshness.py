"""What is read from the database for every call, and changes by the hand of people or by little."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from time import monotonic
from typing import ParamSpec, TypeVar

from django.conf import settings

P = ParamSpec("P")
T = TypeVar("T")


MOST_KEPT = 256


def kept_fresh(read: Callable[P, T]) -> Callable[P, T]:
    """Read anew when what was read for the same arguments is older than `AWSAI_FRESH`.

    One thread does, and meanwhile the others go by what was read before. Seconds old, it may say who
    is asked first; what must hold at every call is read at every call.
    """
    kept: dict[object, tuple[float, T]] = {}

    @wraps(read)
    def fresh(*args: P.args, **kwargs: P.kwargs) -> T:
        key = (args, tuple(sorted(kwargs.items())))
        found = kept.get(key)
        if found and monotonic() - found[0] < settings.AWSAI_FRESH.total_seconds():
            return found[1]
        if len(kept) >= MOST_KEPT:
            kept.clear()
        read_at = monotonic()
        if found:
            kept[key] = read_at, found[1]
        value = read(*args, **kwargs)
        kept[key] = read_at, value
        return value

    return fresh
