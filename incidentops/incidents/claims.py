"""Rows that somebody on a floor above works on, once: taken for a while, and fenced.

Nothing on this floor does that work. Whoever does takes a row for a lease; the attempt's number
fences what it says of it, so that a worker that lost its lease changes nothing. All instants are the
database's.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from django.db.models import F, QuerySet
from django.db.models.functions import Now

from incidentops.incidents.models import Claimable
from incidentops.leases import LeaseLost

R = TypeVar("R", bound=Claimable)


def claim(due: QuerySet[R], pk: int, *, lease: timedelta) -> bool:
    """Take a row for as long as the lease, if it is one of those that are due."""
    return bool(due.filter(pk=pk).update(attempts=F("attempts") + 1, due_at=Now() + lease))


def renew(rows: QuerySet[R], claimed: R, *, lease: timedelta) -> None:
    """Keep a claimed row for another lease from now on.

    Raises:
        LeaseLost: somebody else has claimed it since.
    """
    if not held(rows, claimed).update(due_at=Now() + lease):
        raise LeaseLost(f"{type(claimed).__name__} {claimed.pk}")


def held(rows: QuerySet[R], claimed: R) -> QuerySet[R]:
    """The claimed row of these, as long as nobody else has claimed it since."""
    return rows.filter(pk=claimed.pk, attempts=claimed.attempts)


def put_off(rows: QuerySet[R], claimed: R, *, reason: str, wait: timedelta) -> None:
    """Have a claimed row worked on again after a while; `reason` says what was in the way."""
    held(rows, claimed).update(reason=reason, due_at=Now() + wait)
