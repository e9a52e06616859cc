from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from awsai import budgets, ledger, reconciliation
from awsai.budgets import Reservation
from awsai.ledger import Entry, Result
from awsai.models import AwsCall, AwsCallIntent, BudgetReservation, BudgetUse, Outcome
from awsai.ports import Usage
from awsai.purpose import serving

pytestmark = pytest.mark.django_db
HALF_AN_HOUR_AGO = timedelta(minutes=30)
NOVA = "amazon.nova-lite-v1:0"


def reserve(amount: int = 1_000_000) -> Reservation:
    return budgets.reserve(amount, day=now().date(), incident=7, run="run:3")


def begin(amount: int = 1_000_000, *, incident: int = 7, run: str = "run:3") -> Entry:
    with serving(incident=incident, run_ref=run, estimated_nano_usd=amount):
        return ledger.intend(
            service="bedrock-nova",
            operation="Converse",
            provider="emulator",
            model=NOVA,
            region="us-east-1",
        )


def end(entry: Entry) -> AwsCall:
    usage = Usage(tokens={"input": 1000, "output": 100})
    return entry.settle(Result(outcome=Outcome.SUCCEEDED, usage=usage, model_invoked=NOVA))


def half_an_hour_passes():
    """Everything that was begun so far was begun half an hour earlier."""
    for row in BudgetReservation.objects.all():
        row.reserved_at -= HALF_AN_HOUR_AGO
        row.expires_at -= HALF_AN_HOUR_AGO
        row.save()
    for intent in AwsCallIntent.objects.all():
        intent.started_at -= HALF_AN_HOUR_AGO
        intent.save()


def spent(scope: str = "incident", key: str = "7") -> tuple[int, int]:
    use = BudgetUse.objects.get(scope=scope, key=key)
    return use.spent, use.reserved


def outcome(found: reconciliation.Reconciled) -> tuple[int, int, int]:
    return found.lost, found.expired, found.corrected


def test_a_call_whose_process_died_counts_as_what_was_set_aside_for_it():
    reserve()
    begin()
    half_an_hour_passes()
    assert outcome(reconciliation.reconcile()) == (1, 1, 1)
    assert AwsCall.objects.get().outcome == "lost"
    assert spent() == (1_000_000, 0)
    assert outcome(reconciliation.reconcile()) == (0, 0, 0)


def test_a_call_that_was_answered_before_its_process_died_counts_as_what_it_cost():
    reserve()
    cost = end(begin()).list_price_nano_usd
    half_an_hour_passes()
    assert outcome(reconciliation.reconcile()) == (0, 1, 1)
    assert cost is not None
    assert 0 < cost < 1_000_000
    assert spent() == (cost, 0)
    assert spent("run", "run:3") == (cost, 0)


def test_calls_that_cannot_be_told_apart_leave_the_whole_amount_spent():
    reserve()
    end(begin())
    end(begin())
    half_an_hour_passes()
    assert outcome(reconciliation.reconcile()) == (0, 1, 0)
    assert spent() == (1_000_000, 0)


def test_a_call_of_another_purpose_or_amount_is_not_taken_for_the_one():
    reserve()
    end(begin(run="run:4"))
    end(begin(999))
    end(begin(incident=8))
    half_an_hour_passes()
    assert outcome(reconciliation.reconcile()) == (0, 1, 0)


def test_calls_and_reservations_under_way_are_left_alone():
    reserve()
    begin()
    assert outcome(reconciliation.reconcile()) == (0, 0, 0)
    assert spent() == (0, 1_000_000)
