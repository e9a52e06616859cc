"""Hash-chained tables: one implementation for the audit and for the ledger.

Every link carries SHA-256 over the previous link's hash and the canonical JSON of its own columns; a
head row remembers where the chain ends. So an edit, a deletion, an insertion, another order and a
cut-off tail all show, and `verify` names the first row that is wrong. Who can write to the database
can still forge a whole new chain: an end that was noted elsewhere (`expected`) shows that too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

from django.db import connection, models, transaction

from incidentops.statements import insert

START = "0" * 64
_ROWS_AT_ONCE = 2000


class ChainHead(models.Model):
    """The end of a chain, in the one row with primary key 1.

    Locking that row is what puts links in one order.
    """

    sequence = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default=START)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"#{self.sequence}"


class ChainLink(models.Model):
    """A row of a chain: written once, never updated or deleted (the database refuses).

    `hashed` names the columns under the hash. A column added later needs a version of its own
    there, or every older row would seem changed.
    """

    head: ClassVar[type[ChainHead]]
    hashed: ClassVar[tuple[str, ...]]

    sequence = models.BigIntegerField(unique=True)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        abstract = True

    def digest(self) -> str:
        """The hash this row must carry."""
        body = json.dumps(
            {name: canonical(getattr(self, name)) for name in self.hashed},
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=True,
            allow_nan=False,
        )
        return hashlib.sha256((self.previous_hash + body).encode()).hexdigest()


class BrokenChain(Exception):
    """Nothing can be appended: the rows and the head contradict each other."""


L = TypeVar("L", bound=ChainLink)


def append(link: L) -> L:
    """Give the link its place at the end of its chain and store it with the caller's transaction.

    The head row stays locked until that transaction ends: append last.

    Raises:
        BrokenChain: the head row is gone although there are links.
    """
    return extend([link])[0]


def extend(links: Sequence[L]) -> list[L]:
    """Append several links of one chain in their order, as `append` does one.

    Raises:
        BrokenChain: as there.
    """
    if not links:
        return []
    kind = type(links[0])
    with transaction.atomic(savepoint=False):
        sequence, last_hash = _locked_end(kind)
        for link in links:
            link.pk = None  # an attempt that was rolled back may have left one
            link.sequence = sequence = sequence + 1
            link.previous_hash = last_hash
            link.hash = last_hash = link.digest()
        stored = insert(list(links))
        # In plain SQL, here and below: each call of an AI service waits for it.
        move = f"UPDATE {kind.head._meta.db_table} SET sequence = %s, hash = %s WHERE id = 1"  # noqa: S608  # our own name
        with connection.cursor() as cursor:
            cursor.execute(move, [sequence, last_hash])
    return stored


def _locked_end(links: type[ChainLink]) -> tuple[int, str]:
    """Where the chain ends; its head row stays locked until the transaction ends."""
    look = f"SELECT sequence, hash FROM {links.head._meta.db_table} WHERE id = 1"  # noqa: S608  # our own name
    with connection.cursor() as cursor:
        cursor.execute(look + " FOR UPDATE" * connection.features.has_select_for_update)
        found = cursor.fetchone()
    if found:
        sequence, last_hash = found
        return sequence, last_hash
    heads = links.head._default_manager
    # Links seen only now came with their head, so it is looked for once more.
    if links._default_manager.exists() and not heads.filter(pk=1).exists():
        raise BrokenChain(f"{links._meta.db_table} has rows, but the end of its chain is missing.")
    heads.get_or_create(pk=1)
    head = heads.select_for_update().get(pk=1)
    return head.sequence, head.hash


def canonical(value: Any) -> Any:
    """The value as both databases give it back: PostgreSQL has one kind of JSON number."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return value


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The first row that is wrong, by its sequence number, and what is wrong with it."""

    sequence: int
    reason: str

    def __str__(self) -> str:
        return f"row {self.sequence}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`count` rows are sound, up to the end `hash` or to the fault."""

    count: int
    hash: str
    fault: Fault | None

    @property
    def is_sound(self) -> bool:
        return self.fault is None


def verify(links: type[ChainLink], *, expected: tuple[int, str] | None = None) -> Verdict:
    """Walk the chain from its first row, holding a bounded number of rows in memory.

    `expected` is (sequence, hash) of an end noted earlier: that row must still be there unchanged.
    Rows appended meanwhile are left to the next verification.
    """
    last = links._default_manager.aggregate(last=models.Max("sequence"))["last"] or 0
    head = links.head._default_manager.filter(pk=1).first()
    end, end_hash = (head.sequence, head.hash) if head else (0, START)

    count, previous = 0, START
    for row in _rows(links, end):
        if reason := _reason_against(row, count + 1, previous, expected):
            return _fault(count, previous, reason)
        count, previous = count + 1, row.hash

    if count < end:
        return _fault(count, previous, f"missing, and all after it: the chain must end at {end}")
    if previous != end_hash:
        fault = Fault(sequence=count, reason="its hash is not the one the chain must end with")
        return Verdict(count=count, hash=previous, fault=fault)
    if last > end:
        return _fault(count, previous, f"stands after the end of the chain, which is {end}")
    if expected and expected[0] > count:
        return _fault(count, previous, f"missing: the chain reached {expected[0]} before")
    return Verdict(count=count, hash=previous, fault=None)


def _rows(links: type[ChainLink], end: int) -> Iterator[ChainLink]:
    rows = links._default_manager.filter(sequence__lte=end).order_by("sequence")
    yield from rows.iterator(chunk_size=_ROWS_AT_ONCE)


def _reason_against(
    row: ChainLink, place: int, previous: str, expected: tuple[int, str] | None
) -> str:
    if row.sequence > place:
        return f"missing: the next one is {row.sequence}"
    if row.sequence < place:
        return f"a row numbered {row.sequence} was put before it"
    if row.previous_hash != previous:
        return "does not follow the row before it"
    if row.hash != row.digest():
        return "changed after it was written"
    if expected and expected[0] == place and expected[1] != row.hash:
        return "not the row that was noted before: the chain was rewritten"
    return ""


def _fault(count: int, previous: str, reason: str) -> Verdict:
    fault = Fault(sequence=count + 1, reason=reason)
    return Verdict(count=count, hash=previous, fault=fault)
