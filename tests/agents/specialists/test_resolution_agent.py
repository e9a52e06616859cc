from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from agents.case import NO_ACTION, ActionOutcome, ChangeFact
from agents.specialists import diagnosis, resolution
from tests.agents.specialists.case_building import (
    ONSET,
    SHOP,
    a_bad_deploy,
    a_case,
    a_series,
    alerts_alone,
    an_alert,
    an_incident,
    noise,
    stepped,
)


def proposed(case) -> set[tuple[str, str]]:
    return {(one.action, one.target) for one in resolution.propose(case)}


def named(case, action):
    return next(one for one in resolution.propose(case) if one.action == action)


def failing(service, metric="errors", **fields):
    """Only this service is in trouble."""
    return a_case(
        incident=an_incident(service=service),
        alerts=(an_alert(service=service),),
        series=(
            a_series(
                stepped(level=1, to=30, spread=0.2), service=service, metric=metric, alert_id=1
            ),
        ),
        services=SHOP,
        **fields,
    )


def test_a_deploy_right_before_the_onset_can_be_rolled_back():
    rollback = named(a_bad_deploy(), "rollback_deploy")

    assert rollback.target == "checkout"
    assert rollback.parameters == {"change_id": 11}
    assert rollback.inverse == {
        "action": "redeploy",
        "target": "checkout",
        "parameters": {"change_id": 11},
    }
    assert rollback.preconditions
    assert rollback.success == {"tried": 0, "succeeded": 0}


def test_without_a_recent_deploy_nothing_is_rolled_back():
    case = a_bad_deploy()
    config = ChangeFact(
        id=13, service="checkout", kind="config", title="x", at=ONSET - timedelta(minutes=3)
    )

    for changes in ((), (config,), (replace(case.changes[0], service="orders-db"),)):
        actions = {action for action, _ in proposed(replace(case, changes=changes))}
        assert "rollback_deploy" not in actions
        assert "restart" in actions


def test_each_kind_of_service_is_offered_only_what_fits_it():
    assert proposed(failing("orders-db")) == {("failover", "orders-db"), (NO_ACTION, "")}
    assert proposed(failing("cache")) == {
        ("clear_cache", "cache"),
        ("restart", "cache"),
        (NO_ACTION, ""),
    }
    assert ("scale_out", "gateway") in proposed(failing("gateway", metric="requests_per_second"))
    assert ("scale_out", "gateway") not in proposed(failing("gateway", metric="error_ratio"))


def test_a_caller_that_suffers_can_be_cut_off_from_its_callee():
    breaker = named(a_bad_deploy(), "open_circuit_breaker")

    assert breaker.target == "gateway"
    assert breaker.parameters == {"callee": "checkout"}


def test_traffic_is_shifted_only_where_some_instances_are_measurably_well():
    sick = a_series(stepped(level=1, to=30, spread=0.2), labels={"zone": "a"}, alert_id=1)
    well = a_series(noise(360, level=1, spread=0.2), labels={"zone": "b"})
    case = a_case(series=(sick, well), services=SHOP)

    assert named(case, "shift_traffic").parameters == {}
    assert ("shift_traffic", "checkout") not in proposed(replace(case, series=(sick,)))


def test_what_is_not_in_the_inventory_is_never_a_target():
    finding = resolution.investigate(alerts_alone())

    assert proposed(alerts_alone()) == {(NO_ACTION, "")}
    assert any("Not in the service inventory" in sentence for sentence in finding.unknown)


def test_doing_nothing_is_always_on_the_table():
    for case in (a_bad_deploy(), alerts_alone(), a_case(alerts=()), failing("cache")):
        assert [one.action for one in resolution.propose(case)].count(NO_ACTION) == 1


def test_proposals_rest_on_what_the_diagnosis_showed():
    case = a_bad_deploy()
    finding = diagnosis.investigate(case)
    case = replace(case, findings={"diagnosis": finding})

    shown = {item.id(case.response_id) for item in finding.evidence}

    for one in resolution.propose(case):
        assert set(one.evidence) <= shown
        assert one.evidence or one.action == NO_ACTION


def test_verified_failures_take_the_support_away_from_an_action():
    case = failing("checkout")
    restart = ("restart", "checkout")

    def score(successes: int, failures: int) -> float:
        ends = [True] * successes + [False] * failures
        outcomes = tuple(
            ActionOutcome(action="restart", service="checkout", is_success=end) for end in ends
        )
        known = replace(case, outcomes=outcomes)
        proposals = resolution.propose(known)
        one = next(p for p in proposals if (p.action, p.target) == restart)
        return resolution.assess(known, proposals).scores[one.digest]

    assert score(0, 6) < score(0, 0) < score(20, 0)
    assert score(2, 0) < score(20, 0)


def test_a_slow_leak_is_restarted_and_the_reason_says_so():
    values = noise(360, level=200, spread=2)
    values[300:] += 3 * np.arange(60)
    case = a_case(series=(a_series(values, metric="memory_mb", alert_id=1),), services=SHOP)

    assert "builds up" in named(case, "restart").rationale
