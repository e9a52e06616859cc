"""Dates, quantities, addresses, names and versions in a text, by their form. Pure.

Each kind has tests beyond its pattern; a span's score is the share of pattern and tests it passed.
That is no probability: 1 means that nothing spoke against it. People and places are not recognised,
since nothing but a model or a register could tell them from other capitalised words.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import re2

from awsai.ports import Span
from awsai.providers.local.words import encodable, listed

_UNITS = (
    "ms|milliseconds?|µs|us|microseconds?|ns|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?"
    "|weeks?|months?|years?|%|percent|[kmgtp]i?b|bytes?|bits?|[kmg]bit/s|[kmg]i?b/s|rps|qps|tps"
    "|req(?:uests?)?/s|requests?|errors?|connections?|users?|customers?|messages?|events?|pods?"
    "|replicas?|instances?|nodes?|hosts?|cores?|cpus?|threads?|retries|times|usd|eur|°c"
)
_MONTHS = "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
_TOP_LEVELS = listed(
    "com net org io dev cloud internal local svc eu de uk us edu gov info ai app aws"
)
_SERVICE_WORDS = listed(
    "api app auth backend cache checkout client cluster consumer cron database db edge frontend "
    "gateway ingress job kafka lb primary producer proxy queue redis replica rest server service "
    "store svc sync web worker"
)
_VERSION_WORDS = listed("version release deploy deployed upgrade upgraded rollback to from v")
_COMPANY = "Inc|Ltd|LLC|GmbH|AG|Corp|Corporation|PLC|S\\.A|B\\.V"
_BRANDS = (
    "Amazon Web Services|Google Cloud|Microsoft|Google|Cloudflare|GitHub|GitLab|Atlassian|Datadog"
    "|PagerDuty|Stripe|Twilio|HashiCorp|Red Hat|Grafana Labs|MongoDB Inc|Oracle Corporation"
)

# (text, begin, end) -> whether it speaks for the kind
Test = Callable[[str, int, int], bool]


@dataclass(frozen=True, kw_only=True)
class _Kind:
    name: str
    pattern: Any
    tests: tuple[Test, ...] = ()
    needs: Test | None = None


def entities(text: str) -> tuple[Span, ...]:
    """Spans that do not overlap, in order; the earlier of the kinds below goes first."""
    shown = encodable(text)
    is_taken = bytearray(len(text))
    found: list[Span] = []
    for kind in _KINDS:
        for match in kind.pattern.finditer(shown):
            begin, end = match.span(1 if kind.pattern.groups else 0)
            if any(is_taken[begin:end]) or (kind.needs and not kind.needs(shown, begin, end)):
                continue
            is_taken[begin:end] = b"\x01" * (end - begin)
            found.append(_span(kind, text, shown, begin, end))
    return tuple(sorted(found, key=lambda span: span.begin))


def _span(kind: _Kind, text: str, shown: str, begin: int, end: int) -> Span:
    passed = sum(test(shown, begin, end) for test in kind.tests)
    return Span(
        begin=begin,
        end=end,
        kind=kind.name,
        text=text[begin:end],
        score=(1 + passed) / (1 + len(kind.tests)),
    )


def _is_moment(text: str, begin: int, end: int) -> bool:
    """Whether the calendar has it."""
    try:
        datetime.fromisoformat(text[begin:end].replace(",", "."))
    except ValueError:
        return False
    return True


def _is_clock(text: str, begin: int, end: int) -> bool:
    hour, minute, *_ = text[begin:end].split(":")
    return int(hour) < 24 and int(minute) < 60


def _has_known_top_level(text: str, begin: int, end: int) -> bool:
    host = text[begin:end].split("://")[-1].split("/")[0].split(":")[0]
    return host.rsplit(".", 1)[-1].lower() in _TOP_LEVELS


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _has_service_word(text: str, begin: int, end: int) -> bool:
    parts = text[begin:end].lower().replace("_", "-").split("-")
    return not _SERVICE_WORDS.isdisjoint(parts)


def _follows_version_word(text: str, begin: int, end: int) -> bool:
    del end
    before = text[max(0, begin - 24) : begin].lower().split()
    return bool(before) and before[-1].strip(":=") in _VERSION_WORDS


def _begins_with_v(text: str, begin: int, end: int) -> bool:
    return text[begin:end].startswith("v")


def _is_versionlike(text: str, begin: int, end: int) -> bool:
    return _begins_with_v(text, begin, end) or _follows_version_word(text, begin, end)


def _stands_apart(text: str, begin: int, end: int) -> bool:
    before, after = text[max(0, begin - 1) : begin], text[end : end + 1]
    return not (before.isalnum() or before in ("_", "-", ".", "/")) and not after.isalnum()


_KINDS = (
    _Kind(
        name="URL",
        pattern=re2.compile(
            r"\b(?i:https?|wss?|postgres|redis|amqp|s3)://[^\s<>\"'`]*[^\s<>\"'`.,;:!?)\]}]"
        ),
        tests=(_has_known_top_level,),
    ),
    _Kind(
        name="DATE",
        pattern=re2.compile(
            r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
        ),
        needs=_stands_apart,
        tests=(_is_moment,),
    ),
    _Kind(
        name="DATE",
        pattern=re2.compile(
            rf"(?i)\b(?:\d{{1,2}}\.? (?:{_MONTHS})(?: \d{{4}})?|(?:{_MONTHS}) \d{{1,2}}(?:, \d{{4}})?)\b"
        ),
    ),
    _Kind(
        name="DATE",
        pattern=re2.compile(
            r"(?i)\b(?:yesterday|today|tomorrow|(?:last|next) (?:week|month|year|night)|(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b"
        ),
    ),
    _Kind(
        name="DATE",
        pattern=re2.compile(r"\d{1,2}:\d{2}(?::\d{2})?(?: ?(?:UTC|GMT|CET|Z))?"),
        needs=lambda text, begin, end: (
            _stands_apart(text, begin, end) and _is_clock(text, begin, end)
        ),
    ),
    _Kind(
        name="VERSION",
        pattern=re2.compile(r"v?\d+\.\d+(?:\.\d+){0,2}(?:-[A-Za-z0-9.]+)?"),
        needs=lambda text, begin, end: (
            _stands_apart(text, begin, end) and _is_versionlike(text, begin, end)
        ),
        tests=(_begins_with_v, _follows_version_word),
    ),
    _Kind(
        name="HOST",
        pattern=re2.compile(r"\b(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.){2,}[a-z]{2,24}\b"),
        needs=_stands_apart,
        tests=(_has_known_top_level,),
    ),
    _Kind(
        name="HOST",
        pattern=re2.compile(r"(?:\d{1,3}\.){3}\d{1,3}"),
        needs=lambda text, begin, end: (
            _stands_apart(text, begin, end) and _is_address(text[begin:end])
        ),
    ),
    _Kind(
        name="QUANTITY",
        pattern=re2.compile(rf"(?i)\d+(?:[.,]\d+)*\s?(?:{_UNITS})(?:\b|$)|\d+(?:[.,]\d+)*\s?%"),
        needs=_stands_apart,
    ),
    _Kind(
        name="SERVICE",
        pattern=re2.compile(r"\b[a-z][a-z0-9]*(?:[-_][a-z0-9]+)+\b"),
        needs=_has_service_word,
    ),
    _Kind(
        name="ORGANIZATION",
        pattern=re2.compile(rf"\b((?:[A-Z][\w&]+ ){{1,4}}(?:{_COMPANY}))\b"),
    ),
    _Kind(name="ORGANIZATION", pattern=re2.compile(rf"\b(?:{_BRANDS})\b")),
)
