"""Personal data and secrets in a text, by their form and, where there is one, their check digit.

Kinds have Comprehend's names; JWTs, bearer tokens and private keys, for which it has none, are
TOKEN and PRIVATE_KEY. Patterns run in time linear in the text, whatever the text.

Sources: ISO/IEC 7812-1 (Luhn), ISO 13616 (IBAN, mod 97), SSA on numbers never assigned, AWS on the
prefixes of unique ids (IAM User Guide).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import re2

from awsai.ports import Span
from awsai.providers.local.words import encodable

SECRETS = frozenset({"PRIVATE_KEY", "AWS_ACCESS_KEY", "AWS_SECRET_KEY", "TOKEN", "PASSWORD"})
PERSONAL = frozenset(
    {"EMAIL", "PHONE", "CREDIT_DEBIT_NUMBER", "INTERNATIONAL_BANK_ACCOUNT_NUMBER", "SSN"}
)
ADDRESSES = frozenset({"IP_ADDRESS"})
ALL = SECRETS | PERSONAL | ADDRESSES


@dataclass(frozen=True, kw_only=True)
class _Form:
    """A kind's pattern; the group that matched, if it has groups, is what is found.

    `holds` is its check; a number that stands for itself is no part of a longer one or of a word.
    """

    kind: str
    pattern: Any
    holds: Callable[[str], bool] | None = None
    stands_alone: bool = False


def find(text: str, kinds: Iterable[str] = ALL) -> tuple[Span, ...]:
    """Spans that do not overlap, in order; of two that would, the one of the stricter form stands.

    A secret around another takes its surroundings with it: `password=…` may hold a key in its middle.
    The score is 1 where a check digit or a fixed form confirmed the find, else 0.5: it looks so.
    """
    text, wanted = encodable(text), frozenset(kinds)
    if not _any_of(wanted).search(text):
        return ()
    is_taken = bytearray(len(text))
    found: list[Span] = []
    for form in _FORMS:
        if form.kind not in wanted:
            continue
        for span in _spans(form, text):
            if form.kind in SECRETS or not any(is_taken[span.begin : span.end]):
                is_taken[span.begin : span.end] = b"\x01" * (span.end - span.begin)
                found.append(span)
    return _apart(found, text)


@lru_cache
def _any_of(kinds: frozenset[str]) -> Any:
    """What finds something wherever any form of these kinds does: most texts have nothing to find."""
    patterns = [form.pattern.pattern for form in _FORMS if form.kind in kinds]
    return re2.compile("|".join(f"(?:{pattern})" for pattern in patterns) or r"[^\s\S]")


def _apart(found: list[Span], text: str) -> tuple[Span, ...]:
    """The spans in order, those that overlap as one, of the kind that was found first."""
    # Each with its place in the order of finding.
    joined: list[tuple[int, Span]] = []
    for place, span in sorted(enumerate(found), key=lambda one: one[1].begin):
        if not joined or span.begin >= joined[-1][1].end:
            joined.append((place, span))
            continue
        earlier, last = joined[-1]
        first, stricter = min((earlier, last), (place, span), key=lambda one: one[0])
        end = max(last.end, span.end)
        whole = replace(stricter, begin=last.begin, end=end, text=text[last.begin : end])
        joined[-1] = (first, whole)
    return tuple(span for _, span in joined)


def masked(text: str, spans: Iterable[Span]) -> str:
    """The text with `{KIND}` in the place of each span; spans are in order and do not overlap."""
    parts, end = [], 0
    for span in spans:
        parts += [text[end : span.begin], f"{{{span.kind}}}"]
        end = span.end
    return "".join([*parts, text[end:]])


def without_secrets(text: str) -> str:
    """The text with every secret masked; personal data stays."""
    return masked(text, find(text, SECRETS))


def _spans(form: _Form, text: str) -> Iterator[Span]:
    groups = range(1, form.pattern.groups + 1) or (0,)
    for match in form.pattern.finditer(text):
        begin, end = max(match.span(group) for group in groups)
        found = text[begin:end]
        if form.holds is not None and not form.holds(found):
            continue
        if form.stands_alone and not _is_apart(text, begin, end):
            continue
        score = 0.5 if form.kind in _BY_LOOKS else 1.0
        yield Span(begin=begin, end=end, kind=form.kind, text=found, score=score)


def _is_apart(text: str, begin: int, end: int) -> bool:
    before, after = text[max(0, begin - 1) : begin], text[end : end + 2]
    if before.isalnum() or before in ("_", ".", "-", "+"):
        return False
    if after[:1].isalnum() or after[:1] == "_":
        return False
    return not (after[:1] in (".", "-") and after[1:].isalnum())


# --- Checks


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others."""
    numbers = [int(digit) for digit in reversed(digits)]
    doubled = (sum(divmod(2 * number, 10)) for number in numbers[1::2])
    return (sum(numbers[::2]) + sum(doubled)) % 10 == 0


