"""Reserve before a call, settle after it: no limit is passed, whatever runs at the same time.

A claim counts in the day, the incident and the run at once or in none: reserved + spent + amount <=
limit, decided while the rows are locked, always in one order. The intent of a call is its
reservation: it is settled with the call's row, in the same transaction, also after a kill. At
critical severity a call that is over a limit may still use the allowance of the day, which is a limit
of its own and counts nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from django.db import connection, transaction
from django.utils.timezone import now

from awsai.freshness import kept_fresh
from awsai.models import Budget
from awsai.models.budgets import BudgetScope
from awsai.router import Level
from incidentops.access import audit
from incidentops.incidents.models import Severity

# From here on only the cheapest model is asked.
SCARCE = 0.8

Use = tuple[str, str]  # scope and key of a row


class OverBudget(Exception):
    """A limit has no room for the amount."""

    def __init__(self, scope: str, key: str) -> None:
        super().__init__(f"The budget of the {scope} ({key}) has no room for this call.")
        self.scope, self.key = scope, key


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a call wants to spend at most, in nano-USD, and for whom. Nothing is always granted.

    A call without a known ceiling claims nothing, so it can pass a limit, by itself alone.
    """

    amount: int
    day: date
    incident: int | None = None
    run: str = ""
    severity: str = ""

    def __post_init__(self) -> None:
        if self.amount < 0:
            raise ValueError(f"A negative amount: {self.amount}")

    @property
    def uses(self) -> tuple[Use, ...]:
        return ordinary_uses(self.day, self.incident, self.run)


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """Money set aside in `uses`. `is_allowance` when it came from the critical allowance."""

    amount: int
    uses: tuple[Use, ...]
    is_allowance: bool = False


def ordinary_uses(day: date, incident: int | None, run: str) -> tuple[Use, ...]:
    """Where a call counts."""
    uses: list[Use] = [(BudgetScope.RUN, run)] if run else []
    if incident is not None:
        uses.append((BudgetScope.INCIDENT, str(incident)))
    return (*uses, (BudgetScope.DAY, day.isoformat()))


def allowance_uses(day: date) -> tuple[Use, ...]:
    """Where a call of critical severity counts that is over a limit."""
    return ((BudgetScope.CRITICAL, day.isoformat()),)


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
    with connection.cursor() as cursor:
        # Of each scope the last one set: the history is short, and its newer rows overwrite older.
        cursor.execute("SELECT scope, limit_nano_usd FROM awsai_budget ORDER BY id")
        return dict(cursor.fetchall())


_limits_lately = kept_fresh(limits)


# --- Around a call -----------------------------------------------------------------------------


def reserve(claims: Sequence[Claim]) -> list[Reservation | OverBudget]:
    """Set aside what each call can cost at most, or say which limit has no room for it.

    In the caller's transaction: the rows stay locked until it ends.
    """
    if not any(claim.amount for claim in claims):
        return [Reservation(amount=0, uses=claim.uses) for claim in claims]
    caps = limits()
    with transaction.atomic(savepoint=False):
        used = _locked({use for claim in claims for use in (*claim.uses, *_spare(claim, caps))})
        granted = [_granted(claim, used, caps) for claim in claims]
        held = [one for one in granted if isinstance(one, Reservation)]
        _count((use, one.amount, 0) for one in held for use in one.uses)
    return granted


def settle(settled: Iterable[tuple[Reservation, int | None]]) -> None:
    """Replace what was set aside by what was spent. An unknown cost counts as all that was set aside.

    In the caller's transaction, which must see to it that a reservation is settled once.

    Raises:
        ValueError: a cost is negative.
    """
    changes = []
    for held, actual in settled:
        if actual is not None and actual < 0:
            raise ValueError(f"A negative cost: {actual}")
        spent = held.amount if actual is None else actual
        if held.amount or spent:
            changes += [(use, -held.amount, spent) for use in held.uses]
    if changes:
        # Whatever was set aside has its rows.
        _make({use for use, reserved, _ in changes if not reserved})
        _count(changes)


