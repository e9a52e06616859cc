"""Windows of time, as people write them ("7d", "24h")."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_FORM = re.compile(r"([1-9][0-9]{0,4})([dh])", re.ASCII)
LONGEST = timedelta(days=3660)


class InvalidWindow(ValueError):
    """The text is not a window; the message says what one looks like."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The half-open time [`since`, `until`)."""

    name: str
    since: datetime
    until: datetime

    @property
    def previous(self) -> Window:
        """The window of equal length that ends where this one begins."""
        length = self.until - self.since
        return Window(name=self.name, since=self.since - length, until=self.since)


def parse(text: str, *, at: datetime) -> Window:
    """The window of this length that ends at `at`.

    Raises:
        InvalidWindow: the text is not a number of days or hours, or is too long.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise InvalidWindow('A window is a number of days or hours, such as "7d" or "24h".')
    number = int(match[1])
    length = timedelta(days=number) if match[2] == "d" else timedelta(hours=number)
    if length > LONGEST:
        raise InvalidWindow(f"A window is at most {LONGEST.days} days long.")
    return Window(name=text, since=at - length, until=at)
