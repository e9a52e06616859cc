"""How topics and instants are written where they leave the process."""

from __future__ import annotations

from datetime import UTC, datetime


def group_of(topic: str) -> str:
    """The channel group that carries a topic; group names know no colon."""
    return "topic." + topic.replace(":", ".")


def instant(at: datetime) -> str:
    """An aware datetime as RFC 3339 in UTC, milliseconds."""
    # Not strftime: it writes the year 2 as one digit, which nothing reads as a time.
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
