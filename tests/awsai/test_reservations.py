"""An intent sets its money aside; the row of its call settles that, whoever writes it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.utils.timezone import now

from awsai import budgets, ledger
from awsai.budgets import OverBudget
from awsai.journal import Journal
from awsai.ledger import Entry, Result
from awsai.models import AwsCall, AwsCallIntent, BudgetUse, Considered, Outcome, RouteDecision
from awsai.models.budgets import BudgetScope
from awsai.ports import Usage
from awsai.purpose import serving
from incidentops.access import chain
from tests.threads import together

pytestmark = pytest.mark.django_db
NOVA = "amazon.nova-lite-v1:0"


def begin(amount: int | None = 1_000_000, *, provider: str = "emulator", **about) -> Entry:
    about = {"incident": 7, "run_ref": "run:3", **about}
    with serving(estimated_nano_usd=amount, **about):
        return ledger.intend(
            service="bedrock-nova",
            operation="Converse",
            provider=provider,
            model=NOVA,
            region="us-east-1",
        )


def end(entry: Entry, outcome: Outcome = Outcome.SUCCEEDED) -> AwsCall:
    is_good = outcome == Outcome.SUCCEEDED
    usage = Usage(tokens={"input": 1000, "output": 100} if is_good else {})
    return entry.settle(Result(outcome=outcome, usage=usage, model_invoked=NOVA))


def a_decision() -> RouteDecision:
    return RouteDecision(
        at=now(),
        task="summary",
        severity="low",
        level="normal",
        input_tokens=10,
        max_tokens=10,
        residency={},
        weights={},
        considered=Considered.of([]),
        chosen=NOVA,
        reason="",
    )


def uses() -> dict[str, tuple[int, int]]:
    """(spent, reserved) by scope."""
    return {use.scope: (use.spent, use.reserved) for use in BudgetUse.objects.all()}


def give_up() -> int:
    """Take every open call for lost."""
    return ledger.reconcile(older_than=timedelta(0))


def test_an_open_call_counts_as_what_it_can_cost_and_a_closed_one_as_what_it_did():
    entry = begin()
    assert set(uses().values()) == {(0, 1_000_000)}
    cost = end(entry).list_price_nano_usd
    assert cost is not None
    assert 0 < cost < 1_000_000
    assert uses() == {"run": (cost, 0), "incident": (cost, 0), "day": (cost, 0)}


def test_a_call_that_failed_before_it_was_billed_gives_everything_back():
    end(begin(), Outcome.THROTTLED)
    assert set(uses().values()) == {(0, 0)}


def test_a_call_that_no_limit_has_room_for_is_not_begun():
    budgets.set_limit(BudgetScope.RUN, 999_999, by="test")
    decision = a_decision()
    with pytest.raises(OverBudget):
        begin(decision=decision)
    assert not AwsCallIntent.objects.exists()
    assert not RouteDecision.objects.exists()
    assert decision.pk is None


def test_a_decision_is_stored_with_the_first_call_it_led_to():
    decision = a_decision()
    first, second = begin(decision=decision), begin(decision=decision)
    assert RouteDecision.objects.get() == decision
    assert {first.intent.route_decision, second.intent.route_decision} == {decision.pk}


def test_what_is_answered_here_counts_nowhere():
    budgets.set_limit(BudgetScope.DAY, 0, by="test")
    end(begin(provider="local"))
    assert uses() == {}


def test_the_critical_allowance_is_settled_where_it_was_taken():
    budgets.set_limit(BudgetScope.DAY, 0, by="test")
    budgets.set_limit(BudgetScope.CRITICAL, 2_000_000, by="test")
    entry = begin(severity="critical")
    assert uses()["critical"] == (0, 1_000_000)
    cost = end(entry).list_price_nano_usd
    assert uses()["critical"] == (cost, 0)
    assert uses()["day"] == (0, 0)


def test_a_call_whose_process_died_counts_as_all_that_was_set_aside_for_it():
    begin()
    assert give_up() == 1
    assert AwsCall.objects.get().outcome == "lost"
    assert set(uses().values()) == {(1_000_000, 0)}
    assert give_up() == 0


def test_a_call_that_ends_after_it_was_given_up_counts_once():
    entry = begin()
    assert give_up() == 1
    assert end(entry).outcome == "lost"
    assert set(uses().values()) == {(1_000_000, 0)}
    assert AwsCall.objects.count() == 1


def test_a_call_under_way_is_left_alone():
    begin()
    assert ledger.reconcile() == 0
    assert set(uses().values()) == {(0, 1_000_000)}


# --- Written together --------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_calls_of_many_threads_make_one_line_and_pass_no_limit():
    budgets.set_limit(BudgetScope.DAY, 5_000_000, by="test")

    def work(index: int) -> int:
        done = 0
        for _ in range(4):
            try:
                end(begin(run_ref=f"run:{index}"))
            except OverBudget:
                continue
            done += 1
        return done

    calls = sum(together(8, work))
    assert calls == AwsCall.objects.count() > 0
    assert chain.verify(AwsCall).is_sound
    day = BudgetUse.objects.get(scope="day")
    assert day.reserved == 0
    assert day.spent == sum(call.list_price_nano_usd or 0 for call in AwsCall.objects.all())


@pytest.mark.django_db(transaction=True)
def test_a_row_that_the_database_refuses_takes_no_other_with_it():
    taken = AwsCallIntent.objects.create(
        service="s", operation="o", provider="emulator", started_at=now()
    )

    def work(index: int) -> str:
        entry = begin()
        if index == 0:
            # Its row is there already, so a second one is refused.
            entry.intent.pk = taken.pk
        try:
            return end(entry).outcome
        except IntegrityError:
            return "refused"

    ledger.record(
        service="s",
        operation="o",
        provider="emulator",
        outcome="succeeded",
        started_at=now(),
        latency_ms=None,
        cost=ledger.Cost(billed=0, list_price=0),
        intent=str(taken.pk),
    )
    assert together(6, work) == ["refused", *["succeeded"] * 5]
    assert chain.verify(AwsCall).is_sound


def test_who_waits_while_another_writes_is_written_in_the_next_group():
    groups: list[list[int]] = []

    def write_all(items: Sequence[int]) -> list[int]:
        groups.append(list(items))
        if len(groups) == 1:
            # The first writer holds the turn until the others stand in line.
            while len(journal._waiting) < 5:
                pass
        return [item * 10 for item in items]

    journal: Journal[int, int] = Journal(write_all)
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(journal.write, range(6)))
    assert results == [0, 10, 20, 30, 40, 50]
    assert [len(group) for group in groups] == [1, 5]
