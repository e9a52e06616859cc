"""What this installation has learnt, and how it is looked up.

Rows change through `learn` and `forget` alone: they give the knowledge a new edition, by which every
process knows that its index is old. It then compares the states of all documents and reads those that
have changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from threading import Lock
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models.functions import Length
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
    # Before the rows, which may then be newer than it says, never older; and before the turn, so that
    # nobody has it who still waits for a connection.
    edition = KnowledgeEdition.objects.filter(pk=1).values_list("stamp", flat=True).first()
    with _turn:
        if _index.edition != edition:
            _catch_up(_index)
            _index.edition = edition
        matches = _index.bm25.most_similar(query, limit=limit)
        return tuple(
            replace(_index.excerpts[match.index], score=match.score / matches[0].score)
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

# The row's version is not enough: a change that was rolled back gives its number, and on SQLite its
# key, to the next one.
_State = tuple[str, int, datetime, int]


@dataclass(kw_only=True, eq=False)
class _Index:
    """What is known of each document: its state when it was read, and the indexes of its passages.

    They rise with the documents' keys, so that equally good passages come in one order everywhere.
    """

    edition: UUID | None = None
    states: dict[int, _State] = field(default_factory=dict)
    places: dict[int, range] = field(default_factory=dict)
    excerpts: dict[int, Excerpt] = field(default_factory=dict)
    bm25: Bm25 = field(default_factory=Bm25)


_index = _Index()
# Threads search and change the same index.
_turn = Lock()
# More passages than a document of the size that is taken in can have.
_MOST_PASSAGES = 2**20
# Databases bound how many keys a query may name.
_FEW = 500


def _catch_up(index: _Index) -> None:
    """Bring the index up to date: only documents that have changed are read."""
    states: dict[int, _State] = {
        pk: (ref, version, learnt_at, size)
        for pk, ref, version, learnt_at, size in Knowledge.objects.values_list(
            "pk", "ref", "version", "learnt_at", Length("text")
        )
    }
    for pk in [pk for pk, state in index.states.items() if states.get(pk) != state]:
        _drop(index, pk)
    new = states.keys() - index.states.keys()
    known = Knowledge.objects.annotate(size=Length("text"))
    for row in known.iterator() if len(new) > _FEW else known.filter(pk__in=new):
        if row.pk not in index.states:
            _take_in(index, row, (row.ref, row.version, row.learnt_at, row.size))


def _take_in(index: _Index, row: Knowledge, state: _State) -> None:
    texts = passages(row.text)
    places = range(row.pk * _MOST_PASSAGES, row.pk * _MOST_PASSAGES + len(texts))
    for number, (place, text) in enumerate(zip(places, texts, strict=True), start=1):
        index.excerpts[place] = excerpt = Excerpt(
            id=f"{row.kind}:{row.ref}#{number}",
            text=text,
            title=row.title,
            uri=row.uri,
            score=0.0,
        )
        index.bm25.add(place, _searched(excerpt))
    index.states[row.pk], index.places[row.pk] = state, places


def _drop(index: _Index, pk: int) -> None:
    for place in index.places.pop(pk):
        index.bm25.remove(place, _searched(index.excerpts.pop(place)))
    del index.states[pk]


def _searched(excerpt: Excerpt) -> str:
    return f"{excerpt.title}\n{excerpt.text}"


def _locked_edition() -> KnowledgeEdition:
    """The edition's row, locked: writers take turns, so the last stamp is of the last change."""
    KnowledgeEdition.objects.get_or_create(pk=1)
    return KnowledgeEdition.objects.select_for_update().get(pk=1)


def _renew(edition: KnowledgeEdition) -> None:
    edition.stamp = uuid4()
    edition.save(update_fields=["stamp"])
