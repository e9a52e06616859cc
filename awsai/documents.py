"""Documents that people give the knowledge or take from it."""

from __future__ import annotations

import mimetypes

from django.db import transaction

from awsai import gateway, knowledge
from awsai.gateway import Asker
from awsai.models import Knowledge, KnowledgeKind
from awsai.ports import CallFailed, Trouble
from incidentops.access import audit

MOST_BYTES = 5 * 1024 * 1024
# What senders say of a file whose type they do not know.
_UNTOLD = ("", "application/octet-stream")


def text_of(content: bytes, *, media_type: str = "", name: str = "") -> str:
    """The text of a document; its name tells the type that its sender did not.

    Raises:
        CallFailed: nobody can read it, or there is nothing in it to be read.
    """
    if media_type.partition(";")[0].strip() in _UNTOLD:
        media_type = mimetypes.guess_type(name)[0] or media_type or "application/octet-stream"
    document = gateway.read_document(content, media_type=media_type, asker=Asker())
    if not document.text.strip():
        raise CallFailed(Trouble.REFUSED, "There is no text in the document.", code="EmptyDocument")
    return document.text


def learn(
    kind: KnowledgeKind, ref: str, *, title: str, text: str, uri: str = "", by: object
) -> tuple[Knowledge, bool]:
    """Take in a document, or its new state; whether it is a new one."""
    with transaction.atomic():
        before = Knowledge.objects.filter(kind=kind, ref=ref).first()
        row = knowledge.learn(kind, ref, title=title, text=text, uri=uri)
        if before is None or before.version != row.version:
            audit.record(
                "knowledge.learn",
                actor=by,
                target=f"knowledge:{row}",
                detail={"title": row.title, "version": row.version, "characters": len(row.text)},
            )
    return row, before is None


def forget(row: Knowledge, *, by: object) -> bool:
    """Delete a document; whether it was still there."""
    with transaction.atomic():
        is_gone = knowledge.forget(KnowledgeKind(row.kind), row.ref)
        if is_gone:
            audit.record(
                "knowledge.forget",
                actor=by,
                target=f"knowledge:{row}",
                detail={"title": row.title, "version": row.version},
            )
    return is_gone
