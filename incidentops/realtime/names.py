"""How topics and instants are written where they leave the process."""

from __future__ import annotations

from datetime import datetime


def group_of(topic: str) -> str:
    """The channel group that carries a topic; group names know no colon."""
    return "topic." + topic.replace(":", ".")


def instant(at: datetime) -> str:
    """An aware datetime in UTC as RFC 3339, milliseconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
