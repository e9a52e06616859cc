"""Configurations as they are shown: URLs without the credentials in them. Pure."""

from __future__ import annotations

import re
from typing import Any

MASK = "***"

# Up to the last @ before the path, as readers of URLs take it. Without a colon a token stands alone.
_CREDENTIALS = re.compile(r"(?<=://)(?:([^/?#:]*):[^/?#]*|[^/?#:]+)(?=@)")


class StillMasked(ValueError):
    """What was shown came back for something else than it stands for. `path` says where."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def masked(value: Any) -> Any:
    """The JSON value with every password in a URL, and every token in its place, as `MASK`."""
    if isinstance(value, str):
        return _CREDENTIALS.sub(_hidden, value)
    if isinstance(value, dict):
        return {masked(name): masked(member) for name, member in value.items()}
    return [masked(member) for member in value] if isinstance(value, list) else value


def _hidden(found: re.Match[str]) -> str:
    return MASK if found[1] is None else f"{found[1]}:{MASK}"


def unmasked(given: Any, stored: Any, path: str) -> Any:
    """What was given, with what is stored at the same place for everything still as it was shown.

    A URL that differs in anything else needs its password anew: whoever may write one but not see
    the password could have it sent elsewhere.

    Raises:
        StillMasked: a mask stands for nothing that is stored there.
    """
    if isinstance(given, str):
        if not any(MASK in found[0] for found in _CREDENTIALS.finditer(given)):
            return given
        if given == masked(stored):
            return stored
        if masked(given) == given:
            raise StillMasked(path)
        return given
    if isinstance(given, dict):
        before = stored if isinstance(stored, dict) else {}
        return {
            name: unmasked(member, before.get(name), f"{path}.{name}")
            for name, member in given.items()
        }
    if isinstance(given, list):
        listed = stored if isinstance(stored, list) else []
        return [
            unmasked(member, listed[place] if place < len(listed) else None, f"{path}[{place}]")
            for place, member in enumerate(given)
        ]
    return given
