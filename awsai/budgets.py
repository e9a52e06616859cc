"""Reserve before a call, settle after it: no limit is passed, whatever runs at the same time.

A reservation counts in the day, the incident and the run at once or in none, by one conditional
UPDATE each: reserved + spent + amount <= limit. The rows are taken in one order, the busiest last.
At critical severity a call that is over a limit may still use the allowance of the day, which is a
limit of its own and counts nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils.timezone import now

from awsai.models import Budget, BudgetReservation, BudgetUse
from awsai.models.budgets import BudgetScope, ReservationState
from awsai.router import Level
from incidentops.access import audit
from incidentops.incidents.models import Severity

# From here on only the cheapest model is asked.
SCARCE = 0.8
# Longer than any call may take: who has not settled by then was killed.
RESERVED_FOR = timedelta(minutes=15)


class OverBudget(Exception):
    """A limit has no room for the amount."""

    def __init__(self, scope: BudgetScope, key: str) -> None:
        super().__init__(f"The budget of the {scope} ({key}) has no room for this call.")
        self.scope, self.key = scope, key


class NotHeld(Exception):
    """The reservation was settled or released before."""


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """Money set aside. `is_allowance` when it came from the critical allowance."""

    id: int
    amount: int
    is_allowance: bool


# --- Limits ------------------------------------------------------------------------------------


def set_limit(
    scope: BudgetScope,
    limit_nano_usd: int,
    *,
    by: object,
    note: str = "",
    at: datetime | None = None,
) -> Budget:
    """Set a limit from now on; the one before stays as history."""
    with transaction.atomic():
        budget = Budget.objects.create(
            scope=scope,
            limit_nano_usd=limit_nano_usd,
            set_by=str(by)[:120],
            set_at=at or now(),
            note=note[:200],
        )
        audit.record(
            "budget.set",
            actor=by,
            target=f"budget:{scope}",
            detail={"limit_nano_usd": limit_nano_usd, "note": note},
        )
    return budget


def limits() -> dict[str, int]:
    """The limits in force by scope, in nano-USD. A scope that is missing has none."""
    return dict(Budget.objects.current().values_list("scope", "limit_nano_usd"))


# --- Around a call -----------------------------------------------------------------------------


def reserve(
    amount: int,
    *,
    day: date,
    incident: int | None = None,
    run: str = "",
    severity: str = "",
    lasts: timedelta = RESERVED_FOR,
) -> Reservation:
    """Set `amount` nano-USD aside: the most the call can cost, or the limits hold only nearly.

    Raises:
        OverBudget: a limit has no room; nothing was set aside.
        ValueError: the amount is negative.
    """
    if amount < 0:
        raise ValueError(f"A negative amount: {amount}")
    try:
        return _reserve(amount, _ordinary(day, incident, run), lasts)
    except OverBudget:
        if severity != Severity.CRITICAL or BudgetScope.CRITICAL not in limits():
            raise
    return _reserve(amount, [_allowance(day)], lasts)


def settle(reservation: Reservation, actual: int | None) -> None:
    """Replace what was set aside by what was spent. An unknown cost counts as all that was set aside.

    A reservation that expired meanwhile is corrected in the same way.

    Raises:
        NotHeld: it was settled or released before.
        ValueError: the cost is negative.
    """
    if actual is not None and actual < 0:
        raise ValueError(f"A negative cost: {actual}")
    _end(reservation.id, ReservationState.SETTLED, actual)


def release(reservation: Reservation) -> None:
    """Give back what was set aside: the call was never made, or is not billed.

    Raises:
        NotHeld: it was settled or released before.
    """
    _end(reservation.id, ReservationState.RELEASED, 0)


def expire_overdue(*, limit: int = 500) -> list[int]:
    """Count what killed callers had set aside as spent, since nobody knows better; their ids.

    `settle` and `release` correct it once the ledger knows what became of the call.
    """
    expired = []
    for pk in BudgetReservation.objects.overdue().values_list("pk", flat=True)[:limit]:
        with transaction.atomic():
            held = BudgetReservation.objects.filter(pk=pk, state=ReservationState.HELD)
            if held.update(state=ReservationState.EXPIRED):
                row = BudgetReservation.objects.get(pk=pk)
                _count(row.uses, reserved=-row.amount, spent=row.amount)
                expired.append(pk)
    return expired


def level(*, day: date, incident: int | None = None, run: str = "", severity: str = "") -> Level:
    """What may be asked, by the limit that is used up the most.

    Over the limits, critical severity has the level of its own allowance.
    """
    caps = limits()
    found = _level(_ordinary(day, incident, run), caps)
    if found is Level.LOCAL and severity == Severity.CRITICAL and BudgetScope.CRITICAL in caps:
        return _level([_allowance(day)], caps)
    return found


# --- Rows --------------------------------------------------------------------------------------

_Use = tuple[str, str]


def _ordinary(day: date, incident: int | None, run: str) -> list[_Use]:
    uses: list[_Use] = [(BudgetScope.RUN, run)] if run else []
    if incident is not None:
        uses.append((BudgetScope.INCIDENT, str(incident)))
    return [*uses, (BudgetScope.DAY, day.isoformat())]


def _allowance(day: date) -> _Use:
    return BudgetScope.CRITICAL, day.isoformat()


def _reserve(amount: int, uses: Sequence[_Use], lasts: timedelta) -> Reservation:
    caps = limits()
    with transaction.atomic():
        BudgetUse.objects.bulk_create(
            [BudgetUse(scope=scope, key=key) for scope, key in uses], ignore_conflicts=True
        )
        for scope, key in uses:
            use = BudgetUse.objects.filter(scope=scope, key=key)
            if scope in caps:
                # The database decides again under the row's lock, so no other caller can be missed.
                use = use.filter(reserved__lte=caps[scope] - amount - F("spent"))
            if not use.update(reserved=F("reserved") + amount):
                raise OverBudget(BudgetScope(scope), key)
        at = now()
        row = BudgetReservation.objects.create(
            amount=amount,
            uses=[[scope, key] for scope, key in uses],
            reserved_at=at,
            expires_at=at + lasts,
        )
    is_allowance = any(scope == BudgetScope.CRITICAL for scope, _ in uses)
    return Reservation(id=row.pk, amount=amount, is_allowance=is_allowance)


def _end(pk: int, state: ReservationState, actual: int | None) -> None:
    with transaction.atomic():
        row = BudgetReservation.objects.select_for_update().get(pk=pk)
        if row.state not in (ReservationState.HELD, ReservationState.EXPIRED):
            raise NotHeld(f"Reservation {pk} is {row.state}.")
        spent = row.amount if actual is None else actual
        if row.state == ReservationState.HELD:
            _count(row.uses, reserved=-row.amount, spent=spent)
        else:
            _count(row.uses, reserved=0, spent=spent - row.amount)
        row.state, row.actual = state, actual
        row.save(update_fields=["state", "actual"])


def _count(uses: Sequence[Sequence[str]], *, reserved: int, spent: int) -> None:
    for scope, key in uses:
        BudgetUse.objects.filter(scope=scope, key=key).update(
            reserved=F("reserved") + reserved, spent=F("spent") + spent
        )


def _level(uses: Sequence[_Use], caps: dict[str, int]) -> Level:
    shares = [_share(use, caps[use[0]]) for use in uses if use[0] in caps]
    share = max(shares, default=0.0)
    if share >= 1:
        return Level.LOCAL
    return Level.CHEAPEST if share >= SCARCE else Level.NORMAL


def _share(use: _Use, cap: int) -> float:
    """How much of a limit is used up; a limit of nothing is used up from the start."""
    row = BudgetUse.objects.filter(scope=use[0], key=use[1]).first()
    used = row.reserved + row.spent if row else 0
    return used / cap if cap else 1.0
