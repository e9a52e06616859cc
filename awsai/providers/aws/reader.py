"""Textract: documents at once, or as jobs on objects in S3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from awsai.ports import CallFailed, Document, Line, ProviderName, Served, Table, Trouble
from awsai.providers.aws import hooks
from awsai.providers.aws.calls import merged
from awsai.providers.aws.endpoint import Endpoint

MEDIA_TYPES = frozenset({"image/png", "image/jpeg", "image/tiff", "application/pdf"})
MOST_BYTES = 10 * 1024 * 1024
# `usage` bills a finished job by these.
FEATURES = ("TABLES",)


class TextractReader:
    def __init__(self, *, provider: ProviderName) -> None:
        self._endpoint = Endpoint(service="textract", product="textract", provider=provider)

    def read(self, content: bytes, *, media_type: str) -> Document:
        _check(content, media_type)
        told = self._endpoint.call("detect_document_text", Document={"Bytes": content})
        return _document([told])

    def analyze(self, content: bytes, *, media_type: str) -> Document:
        _check(content, media_type)
        told = self._endpoint.call(
            "analyze_document", Document={"Bytes": content}, FeatureTypes=list(FEATURES)
        )
        return _document([told])

    def start(self, bucket: str, key: str, *, token: str) -> tuple[str, Served]:
        told = self._endpoint.call(
            "start_document_analysis",
            DocumentLocation={"S3Object": {"Bucket": bucket, "Name": key}},
            FeatureTypes=list(FEATURES),
            ClientRequestToken=token,
        )
        return told["JobId"], hooks.served(told)

    def collect(self, job: str) -> Document | None:
        parts = [self._endpoint.call("get_document_analysis", JobId=job)]
        status = parts[0].get("JobStatus")
        if status == "IN_PROGRESS":
            return None
        if status == "FAILED":
            why = parts[0].get("StatusMessage", "Textract could not read the document.")
            raise CallFailed(Trouble.REFUSED, why, code="FAILED", service="textract")
        while token := parts[-1].get("NextToken"):
            parts.append(self._endpoint.call("get_document_analysis", JobId=job, NextToken=token))
        return _document(parts)


def _check(content: bytes, media_type: str) -> None:
    if media_type not in MEDIA_TYPES:
        raise _refused(f"Textract does not read {media_type}.", "UnsupportedDocumentException")
    if len(content) > MOST_BYTES:
        raise _refused(
            f"The document is larger than {MOST_BYTES} bytes.", "DocumentTooLargeException"
        )


def _refused(why: str, code: str) -> CallFailed:
    return CallFailed(Trouble.REFUSED, why, code=code, service="textract")


def _document(parts: Sequence[Mapping[str, Any]]) -> Document:
    blocks = {block["Id"]: block for told in parts for block in told.get("Blocks", ())}
    lines = [
        Line(
            page=block.get("Page", 1),
            text=block.get("Text", ""),
            confidence=block.get("Confidence", 0.0) / 100,
        )
        for block in blocks.values()
        if block["BlockType"] == "LINE"
    ]
    tables = [_table(block, blocks) for block in blocks.values() if block["BlockType"] == "TABLE"]
    return Document(
        lines=tuple(lines),
        tables=tuple(tables),
        pages=parts[0].get("DocumentMetadata", {}).get("Pages", 0),
        served=merged(*(hooks.served(told) for told in parts)),
    )


def _table(table: Mapping[str, Any], blocks: Mapping[str, Mapping[str, Any]]) -> Table:
    cells = {
        (cell["RowIndex"], cell["ColumnIndex"]): " ".join(
            word.get("Text", "") for word in _children(cell, blocks) if word.get("Text")
        )
        for cell in _children(table, blocks)
        if cell["BlockType"] == "CELL"
    }
    height = max((row for row, _ in cells), default=0)
    width = max((column for _, column in cells), default=0)
    return Table(
        page=table.get("Page", 1),
        rows=tuple(
            tuple(cells.get((row, column), "") for column in range(1, width + 1))
            for row in range(1, height + 1)
        ),
    )


def _children(
    block: Mapping[str, Any], blocks: Mapping[str, Mapping[str, Any]]
) -> Iterable[Mapping[str, Any]]:
    for relation in block.get("Relationships", ()):
        if relation["Type"] == "CHILD":
            yield from (blocks[name] for name in relation["Ids"] if name in blocks)
