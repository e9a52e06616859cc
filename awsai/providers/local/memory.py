"""What the assistant keeps of its sessions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypedDict

from django.db import transaction

from awsai.models import MemoryEntry
from awsai.ports import Memory

MOST_TURNS = 50
LONGEST_TURN = 4000


class Turn(TypedDict):
    by: Literal["person", "assistant"]
    text: str


def turns(*, memory_id: str, session_id: str) -> list[Turn]:
    row = MemoryEntry.objects.filter(memory_id=memory_id, session_id=session_id).first()
    return row.turns if row else []


def remember(
    said: Sequence[Turn], *, memory_id: str, session_id: str, at: datetime, summary: str = ""
) -> None:
    """Add turns to a session, the oldest making room; with a summary the session has ended."""
    bounded = [Turn(by=turn["by"], text=turn["text"][:LONGEST_TURN]) for turn in said]
    with transaction.atomic():
        MemoryEntry.objects.get_or_create(
            memory_id=memory_id, session_id=session_id, defaults={"at": at}
        )
        row = MemoryEntry.objects.select_for_update().get(
            memory_id=memory_id, session_id=session_id
        )
        row.turns = [*row.turns, *bounded][-MOST_TURNS:]
        row.summary = summary or row.summary
        row.at = at
        row.save(update_fields=["turns", "summary", "at"])


def summaries(*, memory_id: str, limit: int) -> tuple[Memory, ...]:
    """Of sessions that have ended, the newest first."""
    rows = MemoryEntry.objects.filter(memory_id=memory_id).exclude(summary="")
    return tuple(
        Memory(session_id=row.session_id, summary=row.summary, at=row.at)
        for row in rows.order_by("-at", "-pk")[:limit]
    )


def forget(*, memory_id: str, session_id: str = "") -> None:
    rows = MemoryEntry.objects.filter(memory_id=memory_id)
    if session_id:
        rows = rows.filter(session_id=session_id)
    rows.delete()
