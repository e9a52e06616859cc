"""How deep JSON may nest. Pure."""

from __future__ import annotations

from typing import Any

# Everybody who walks a value calls itself once or twice a level: encoders, hashes, the database.
# Python and SQLite both give up near 1,000; this leaves room for any stack around it.
MOST_LEVELS = 100

TOO_DEEP = f"is nested deeper than {MOST_LEVELS} levels"


def is_too_deep(value: Any) -> bool:
    """Whether lists and objects lie more than `MOST_LEVELS` deep in each other, without recursion."""
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        level = [
            member
            for container in level
            if isinstance(container, dict | list)
            for member in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return False
    return True
