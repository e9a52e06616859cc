from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def known(value: T | None) -> T:
    """`value`, which must be there at this point of a test."""
    assert value is not None
    return value
