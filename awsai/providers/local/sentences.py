"""Texts from outside, taken apart into what can be quoted. Pure.

A sentence is a stretch of its passage as it stands there, but for white space (a run of it is one
space) and characters nobody can see, which could carry words that only a machine reads.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator

LONGEST = 400
LONGEST_RECORD = 240
MOST_READ = 100_000  # characters of one text; what comes after is not read
_DEEPEST = 8

# None of these can be made to take long: wherever one of them begins, it goes on in one way alone.
_END = re.compile(r"[.!?][\"'”\u2019)\]]*\s+", re.ASCII)
_MARKER = re.compile(r"(?:[-*+•>#]+|\d{1,3}[.)])\s+", re.ASCII)
_RULE = re.compile(r"[\s|:=_*-]+", re.ASCII)
_ABBREVIATIONS = frozenset({"e.g", "i.e", "vs", "approx", "no", "cf", "ca", "dr", "mr", "ms", "st"})
_WRAPPED_FROM, _WRAPPED_TO = 55, 120


def split(text: str) -> list[str]:
    """The sentences of prose, the lines of a log, the records of JSON, in their order."""
    shown = visible(text[:MOST_READ])
    if _is_json(shown):
        return [one for one in _records(_one_line(shown)) if _says_something(one)]
    return [one for line in _lines(shown) for one in _of_line(line) if _says_something(one)]


def visible(text: str) -> str:
    """The text without characters nobody sees; line breaks stay, other white space is spaces."""
    lines = text.replace("\u2028", "\n").replace("\u2029", "\n").split("\n")
    return "\n".join(line if line.isprintable() else _shown(line) for line in lines)


def _shown(line: str) -> str:
    return "".join(_visible(character) for character in line)


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc" or category.startswith("Z"):
        return " "
    return "" if category.startswith("C") else character


def _lines(text: str) -> Iterator[str]:
    """Lines, with the halves of a sentence that was wrapped at a margin put together."""
    held = ""
    for raw in text.split("\n"):
        line = _one_line(raw)
        if held and _continues(held, line):
            held = f"{held} {line}"
            continue
        if held:
            yield held
        held = line
    if held:
        yield held


def _continues(held: str, line: str) -> bool:
    last = held[-_WRAPPED_TO:]
    if not (len(last) >= _WRAPPED_FROM and line[:1].islower()) or held[-1] in ".!?:;}]":
        return False
    first = line.split(" ", 1)[0]
    return first.isalpha()


def _of_line(line: str) -> list[str]:
    if _is_json(line):
        return _records(line)
    if _RULE.fullmatch(line):
        return []
    if marker := _MARKER.match(line):
        line = line[marker.end() :]
    return [part for sentence in _sentences(line) for part in _cut(sentence, LONGEST)]


def _sentences(line: str) -> Iterator[str]:
    begin = 0
    for end in _END.finditer(line):
        following = line[end.end() : end.end() + 1]
        if following.islower() or _is_abbreviation(line[begin : end.start()]):
            continue
        yield line[begin : end.end()].strip()
        begin = end.end()
    if begin < len(line):
        yield line[begin:]


def _is_abbreviation(text: str) -> bool:
    last = text.rsplit(" ", 1)[-1].lower().strip("(")
    return last in _ABBREVIATIONS or (len(last) == 1 and last.isalpha())


def _is_json(text: str) -> bool:
    stripped = text.strip()
    if stripped[:1] + stripped[-1:] not in ("{}", "[]"):
        return False
    try:
        json.loads(stripped)
    except (ValueError, RecursionError):
        return False
    return True


def _records(text: str, depth: int = 0) -> list[str]:
    """JSON in pieces that still say what they are about: whole objects as long as they are short."""
    if len(text) <= LONGEST_RECORD:
        return [text]
    opening = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if opening < 0 or depth == _DEEPEST or text[-1] not in "}]":
        return list(_cut(text, LONGEST))
    parts: list[str] = []
    for part in _members(text[opening + 1 : -1]):
        parts += _records(part, depth + 1)
    return parts


def _members(text: str) -> Iterator[str]:
    """What stands between the commas of the outermost level."""
    begin = depth = 0
    in_string = is_escaped = False
    for at, character in enumerate(text):
        if in_string:
            in_string = is_escaped or character != '"'
            is_escaped = character == "\\" and not is_escaped
        elif character == '"':
            in_string = True
        elif character in "{[":
            depth += 1
        elif character in "}]":
            depth -= 1
        elif character == "," and depth == 0:
            yield text[begin:at].strip()
            begin = at + 1
    yield text[begin:].strip()


def _cut(text: str, most: int) -> Iterator[str]:
    while len(text) > most:
        at = max(text.rfind(mark, most // 2, most) for mark in " ,;")
        at = at + 1 if at > 0 else most
        yield text[:at].strip()
        text = text[at:].strip()
    if text:
        yield text


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _says_something(text: str) -> bool:
    return len(text) > 1 and any(map(str.isalnum, text))
