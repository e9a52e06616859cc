"""How instants, durations and numbers are written on pages. Scripts write them the same way."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import now

register = template.Library()

UNKNOWN = "\N{EN DASH}"
PRICE_UNKNOWN = "price not known"
# Not "//host", and nothing that a browser would drop or turn round before it reads the address.
_LOCAL_PATH = re.compile(r"/(?!/)[A-Za-z0-9_./~%?=&#-]*")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d.*(Z|[+-]\d\d:\d\d)$")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
_WORDS = {"awaiting_approval": "awaiting approval", "NO_ACTION": "no action"}


def _moment(value: object) -> datetime | None:
    """An instant as it comes from a row (datetime), a snapshot (RFC 3339) or a series (epoch s)."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None


@register.filter
def span(seconds: float | None) -> str:
    """A duration in its two largest units: "42 s", "3 min 12 s", "2 h 5 min"; a dash when unknown."""
    if seconds is None:
        return UNKNOWN
    if seconds == 0:
        return "0 s"
    if abs(seconds) < 1:
        return f"{seconds * 1000:.0f} ms"
    if abs(seconds) < 60:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.0f} s"
    left = round(seconds)
    for size, unit in _UNITS:
        if left >= size:
            small, small_unit = {"d": (3_600, "h"), "h": (60, "min"), "min": (1, "s")}[unit]
            rest = left % size // small
            return (
                f"{left // size} {unit} {rest} {small_unit}" if rest else f"{left // size} {unit}"
            )
    return f"{left} s"


@register.filter
def instant(value: object) -> SafeString | str:
    """An absolute time in UTC that scripts may show in the reader's zone."""
    at = _moment(value)
    if at is None:
        return UNKNOWN
    at = at.astimezone(UTC)
    return format_html(
        '<time datetime="{}">{}</time>',
        at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        at.strftime("%Y-%m-%d %H:%M:%S UTC"),
    )


@register.filter
def age(value: object) -> SafeString | str:
    """How long ago; scripts keep it current."""
    at = _moment(value)
    if at is None:
        return UNKNOWN
    at = at.astimezone(UTC)
    return format_html(
        '<time class="age" data-age datetime="{}" title="{}">{}</time>',
        at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        span(max(0, round((now() - at).total_seconds()))),
    )


@register.simple_tag
def between(start: object, end: object) -> str:
    """The time from one instant to another; a dash when either is unknown."""
    first, last = _moment(start), _moment(end)
    if first is None or last is None:
        return UNKNOWN
    return span((last - first).total_seconds())


@register.filter
def word(value: object) -> str:
    """A stored word as people read it."""
    text = str(value)
    return _WORDS.get(text, text.replace("_", " "))


@register.filter
def number(value: object) -> str:
    """A measured value with four significant digits and a thousands separator; what counts is whole.

    Rounded as browsers do: halves away from zero, of the digits that are written, but of the exact
    binary value where there is an exponent.
    """
    if not isinstance(value, int | float) or not math.isfinite(value):
        return UNKNOWN
    size = abs(value)
    if size < 1e15 and value == int(value):
        return f"{int(value):,}"
    if size < 1e-3 or size >= 1e7:
        mantissa, _, power = f"{_rounded(Decimal(value)):.3e}".partition("e")
        return f"{mantissa}e{int(power):+d}"
    text = f"{_rounded(Decimal(repr(value))):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _rounded(value: Decimal) -> Decimal:
    """To four digits; a plain number keeps its whole part."""
    last_digit = value.adjusted() - 3
    if 4 <= value.adjusted() < 7:
        last_digit = 0
    # A double has up to 768 digits; the default precision would refuse most of them.
    return value.quantize(Decimal((0, (1,), last_digit)), ROUND_HALF_UP, Context(prec=800))


@register.filter
def size(count: int) -> str:
    """Bytes in the unit people use for files; a kilobyte has 1024."""
    if count < 1024:
        return f"{count} byte" + ("" if count == 1 else "s")
    kilobytes = count / 1024
    return f"{kilobytes:.1f} KB" if kilobytes < 1024 else f"{kilobytes / 1024:.1f} MB"


@register.filter
def measured(value: float | None, unit: str) -> str:
    """A value in its unit, as the tiles of /demo write it."""
    if value is None:
        return UNKNOWN
    if unit in ("s", "seconds"):
        return span(value)
    if unit in ("ratio", "share", "fraction"):
        return f"{value * 100:.1f} %"
    if unit in ("USD", "usd"):
        return f"${value:,.2f}"
    return number(value)


@register.filter
def item(mapping: object, key: object) -> Any:
    """The value under a key that a template only knows at run time; None when it is absent."""
    return mapping.get(key) if isinstance(mapping, Mapping) else None


@register.filter
def as_json(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str)


@register.filter
def days(window: str) -> str:
    """The name of a window as people say it: "7d" is "7 days"."""
    return re.sub(r"^(\d+)d$", r"\1 days", window)


@register.filter
def last(values: Sequence[Any] | None, count: int) -> Sequence[Any]:
    return (values or [])[-count:]


@register.simple_tag
def columns_of(rows: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """The keys of all rows in order of first appearance: the columns of an evidence table."""
    return list(dict.fromkeys(key for row in rows or () for key in row))


PHASES = (
    "detection",
    "diagnosis",
    "prediction",
    "consensus",
    "resolution",
    "verification",
    "communication",
)


@register.simple_tag
def phase_number(phase: str) -> int | str:
    """1 to 7; a dash for what is no phase."""
    return PHASES.index(phase) + 1 if phase in PHASES else UNKNOWN


@register.filter
def cell(value: object) -> str:
    """A JSON value in a table: numbers rounded, instants and lists written out."""
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, str) and _INSTANT.match(value):
        return instant(value)
    return _listed(value)


def _listed(value: object) -> str:
    """As `cell` inside a list or an object, where instants stay text: there is no markup in a text."""
    if isinstance(value, list):
        return ", ".join(_listed(part) for part in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_listed(part)}" for key, part in value.items())
    return str(value) if isinstance(value, str) and value else cell(value)


@register.filter
def nano_usd(value: int | None) -> str:
    """Dollars from nano-dollars, cents at least and then to the last digit that counts."""
    if value is None:
        return PRICE_UNKNOWN
    whole, _, part = f"{value / 1_000_000_000:,.9f}".rstrip("0").partition(".")
    return f"${whole}.{part:0<2}"


@register.simple_tag
def money(nano: int | None, unknown: int) -> str:
    """A sum of prices and how many calls it leaves out because their price is not known."""
    if nano is None or not unknown:
        return nano_usd(nano)
    calls = "1 call" if unknown == 1 else f"{unknown} calls"
    return f"{nano_usd(nano)} and {calls} whose price is not known"


@register.filter
def milliseconds(value: int | None) -> str:
    return span(None if value is None else value / 1000)


@register.filter
def is_local_path(uri: object) -> bool:
    """Whether an address is a path of this installation, which a page may link to."""
    return isinstance(uri, str) and _LOCAL_PATH.fullmatch(uri) is not None
