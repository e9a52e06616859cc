"""What this installation has learnt, and how it is looked up.

Rows change through `learn` and `forget` alone: they give the knowledge a new edition, by which every
process knows that its index is old.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from uuid import UUID, uuid4

from django.db import transaction
from django.utils import timezone

from awsai.models import Knowledge, KnowledgeEdition, KnowledgeKind
from awsai.ports import Excerpt
from incidentops.incidents.similarity import Bm25

LONGEST_PASSAGE = 1000
OVERLAP = 150  # what was said around a cut can still be found whole
_CUTS = ("\n\n", "\n", ". ", " ")


def learn(
    kind: KnowledgeKind,
    ref: str,
    *,
    title: str,
    text: str,
    uri: str = "",
    at: datetime | None = None,
) -> Knowledge:
    """Take in a document, or its new state. What is known already, word for word, stays as it is."""
    content = {"title": storable(title)[:300], "text": storable(text), "uri": uri}
    with transaction.atomic():
        edition = _locked_edition()
        row = Knowledge.objects.filter(kind=kind, ref=ref).first()
        if row and all(getattr(row, name) == value for name, value in content.items()):
            return row
        row, _ = Knowledge.objects.update_or_create(
            kind=kind,
            ref=ref,
            defaults={
                **content,
                "version": row.version + 1 if row else 1,
                "learnt_at": at or timezone.now(),
            },
        )
        _renew(edition)
    return row


def forget(kind: KnowledgeKind, ref: str) -> bool:
    """Delete a document; whether there was one."""
    with transaction.atomic():
        edition = _locked_edition()
        deleted, _ = Knowledge.objects.filter(kind=kind, ref=ref).delete()
        if deleted:
            _renew(edition)
    return bool(deleted)


def search(query: str, limit: int) -> tuple[Excerpt, ...]:
    """The passages that share a word with the query, best first.

    A score is BM25 relative to the best passage found: it orders one answer, nothing more.
    """
    index = _index()
    matches = index.bm25.most_similar(query, limit=limit)
    return tuple(
        replace(index.excerpts[match.index], score=match.score / matches[0].score)
        for match in matches
    )


def storable(text: str) -> str:
    """The text without NUL, which PostgreSQL refuses, and halves of surrogate pairs, as all do."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "")


def passages(text: str) -> list[str]:
    """The text in stretches of at most `LONGEST_PASSAGE` characters, each begun in the one before.

    Cuts are made between paragraphs, else lines, sentences, words.
    """
    ends = [0]
    while ends[-1] < len(text):
        ends.append(_end(text, ends[-1]))
    return [
        stripped
        for begin, end in pairwise(ends)
        if (stripped := text[_start(text, begin) : end].strip())
    ]


def _end(text: str, begin: int) -> int:
    furthest = begin + LONGEST_PASSAGE - OVERLAP
    if furthest >= len(text):
        return len(text)
    for mark in _CUTS:
        at = text.rfind(mark, begin + LONGEST_PASSAGE // 2, furthest)
        if at >= 0:
            return at + len(mark)
    return furthest


def _start(text: str, begin: int) -> int:
    """Where the passage begins, with the overlap, after a space if there is one in it."""
    earliest = max(0, begin - OVERLAP)
    at = text.find(" ", earliest, begin) if earliest else -1
    return at + 1 if at >= 0 else earliest


# --- The index of this process


@dataclass(frozen=True, kw_only=True, eq=False)
class _Index:
    edition: UUID | None
    excerpts: Sequence[Excerpt]
    bm25: Bm25


_EMPTY = _Index(edition=None, excerpts=(), bm25=Bm25(()))
_current = _EMPTY


def _index() -> _Index:
    global _current
    # The edition is read before the rows: rows may then be newer than it says, never older.
    edition = KnowledgeEdition.objects.filter(pk=1).values_list("stamp", flat=True).first()
    index = _current
    if index.edition != edition:
        _current = index = _read(edition)
    return index


def _read(edition: UUID | None) -> _Index:
    excerpts = [
        Excerpt(
            id=f"{row.kind}:{row.ref}#{number}",
            text=text,
            title=row.title,
            uri=row.uri,
            score=0.0,
        )
        for row in Knowledge.objects.order_by("pk").iterator()
        for number, text in enumerate(passages(row.text), start=1)
    ]
    bm25 = Bm25([f"{excerpt.title}\n{excerpt.text}" for excerpt in excerpts])
    return _Index(edition=edition, excerpts=excerpts, bm25=bm25)


def _locked_edition() -> KnowledgeEdition:
    """The edition's row, locked: writers take turns, so the last stamp is of the last change."""
    KnowledgeEdition.objects.get_or_create(pk=1)
    return KnowledgeEdition.objects.select_for_update().get(pk=1)


def _renew(edition: KnowledgeEdition) -> None:
    edition.stamp = uuid4()
    edition.save(update_fields=["stamp"])
