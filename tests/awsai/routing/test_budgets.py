from __future__ import annotations

from datetime import date, timedelta
from itertools import count

import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from awsai import budgets
from awsai.budgets import Claim, OverBudget, Reservation
from awsai.models import Budget, BudgetUse
from awsai.models.budgets import BudgetScope
from awsai.router import Level
from incidentops.access.models import AuditEntry
from tests.threads import together

pytestmark = pytest.mark.django_db
DAY = date(2026, 11, 23)


def limit(**nano_usd: int) -> None:
    for scope, amount in nano_usd.items():
        budgets.set_limit(BudgetScope(scope), amount, by="ann")


def claim(amount: int, **fields) -> Claim:
    return Claim(amount=amount, **{"day": DAY, "incident": 7, "run": "run-1", **fields})


def reserve(amount: int, **fields) -> Reservation:
    with transaction.atomic():
        (granted,) = budgets.reserve([claim(amount, **fields)])
    if isinstance(granted, OverBudget):
        raise granted
    return granted


def settle(held: Reservation, actual: int | None) -> None:
    with transaction.atomic():
        budgets.settle([(held, actual)])


def level(**fields) -> Level:
    return budgets.level(**{"day": DAY, "incident": 7, "run": "run-1", **fields})


def uses() -> dict[str, tuple[int, int]]:
    """(reserved, spent) by scope."""
    return {use.scope: (use.reserved, use.spent) for use in BudgetUse.objects.all()}


def test_a_limit_set_anew_leaves_the_one_before_as_history():
    limit(day=100)
    budgets.set_limit(BudgetScope.DAY, 200, by="bob", note="a busy day")
    assert budgets.limits() == {"day": 200}
    assert [(row.limit_nano_usd, row.set_by) for row in Budget.objects.order_by("pk")] == [
        (100, "ann"),
        (200, "bob"),
    ]
    assert AuditEntry.objects.filter(action="budget.set").count() == 2


def test_what_is_reserved_counts_in_the_day_the_incident_and_the_run():
    reserve(30)
    assert uses() == {"day": (30, 0), "incident": (30, 0), "run": (30, 0)}


def test_a_call_without_an_incident_counts_in_the_day_alone():
    reserve(30, incident=None, run="")
    assert uses() == {"day": (30, 0)}


def test_settling_replaces_what_was_reserved_by_what_was_spent():
    settle(reserve(30), 12)
    assert set(uses().values()) == {(0, 12)}


def test_an_unknown_cost_counts_as_all_that_was_reserved():
    settle(reserve(30), None)
    assert set(uses().values()) == {(0, 30)}


def test_a_call_that_cost_nothing_gives_everything_back():
    settle(reserve(30), 0)
    assert set(uses().values()) == {(0, 0)}


def test_a_call_that_claims_nothing_counts_by_what_it_cost():
    limit(day=10)
    settle(reserve(0), 12)
    assert uses()["day"] == (0, 12)
    assert not isinstance(reserve(0), OverBudget)


def test_several_calls_at_once_count_one_after_the_other():
    limit(day=100)
    with transaction.atomic():
        granted = budgets.reserve([claim(60), claim(60, run="run-2"), claim(40, run="run-3")])
    assert [isinstance(one, Reservation) for one in granted] == [True, False, True]
    assert uses()["day"] == (100, 0)


def test_one_limit_without_room_reserves_nothing_anywhere():
    limit(day=100, incident=50, run=20)
    with pytest.raises(OverBudget, match="run") as caught:
        reserve(21)
    assert caught.value.scope == "run"
    assert set(uses().values()) == {(0, 0)}
    with pytest.raises(OverBudget, match="incident"):
        reserve(51, run="")
    with pytest.raises(OverBudget, match="day"):
        reserve(101, incident=None, run="")
    assert set(uses().values()) == {(0, 0)}


def test_a_limit_can_be_used_up_to_the_last_nano():
    limit(day=100)
    settle(reserve(60), 60)
    reserve(40)
    with pytest.raises(OverBudget):
        reserve(1)


