"""The text and the tables of HTML and Markdown. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

import re2

from awsai.providers.local.words import listed

Rows = tuple[tuple[str, ...], ...]

_HIDDEN = "script|style|template|noscript"
# What never ends hides the rest, as in a browser.
_SKIPPED = re2.compile(
    rf"(?is)<!--.*?(?:-->|\z)|<[!?][^>]*>|<(?:{_HIDDEN})\b[^>]*>.*?(?:</(?:{_HIDDEN})\s*>|\z)"
)
_BLOCKS = listed(
    """
    address article aside blockquote body br dd div dl dt figcaption figure footer form h1 h2 h3 h4
    h5 h6 head header hr html li main nav ol option p pre section table title tr ul
    """
)
_TAG = re2.compile(r"/?[A-Za-z][^>]*>")
_DELIMITER = re2.compile(r"\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?")


@dataclass(kw_only=True)
class Written:
    """Lines in their order, a row of a table being one of them too."""

    lines: list[str] = field(default_factory=list)
    tables: list[Rows] = field(default_factory=list)

    def add_row(self, cells: tuple[str, ...]) -> None:
        if any(cells):
            self.lines.append(" | ".join(cells))


def html(text: str) -> Written:
    """What a reader of the page would see; scripts and styles are left out."""
    reader = _Reader()
    reader.feed(_finished(_SKIPPED.sub(" ", text)))
    reader.close()
    reader.end_line()
    return reader.written


def _finished(text: str) -> str:
    """The text with every `<` that begins no whole tag written as what it is.

    html.parser takes quadratic time over tags that never end.
    """
    parts = text.split("<")
    return parts[0] + "".join(
        f"<{part}" if _TAG.match(part) else f"&lt;{part}" for part in parts[1:]
    )


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.written = Written()
        self._words: list[str] = []
        self._row: list[str] = []
        self._rows: list[tuple[str, ...]] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("td", "th"):
            self._end_cell()
            self._in_cell = True
        elif tag == "tr":
            self._end_row()
        elif tag == "table":
            self._end_table()
        self._break_at(tag)

    def handle_endtag(self, tag: str) -> None:
        self._break_at(tag)
        if tag in ("td", "th"):
            self._end_cell()
        elif tag == "tr":
            self._end_row()
        elif tag == "table":
            self._end_table()

    def handle_data(self, data: str) -> None:
        self._words.append(data)

    def close(self) -> None:
        super().close()
        self._end_table()

    def end_line(self) -> None:
        if line := self._taken():
            self.written.lines.append(line)

    def _break_at(self, tag: str) -> None:
        if tag not in _BLOCKS:
            return
        if self._in_cell:
            self._words.append(" ")
        else:
            self.end_line()

    def _taken(self) -> str:
        line = " ".join("".join(self._words).split())
        self._words.clear()
        return line

    def _end_cell(self) -> None:
        if self._in_cell:
            self._row.append(self._taken())
            self._in_cell = False

    def _end_row(self) -> None:
        self._end_cell()
        if self._row:
            row = tuple(self._row)
            self._rows.append(row)
            self.written.add_row(row)
            self._row = []

    def _end_table(self) -> None:
        self._end_row()
        if self._rows:
            self.written.tables.append(tuple(self._rows))
            self._rows = []


def markdown(text: str) -> Written:
    """The lines as they are written, and the tables among them."""
    lines = [line.rstrip() for line in text.splitlines()]
    written = Written(lines=[line for line in lines if line])
    at = 0
    while at + 1 < len(lines):
        rows = _table_at(lines, at)
        if rows:
            written.tables.append(rows)
        at += len(rows) + 1
    return written


def _table_at(lines: list[str], at: int) -> Rows:
    """The table whose head is this line, its delimiter row left out; no rows when there is none."""
    if "|" not in lines[at] or "|" not in lines[at + 1] or not _DELIMITER.fullmatch(lines[at + 1]):
        return ()
    rows = [_cells(lines[at])]
    for line in lines[at + 2 :]:
        if "|" not in line:
            break
        rows.append(_cells(line))
    return tuple(rows)


def _cells(line: str) -> tuple[str, ...]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return tuple(cell.strip() for cell in inner.split("|"))
