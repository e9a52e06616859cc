"""Documents that people give: read, and learnt or forgotten."""

from __future__ import annotations

import mimetypes

from django.db import transaction

from awsai import gateway, knowledge
from awsai.gateway import Asker
from awsai.models import Knowledge, KnowledgeKind
from awsai.ports import CallFailed, Document, Trouble
from incidentops.access import audit

# What senders say of a file whose type they do not know.
_UNTOLD = ("", "application/octet-stream")


def read(content: bytes, *, media_type: str, name: str, asker: Asker) -> Document:
    """What is written in a document; name and bytes tell the type that its sender did not.

    Raises:
        CallFailed: nobody can read it, or there is nothing in it to be read.
    """
    if media_type.partition(";")[0].strip() in _UNTOLD:
        media_type = mimetypes.guess_type(name)[0] or _type_of(content)
    document = gateway.read_document(content, media_type=media_type, asker=asker)
    if not document.text.strip():
        raise CallFailed(Trouble.REFUSED, "There is no text in the document.", code="EmptyDocument")
    return document


def _type_of(content: bytes) -> str:
    """Logs have all sorts of names: what is text by its bytes is read as text."""
    try:
        is_text = "\x00" not in content.decode()
    except UnicodeDecodeError:
        is_text = False
    return "text/plain" if is_text else "application/octet-stream"


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