def test_another_day_has_its_own_use():
    limit(day=100)
    reserve(100)
    reserve(100, day=DAY + timedelta(days=1))
    assert BudgetUse.objects.filter(scope="day").count() == 2


@pytest.mark.parametrize("wrong", [lambda: reserve(-1), lambda: settle(reserve(1), -1)])
def test_negative_money_is_an_error(wrong):
    with pytest.raises(ValueError, match="negative"):
        wrong()


def test_the_database_refuses_negative_use():
    reserve(1)
    with pytest.raises(IntegrityError), transaction.atomic():
        BudgetUse.objects.update(reserved=-1)


# --- Levels ------------------------------------------------------------------------------------


def test_the_level_falls_at_eighty_and_at_a_hundred_percent():
    limit(day=100)
    assert level() == Level.NORMAL
    reserve(79)
    assert level() == Level.NORMAL
    reserve(1)
    assert level() == Level.CHEAPEST
    reserve(20)
    assert level() == Level.LOCAL


def test_the_limit_that_is_used_up_the_most_decides():
    limit(day=1000, incident=100)
    reserve(90)
    assert level() == Level.CHEAPEST
    assert level(incident=8) == Level.NORMAL


def test_without_limits_everything_may_be_asked():
    reserve(10**15)
    assert level() == Level.NORMAL


def test_a_limit_of_nothing_leaves_the_local_provider_alone():
    limit(day=0)
    assert level() == Level.LOCAL


def test_critical_severity_has_an_allowance_of_its_own():
    limit(day=100, critical=50)
    reserve(100)
    assert level(severity="high") == Level.LOCAL
    assert level(severity="critical") == Level.NORMAL
    with pytest.raises(OverBudget, match="day"):
        reserve(10, severity="high")
    held = reserve(40, severity="critical")
    assert held.is_allowance
    assert uses()["critical"] == (40, 0)
    assert uses()["day"] == (100, 0)
    assert level(severity="critical") == Level.CHEAPEST
    with pytest.raises(OverBudget, match="critical"):
        reserve(11, severity="critical")
    settle(held, 50)
    assert level(severity="critical") == Level.LOCAL


def test_critical_severity_uses_the_ordinary_budget_first():
    limit(day=100, critical=50)
    assert not reserve(40, severity="critical").is_allowance


def test_without_an_allowance_critical_severity_has_the_same_limits():
    limit(day=100)
    reserve(100)
    assert level(severity="critical") == Level.LOCAL
    with pytest.raises(OverBudget, match="day"):
        reserve(1, severity="critical")


# --- At the same time --------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_callers_at_the_same_time_never_pass_a_limit():
    limit(day=100, incident=70)

    def work(index: int) -> int:
        won = 0
        for _ in range(5):
            try:
                held = reserve(10, incident=index % 2, run=f"run-{index}")
            except OverBudget:
                continue
            won += 10
            settle(held, 10)
        return won

    won = together(6, work)
    assert sum(won) == 100
    assert uses()["day"] == (0, 100)
    for use in BudgetUse.objects.filter(scope="incident"):
        assert use.spent <= 70


_fresh = count(1000)
operations = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle", "settle_unknown"]),
        st.integers(0, 60),
        st.integers(0, 5),
    ),
    max_size=30,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations)
def test_no_order_of_calls_passes_a_limit_or_loses_money(steps):
    limit(incident=100)
    incident = next(_fresh)
    held: list[Reservation] = []
    spent, given_out = 0, 0
    for verb, amount, index in steps:
        if verb == "reserve":
            try:
                held.append(reserve(amount, incident=incident, run=""))
                given_out += amount
            except OverBudget:
                assert given_out + spent + amount > 100
        elif held:
            one = held.pop(index % len(held))
            actual = min(amount, one.amount) if verb == "settle" else None
            settle(one, actual)
            spent += one.amount if actual is None else actual
            given_out -= one.amount
        use = BudgetUse.objects.filter(scope="incident", key=str(incident)).first()
        counted = (use.reserved, use.spent) if use else (0, 0)
        assert counted == (given_out, spent)
        assert given_out + spent <= 100
