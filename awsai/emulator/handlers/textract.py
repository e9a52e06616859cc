"""Amazon Textract: documents at once, and as jobs on objects in S3."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from awsai.emulator import paging
from awsai.emulator.account import Account, Call, Handler, Output
from awsai.emulator.errors import AwsError
from awsai.ports import CallFailed, Document, Line, Table, Trouble

BLOCKS_A_PART = 1000
FEATURES = ("TABLES",)

_MAGIC = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


def handlers(account: Account) -> Mapping[str, Handler]:
    textract = Textract(account)
    return {
        "DetectDocumentText": textract.detect_document_text,
        "AnalyzeDocument": textract.analyze_document,
        "StartDocumentAnalysis": textract.start_document_analysis,
        "GetDocumentAnalysis": textract.get_document_analysis,
    }


class Textract:
    def __init__(self, account: Account) -> None:
        self._account = account
        # By client request token, the digest of the request and the job it began.
        self._begun: dict[str, tuple[str, str]] = {}
        # By job, what it is to find.
        self._jobs: dict[str, Sequence[str]] = {}
        self._billed: set[str] = set()
        self._lock = threading.Lock()

    def detect_document_text(self, call: Call) -> Output:
        content, media_type = _content(call)
        document = self._account.provider.document_reader().read(content, media_type=media_type)
        _check_single_page(document)
        call.entry.bill(units={"page.detect": document.pages})
        return {
            "DocumentMetadata": {"Pages": document.pages},
            "Blocks": _Blocks(document).all,
        }

    def analyze_document(self, call: Call) -> Output:
        features = _features(call)
        content, media_type = _content(call)
        document = self._account.provider.document_reader().analyze(content, media_type=media_type)
        _check_single_page(document)
        call.entry.bill(units=_pages(features, document))
        return {
            "DocumentMetadata": {"Pages": document.pages},
            "Blocks": _Blocks(document).all,
        }

    def start_document_analysis(self, call: Call) -> Output:
        features = _features(call)
        place = call.params["DocumentLocation"].get("S3Object", {})
        if not {"Bucket", "Name"} <= place.keys():
            raise AwsError("InvalidParameterException", "Request has invalid parameters")
        token = call.params.get("ClientRequestToken") or str(uuid.uuid4())
        digest = call.entry.params_digest
        # Held while the job begins: the same token at the same time begins it once as well.
        with self._lock:
            if token in self._begun:
                return {"JobId": _same(self._begun[token], digest)}
            job = self._begin(place["Bucket"], place["Name"], token=token)
            self._jobs[job] = features
            self._begun[token] = (digest, job)
        return {"JobId": job}

    def get_document_analysis(self, call: Call) -> Output:
        job = call.params["JobId"]
        with self._lock:
            features = self._jobs.get(job)
        if features is None:
            raise AwsError("InvalidJobIdException", "The job identifier is not valid.")
        start = paging.offset(call.params, error="InvalidParameterException")
        try:
            document = self._account.provider.document_reader().collect(job)
        except CallFailed as error:
            if error.may_pass:
                raise
            return {"JobStatus": "FAILED", "StatusMessage": str(error)}
        if document is None:
            return {"JobStatus": "IN_PROGRESS"}
        with self._lock:
            if job not in self._billed:
                self._billed.add(job)
                call.entry.bill(units=_pages(features, document))
        size = min(call.params.get("MaxResults", BLOCKS_A_PART), BLOCKS_A_PART)
        blocks, following = paging.page(_Blocks(document).all, start, size)
        return {
            "JobStatus": "SUCCEEDED",
            "DocumentMetadata": {"Pages": document.pages},
            "Blocks": list(blocks),
            "NextToken": following,
        }

    def _begin(self, bucket: str, key: str, *, token: str) -> str:
        try:
            job, _ = self._account.provider.document_reader().start(bucket, key, token=token)
        except CallFailed as error:
            if error.trouble is not Trouble.REFUSED:
                raise
            raise _no_object() from error
        return job


def _features(call: Call) -> Sequence[str]:
    asked: Sequence[str] = call.params["FeatureTypes"]
    if unserved := set(asked) - set(FEATURES):
        raise AwsError(
            "InvalidParameterException", f"{', '.join(sorted(unserved))} is not analysed here."
        )
    return asked


def _pages(features: Sequence[str], document: Document) -> dict[str, int]:
    return {f"page.{feature.lower()}": document.pages for feature in features}


def _content(call: Call) -> tuple[bytes, str]:
    document = call.params["Document"]
    if "S3Object" in document:
        raise _no_object()
    if "Bytes" not in document:
        raise AwsError("InvalidParameterException", "Request has invalid parameters")
    content: bytes = document["Bytes"]
    media_type = next((kind for magic, kind in _MAGIC if content.startswith(magic)), None)
    if media_type is None:
        raise _unsupported()
    return content, media_type


def _check_single_page(document: Document) -> None:
    """Several pages are for jobs: the operations that answer at once take one."""
    if document.pages > 1:
        raise _unsupported()


def _same(begun: tuple[str, str], digest: str) -> str:
    before, job = begun
    if before != digest:
        raise AwsError(
            "IdempotentParameterMismatchException",
            "A ClientRequestToken was reused with other parameters.",
        )
    return job


def _no_object() -> AwsError:
    return AwsError(
        "InvalidS3ObjectException",
        "Unable to get object metadata from S3. Check object key, region and/or access permissions.",
    )


def _unsupported() -> AwsError:
    return AwsError("UnsupportedDocumentException", "Request has unsupported document format")


# --- Blocks ------------------------------------------------------------------------------------


class _Blocks:
    """The blocks of a document: pages, their lines and tables, the words of both.

    The same document has the same ids each time, so that its parts fit together. Where on a page
    things stand is not known, and not told.
    """

    def __init__(self, document: Document) -> None:
        self.all: list[dict[str, Any]] = []
        for number in range(1, document.pages + 1):
            page = self._add("PAGE", page=number)
            for line in document.lines:
                if line.page == number:
                    self._add_line(line, page)
            for table in document.tables:
                if table.page == number:
                    self._add_table(table, page)

    def _add_line(self, line: Line, page: dict[str, Any]) -> None:
        confidence = line.confidence * 100
        block = self._add(
            "LINE", page=line.page, parent=page, Text=line.text, Confidence=confidence
        )
        for word in line.text.split():
            self._add("WORD", page=line.page, parent=block, Text=word, Confidence=confidence)

    def _add_table(self, table: Table, page: dict[str, Any]) -> None:
        block = self._add("TABLE", page=table.page, parent=page)
        for row, cells in enumerate(table.rows, start=1):
            for column, text in enumerate(cells, start=1):
                cell = self._add(
                    "CELL",
                    page=table.page,
                    parent=block,
                    RowIndex=row,
                    ColumnIndex=column,
                    RowSpan=1,
                    ColumnSpan=1,
                )
                for word in text.split():
                    self._add("WORD", page=table.page, parent=cell, Text=word)

    def _add(
        self, kind: str, *, page: int, parent: dict[str, Any] | None = None, **members: Any
    ) -> dict[str, Any]:
        block = {"BlockType": kind, "Id": f"block-{len(self.all) + 1}", "Page": page, **members}
        self.all.append(block)
        if parent is not None:
            relations = parent.setdefault("Relationships", [{"Type": "CHILD", "Ids": []}])
            relations[0]["Ids"].append(block["Id"])
        return block
