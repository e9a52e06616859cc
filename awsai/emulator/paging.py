"""Long answers in parts. The token of a part is the number of the items before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from awsai.emulator.errors import AwsError

T = TypeVar("T")


def offset(asked: Mapping[str, Any], *, error: str = "ValidationException") -> int:
    """Where the part that is asked for begins; `error` is the service's word for a foreign token."""
    token: str = asked.get("nextToken") or asked.get("NextToken") or "0"
    if not (token.isascii() and token.isdecimal()):
        raise AwsError(error, "The pagination token is not one of ours.")
    return int(token)


def page(items: Sequence[T], start: int, size: int) -> tuple[Sequence[T], str | None]:
    """The items of a part, and the token of the part after it."""
    end = start + size
    return items[start:end], str(end) if end < len(items) else None