def level(*, day: date, incident: int | None = None, run: str = "", severity: str = "") -> Level:
    """What may be asked, by the limit that is used up the most.

    Over the limits, critical severity has the level of its own allowance. A limit that was set a
    moment ago may not count yet, but `reserve` knows it.
    """
    caps = _limits_lately()
    if not caps:
        return Level.NORMAL
    ordinary, allowance = ordinary_uses(day, incident, run), allowance_uses(day)
    used = _used({*ordinary, *allowance})
    found = _level(ordinary, used, caps)
    if found is Level.LOCAL and severity == Severity.CRITICAL and BudgetScope.CRITICAL in caps:
        return _level(allowance, used, caps)
    return found


# --- Rows --------------------------------------------------------------------------------------

# In plain SQL, since they run around every call: to be built by the ORM takes ten times as long.
_MAKE = """
    INSERT INTO awsai_budgetuse (scope, key, reserved, spent) VALUES (%s, %s, 0, 0)
    ON CONFLICT (scope, key) DO NOTHING
"""
_READ = "SELECT scope, key, reserved + spent FROM awsai_budgetuse WHERE {} ORDER BY scope, key"
_CHANGE = """
    UPDATE awsai_budgetuse SET reserved = reserved + %s, spent = spent + %s
    WHERE scope = %s AND key = %s
"""


def _locked(uses: Collection[Use]) -> dict[Use, int]:
    """What is spent or reserved in each, the rows locked until the transaction ends."""
    if connection.features.has_select_for_update:
        # All rows are there before the first is locked, so that everybody locks in one order.
        _make(uses)
        return _used(uses, locking=True)
    found = _used(uses)
    if len(found) == len(uses):
        return found
    _make(uses)
    return _used(uses)


def _make(uses: Collection[Use]) -> None:
    if uses:
        with connection.cursor() as cursor:
            cursor.executemany(_MAKE, sorted(uses))


def _used(uses: Collection[Use], *, locking: bool = False) -> dict[Use, int]:
    condition = " OR ".join(["(scope = %s AND key = %s)"] * len(uses))
    query = _READ.format(condition) + " FOR UPDATE" * locking
    with connection.cursor() as cursor:
        cursor.execute(query, [part for use in uses for part in use])
        return {(scope, key): used for scope, key, used in cursor.fetchall()}


def _count(changes: Iterable[tuple[Use, int, int]]) -> None:
    """Add to what is reserved and spent in each, locking the rows in the order of `_locked`."""
    totals: dict[Use, list[int]] = {}
    for use, reserved, spent in changes:
        total = totals.setdefault(use, [0, 0])
        total[0] += reserved
        total[1] += spent
    rows: list[tuple[int | str, ...]] = [
        (*total, *use) for use, total in sorted(totals.items()) if any(total)
    ]
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(_CHANGE, rows)


def _granted(
    claim: Claim, used: dict[Use, int], caps: Mapping[str, int]
) -> Reservation | OverBudget:
    """Set the claim aside in `used`, if the limits have room for it."""
    ordinary = Reservation(amount=claim.amount, uses=claim.uses)
    over = _without_room(ordinary, used, caps)
    if over is None:
        return _counted(ordinary, used)
    spare = Reservation(amount=claim.amount, uses=_spare(claim, caps), is_allowance=True)
    if spare.uses:
        over = _without_room(spare, used, caps)
    return OverBudget(*over) if over else _counted(spare, used)


def _spare(claim: Claim, caps: Mapping[str, int]) -> tuple[Use, ...]:
    """What may still be used when an ordinary limit has no room."""
    is_critical = claim.severity == Severity.CRITICAL and BudgetScope.CRITICAL in caps
    return allowance_uses(claim.day) if is_critical else ()


def _without_room(
    wanted: Reservation, used: Mapping[Use, int], caps: Mapping[str, int]
) -> Use | None:
    if not wanted.amount:
        return None
    for use in wanted.uses:
        if use[0] in caps and used[use] + wanted.amount > caps[use[0]]:
            return use
    return None


def _counted(reservation: Reservation, used: dict[Use, int]) -> Reservation:
    for use in reservation.uses:
        used[use] += reservation.amount
    return reservation


def _level(uses: Iterable[Use], used: Mapping[Use, int], caps: Mapping[str, int]) -> Level:
    share = max(
        (_share(used.get(use, 0), caps[use[0]]) for use in uses if use[0] in caps), default=0.0
    )
    if share >= 1:
        return Level.LOCAL
    return Level.CHEAPEST if share >= SCARCE else Level.NORMAL


def _share(used: int, cap: int) -> float:
    """How much of a limit is used up; a limit of nothing is used up from the start."""
    return used / cap if cap else 1.0
