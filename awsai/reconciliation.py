"""After a process was killed: its calls get their rows, and its reservations what those say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from awsai import budgets, ledger
from awsai.budgets import Reservation
from awsai.models import AwsCall, AwsCallIntent, BudgetReservation
from awsai.models.budgets import BudgetScope

# Longer than any call may take, and so much shorter than a reservation lasts that the call of one
# that is overdue has its row.
CALLS_END_WITHIN = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """How many calls were lost, how many reservations expired, and of how many the cost is known."""

    lost: int
    expired: int
    corrected: int


def reconcile() -> Reconciled:
    lost = ledger.reconcile(older_than=CALLS_END_WITHIN)
    expired = budgets.expire_overdue()
    corrected = sum(_correct(row) for row in BudgetReservation.objects.filter(pk__in=expired))
    return Reconciled(lost=lost, expired=len(expired), corrected=corrected)


def _correct(row: BudgetReservation) -> bool:
    """Settle an expired reservation by the ledger, if it tells which call it was for.

    What cannot be told apart goes on counting as spent in full: limits hold, at worst early.
    """
    calls = _calls_of(row)
    if len(calls) != 1 or calls[0].list_price_nano_usd is None:
        return False
    is_allowance = any(scope == BudgetScope.CRITICAL for scope, _ in row.uses)
    reservation = Reservation(id=row.pk, amount=row.amount, is_allowance=is_allowance)
    budgets.settle(reservation, calls[0].list_price_nano_usd)
    return True


def _calls_of(row: BudgetReservation) -> list[AwsCall]:
    """The calls that can have been made with this money: by purpose, time and the amount itself."""
    if not row.amount:
        return []
    uses = dict(row.uses)
    intents = AwsCallIntent.objects.filter(
        estimated_nano_usd=row.amount,
        started_at__gte=row.reserved_at,
        started_at__lt=row.expires_at,
    )
    if run := uses.get(BudgetScope.RUN):
        intents = intents.filter(run_ref=run)
    if incident := uses.get(BudgetScope.INCIDENT):
        intents = intents.filter(incident_number=int(incident))
    keys = [str(pk) for pk in intents.values_list("pk", flat=True)[:2]]
    return list(AwsCall.objects.filter(intent__in=keys))
