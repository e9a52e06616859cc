"""The document reader: formats whose text is there to be read. It recognises no pictures."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from io import BytesIO, StringIO

import docx
import pypdf
from docx.table import Table as DocxTable

from awsai.ports import CallFailed, Document, Line, Served, Table, Trouble
from awsai.providers.local import markup
from awsai.providers.local.labels import label
from awsai.providers.local.markup import Written

SERVICE = "textract"
MOST_BYTES = 25 * 1024 * 1024
MOST_UNPACKED = 50 * 1024 * 1024  # a DOCX is a zip: its size says little of what is in it
MOST_FILES = 2000
MOST_PAGES = 200
MOST_CHARACTERS = 5_000_000
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

_CHARSETS = {
    "utf-8": "utf-8-sig",
    "us-ascii": "ascii",
    "utf-16": "utf-16",
    "iso-8859-1": "iso-8859-1",
    "windows-1252": "windows-1252",
}


class FormatReader:
    """Text that is read, not recognised: every line's confidence is 1.

    A format without pages has one. Tables are read where the format marks them, which PDF does not.
    """

    def read(self, content: bytes, *, media_type: str) -> Document:
        return _document(_pages(content, media_type), has_tables=False, operation="read")

    def analyze(self, content: bytes, *, media_type: str) -> Document:
        return _document(_pages(content, media_type), has_tables=True, operation="analyze")

    def start(self, bucket: str, key: str, *, token: str) -> tuple[str, Served]:
        del bucket, key, token
        raise _refusal("Documents in S3 are not read here.", code="NoStorage")

    def collect(self, job: str) -> Document | None:
        del job
        raise _refusal("Documents in S3 are not read here.", code="NoStorage")


def _document(pages: list[Written], *, has_tables: bool, operation: str) -> Document:
    numbered = list(enumerate(pages, start=1))
    return Document(
        lines=tuple(
            Line(page=page, text=text, confidence=1.0)
            for page, written in numbered
            for text in written.lines
        ),
        tables=tuple(
            Table(page=page, rows=rows) for page, written in numbered for rows in written.tables
        )
        if has_tables
        else (),
        pages=len(pages),
        served=label(SERVICE, operation, model_invoked="local/format-reader"),
    )


def _pages(content: bytes, media_type: str) -> list[Written]:
    kind, charset = _kind(media_type)
    if not content:
        raise _refusal("The document is empty.", code="EmptyDocument")
    if len(content) > MOST_BYTES:
        raise _refusal(f"The document has more than {MOST_BYTES} bytes.", code="DocumentTooLarge")
    if kind in _BINARY:
        return _parsed(_BINARY[kind], content, kind)
    if kind in _TEXTUAL or kind.startswith("text/"):
        return [_TEXTUAL.get(kind, _plain)(_decoded(content, charset))]
    if kind.startswith("image/"):
        raise _refusal("Text in pictures is not recognised here.", code="UnsupportedDocument")
    raise _refusal(f"Documents of type {kind[:80]} are not read here.", code="UnsupportedDocument")


def _kind(media_type: str) -> tuple[str, str]:
    header = Message()
    header["content-type"] = " ".join(media_type.split())
    return header.get_content_type(), header.get_content_charset("utf-8")


def _refusal(reason: str, *, code: str) -> CallFailed:
    return CallFailed(Trouble.REFUSED, reason, code=code, service=SERVICE)


def _decoded(content: bytes, charset: str) -> str:
    if charset not in _CHARSETS:
        raise _refusal("The character set is not read here.", code="UnsupportedDocument")
    try:
        text = content.decode(_CHARSETS[charset])
    except UnicodeError as error:
        raise _refusal(f"The document is not written in {charset}.", code="BadDocument") from error
    if len(text) > MOST_CHARACTERS:
        raise _refusal(
            f"The text has more than {MOST_CHARACTERS} characters.", code="DocumentTooLarge"
        )
    return text


# --- Texts


def _plain(text: str) -> Written:
    return Written(lines=[line.rstrip() for line in text.splitlines() if line.strip()])


def _json(text: str) -> Written:
    """The lines as they are: written anew, some numbers would be others."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refusal("The document is not JSON.", code="BadDocument") from error
    return _plain(text)


def _csv(text: str) -> Written:
    try:
        rows = tuple(
            tuple(row) for row in csv.reader(StringIO(text, newline=""), strict=True) if row
        )
    except csv.Error as error:
        raise _refusal("The document is not CSV.", code="BadDocument") from error
    written = Written(tables=[rows] if rows else [])
    for row in rows:
        written.add_row(row)
    return written


_TEXTUAL: dict[str, Callable[[str], Written]] = {
    "text/plain": _plain,
    "text/markdown": markup.markdown,
    "text/html": markup.html,
    "application/json": _json,
    "text/csv": _csv,
}


# --- Formats of others


def _parsed(parse: Callable[[BytesIO], list[Written]], content: bytes, kind: str) -> list[Written]:
    try:
        return parse(BytesIO(content))
    except CallFailed:
        raise
    # What a damaged or hostile document raises inside its library can be anything.
    except Exception as error:
        raise _refusal(
            f"The document cannot be read as {kind} ({type(error).__name__}).", code="BadDocument"
        ) from error


def _pdf(content: BytesIO) -> list[Written]:
    reader = pypdf.PdfReader(content)
    if reader.is_encrypted:
        raise _refusal("The document is encrypted.", code="BadDocument")
    if len(reader.pages) > MOST_PAGES:
        raise _refusal(f"The document has more than {MOST_PAGES} pages.", code="DocumentTooLarge")
    budget = _Budget()
    pages = [_plain(budget.spent(page.extract_text())) for page in reader.pages]
    if not any(page.lines for page in pages):
        raise _refusal(
            "The document has no text but pictures, which are not recognised here.",
            code="UnsupportedDocument",
        )
    return pages


def _docx(content: BytesIO) -> list[Written]:
    with zipfile.ZipFile(content) as archive:
        # No file can unpack to more than it declares: reading stops there.
        files = archive.infolist()
        if len(files) > MOST_FILES or sum(file.file_size for file in files) > MOST_UNPACKED:
            raise _refusal(
                f"The document unpacks to more than {MOST_UNPACKED} bytes.", code="DocumentTooLarge"
            )
    content.seek(0)
    written, budget = Written(), _Budget()
    for block in docx.Document(content).iter_inner_content():
        if isinstance(block, DocxTable):
            rows = tuple(tuple(cell.text.strip() for cell in row.cells) for row in block.rows)
            written.tables.append(rows)
            for row in rows:
                budget.spent("".join(row))
                written.add_row(row)
        else:
            written.lines += _plain(budget.spent(block.text)).lines
    return [written]


@dataclass
class _Budget:
    """How much text a document may still have."""

    left: int = MOST_CHARACTERS

    def spent(self, text: str) -> str:
        self.left -= len(text)
        if self.left < 0:
            raise _refusal(
                f"The text has more than {MOST_CHARACTERS} characters.", code="DocumentTooLarge"
            )
        return text


_BINARY: dict[str, Callable[[BytesIO], list[Written]]] = {"application/pdf": _pdf, DOCX: _docx}
