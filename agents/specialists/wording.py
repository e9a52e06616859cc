"""How specialists write: foreign text is cleaned, bounded and quoted; figures are rounded once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime

from awsai.providers.local import sensitive

MOST_QUOTED = 160
_VARIATION_SELECTORS = frozenset([*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])
_PLAIN = re.compile(r"[\w.:/@-]+", re.ASCII)
_QUOTES = str.maketrans({"“": "'", "”": "'", '"': "'", "«": "'", "»": "'"})


def cleaned(text: str, limit: int = MOST_QUOTED) -> str:
    """One line of visible text: no control, format, private or unassigned characters, no secrets.

    What is invisible to people (zero-width, bidirectional, tag characters, variation selectors)
    could carry words that only a machine reads, or cut a secret into parts that no mask finds.
    """
    visible = "".join(_visible(c) for c in text[: 8 * limit])
    # Before the cut, which would leave a secret that cannot be told from a word.
    line = sensitive.without_secrets(" ".join(visible.split()))
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def quoted(text: str, limit: int = MOST_QUOTED) -> str:
    """Foreign text between quotation marks it cannot close itself."""
    return f"“{cleaned(text.translate(_QUOTES), limit)}”"


def named(name: str, limit: int = 80) -> str:
    """An identifier as it is; what could read as a sentence only in quotation marks."""
    is_plain = _PLAIN.fullmatch(name) and len(name) <= limit
    return name if is_plain and cleaned(name, limit) == name else quoted(name, limit)


def _visible(character: str) -> str:
    if ord(character) in _VARIATION_SELECTORS:
        return ""
    category = unicodedata.category(character)
    if category == "Cc" or category.startswith("Z"):
        return " "
    return "" if category.startswith("C") else character


def figure(value: float) -> str:
    return f"{value:.4g}"


def rounded(value: float) -> float:
    """Six significant digits: what is stored is what is shown."""
    return float(f"{value:.6g}")


def duration(seconds: float) -> str:
    seconds = round(abs(seconds))
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def moment(epoch: float) -> datetime:
    return datetime.fromtimestamp(round(epoch, 3), tz=UTC)


def clock(at: datetime | float) -> str:
    instant = at if isinstance(at, datetime) else moment(at)
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def listed(names: Iterable[str], most: int = 6) -> str:
    """Names of services for a sentence, cleaned and bounded."""
    names = [named(name) for name in names]
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 or noun.endswith("series") else f"{n} {noun}s"
