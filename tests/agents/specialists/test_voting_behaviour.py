"""How five opinions come out together, under the rule that counts them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.case import FAMILIES, NO_ACTION, Case
from agents.consensus import THRESHOLD
from agents.specialists import communication, detection, diagnosis, prediction, resolution
from tests.agents.specialists.case_building import (
    SHOP,
    a_bad_deploy,
    a_case,
    a_series,
    alerts_alone,
    an_alert,
    an_incident,
    noise,
)

AGENTS = (detection, diagnosis, prediction, resolution, communication)


def endorsements(case: Case) -> dict[str, int]:
    proposals = resolution.propose(case)
    nothing = next(one for one in proposals if one.action == NO_ACTION)
    count = {f"{one.action} {one.target}".strip(): 0 for one in proposals}
    for agent in AGENTS:
        opinion = agent.assess(case, proposals)
        assert set(opinion.scores) == {one.digest for one in proposals}
        assert all(0 <= score <= 1 for score in opinion.scores.values())
        assert set(opinion.families) <= set(FAMILIES)
        assert opinion.reason
        for one in proposals:
            score = opinion.scores[one.digest]
            if score >= THRESHOLD and score >= opinion.scores[nothing.digest]:
                count[f"{one.action} {one.target}".strip()] += 1
    return count


@pytest.mark.parametrize("severity", ["critical", "high", "medium"])
def test_a_deploy_right_before_the_onset_is_endorsed_by_four(severity):
    count = endorsements(a_bad_deploy(incident=an_incident(severity=severity)))

    assert count["rollback_deploy checkout"] >= 4
    assert all(n < 4 for plan, n in count.items() if plan != "rollback_deploy checkout")


def test_one_alert_on_a_stranger_is_left_to_people():
    assert endorsements(alerts_alone()) == {NO_ACTION: 5}


def test_alerts_without_telemetry_do_not_carry_an_action_though_the_service_is_known():
    case = alerts_alone(services=SHOP)
    case = replace(
        case,
        incident=an_incident(service="checkout", severity="high"),
        alerts=(an_alert(severity="high"),),
    )

    count = endorsements(case)

    assert count[NO_ACTION] >= 4
    assert count["restart checkout"] < 4


def test_when_nothing_fires_any_more_doing_nothing_is_decided():
    case = a_bad_deploy()
    values = noise(360, level=1, spread=0.2)
    values[300:330] += 29
    series = a_series(values, alert_id=1, threshold=5, comparison=">")
    quiet = tuple(replace(alert, status="resolved") for alert in case.alerts)

    count = endorsements(replace(case, alerts=quiet, series=(series,)))

    assert count[NO_ACTION] >= 3
    assert max(n for plan, n in count.items() if plan != NO_ACTION) < 4


def test_an_incident_without_anything_known_ends_in_no_action():
    case = a_case(incident=an_incident(service=""), alerts=())

    assert endorsements(case) == {NO_ACTION: 5}


def test_an_action_aimed_elsewhere_is_endorsed_by_nobody():
    case = a_bad_deploy()
    proposals = resolution.propose(case)
    rollback = next(one for one in proposals if one.action == "rollback_deploy")
    astray = replace(rollback, target="mobile", parameters={"change_id": 99})
    nothing = proposals[-1]

    for agent in (detection, diagnosis, prediction, resolution):
        scores = agent.assess(case, (astray, nothing)).scores
        assert scores[astray.digest] < scores[nothing.digest]


def test_a_leak_heading_for_its_limit_is_urgent_to_the_forecaster():
    values = noise(360, level=200, spread=1)
    values[300:] += 2 * np.arange(1, 61)
    leak = a_series(values, metric="memory_mb", alert_id=1, threshold=400, comparison=">")
    case = a_case(series=(leak,), services=SHOP)
    proposals = resolution.propose(case)
    restart = next(one for one in proposals if one.action == "restart")
    nothing = proposals[-1]

    scores = prediction.assess(case, proposals).scores

    assert scores[restart.digest] > 0.6 > scores[nothing.digest]