def _is_card(text: str) -> bool:
    digits = "".join(character for character in text if character.isdigit())
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn(digits)


def _is_iban(text: str) -> bool:
    compact = "".join(text.split()).upper()
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def _is_ssn(text: str) -> bool:
    area, group, serial = text.replace(" ", "-").split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _is_phone(text: str) -> bool:
    digits = [character for character in text if character.isdigit()]
    return 8 <= len(digits) <= 15


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_no_placeholder(text: str) -> bool:
    """Whether a value is one, and not a mask, a variable or a word for its absence."""
    return len(text) > 1 and text[0] not in "{<$%*" and text.lower() not in _NO_VALUES


_NO_VALUES = frozenset({"none", "null", "nil", "true", "false", "redacted", "required", "missing"})
_BY_LOOKS = frozenset({"PHONE", "PASSWORD", "AWS_SECRET_KEY"})

# The stricter a form, the earlier; what an earlier one found no later one finds again.
_FORMS = (
    _Form(
        kind="PRIVATE_KEY",
        pattern=re2.compile(
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)"
            r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)"
        ),
    ),
    _Form(
        kind="AWS_ACCESS_KEY",
        pattern=re2.compile(r"\b((?:AKIA|ASIA)[A-Z2-7]{16})\b"),
    ),
    _Form(
        kind="AWS_SECRET_KEY",
        pattern=re2.compile(
            r"(?i)secret[_ -]?(?:access[_ -]?)?key[\"']?\s*[:=]\s*[\"']?([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|\z)"
        ),
    ),
    _Form(
        kind="TOKEN",
        pattern=re2.compile(r"\b(eyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*)"),
    ),
    _Form(
        kind="TOKEN",
        pattern=re2.compile(r"(?i)\bbearer\s+([A-Za-z0-9._~+/-]{16,}=*)"),
    ),
    _Form(
        kind="TOKEN",
        pattern=re2.compile(
            r"\b((?:gh[pousr]_[A-Za-z0-9]{36}|xox[abpr]-[A-Za-z0-9-]{10,}|sk_live_[A-Za-z0-9]{16,}))\b"
        ),
    ),
    _Form(
        kind="PASSWORD",
        pattern=re2.compile(
            r"(?i)(?:password|passwd|passphrase|pwd|secret|api[_-]?key|access[_-]?token|auth[_-]?token)"
            r"[\"']?\s*(?:=|:)\s*(?:\"([^\"\n]+)\"|'([^'\n]+)'|([^\s\"',;&}]+))"
        ),
        holds=_is_no_placeholder,
    ),
    _Form(
        # The password of a URL.
        kind="PASSWORD",
        pattern=re2.compile(r"\b[a-z][a-z0-9+.-]*://[^\s:/@]*:([^\s/@]+)@"),
        holds=_is_no_placeholder,
    ),
    _Form(
        kind="EMAIL",
        pattern=re2.compile(
            r"[A-Za-z0-9][A-Za-z0-9._%+-]*@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b"
        ),
    ),
    _Form(
        kind="INTERNATIONAL_BANK_ACCOUNT_NUMBER",
        pattern=re2.compile(r"\b([A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)\b"),
        holds=_is_iban,
    ),
    _Form(
        # The first digit is that of banks and cards, which leaves out times in milliseconds.
        kind="CREDIT_DEBIT_NUMBER",
        pattern=re2.compile(
            r"[2-6](?:\d{12,18}|\d{3}(?:[ -]\d{4}){3}(?:[ -]\d{1,3})?|\d{3}[ -]\d{6}[ -]\d{5})\b"
        ),
        holds=_is_card,
        stands_alone=True,
    ),
    _Form(
        kind="SSN",
        pattern=re2.compile(r"\d{3}-\d{2}-\d{4}|\d{3} \d{2} \d{4}"),
        holds=_is_ssn,
        stands_alone=True,
    ),
    _Form(
        kind="PHONE",
        pattern=re2.compile(
            r"\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}|\(\d{3}\) ?\d{3}[-.]\d{4}|\d{3}[-.]\d{3}[-.]\d{4}"
        ),
        holds=_is_phone,
        stands_alone=True,
    ),
    _Form(
        kind="IP_ADDRESS",
        pattern=re2.compile(r"\d{1,3}(?:\.\d{1,3}){3}"),
        holds=_is_address,
        stands_alone=True,
    ),
    _Form(
        kind="IP_ADDRESS",
        pattern=re2.compile(
            r"(?i)(?:[0-9a-f]{1,4}:|::)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){0,6}(?:\.\d{1,3}){0,3}"
        ),
        holds=_is_address,
        stands_alone=True,
    ),
)
