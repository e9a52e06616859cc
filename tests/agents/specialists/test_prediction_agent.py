from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.case import NO_ACTION, ActionOutcome, Case, Proposal
from agents.specialists import prediction
from tests.agents.specialists.case_building import (
    SHOP,
    a_bad_deploy,
    a_case,
    a_series,
    alerts_alone,
    noise,
    stepped,
)

NOTHING = Proposal(action=NO_ACTION)


def leak(*, threshold: float = 400.0, comparison: str = ">"):
    """Memory that grows by 2 a minute for the last hour, now at 320."""
    values = noise(360, level=200, spread=1)
    values[300:] += 2 * np.arange(1, 61)
    return a_series(
        values,
        metric="memory_mb",
        unit="MB",
        alert_id=1,
        threshold=threshold,
        comparison=comparison,
    )


def test_the_time_to_the_threshold_comes_with_its_interval():
    finding = prediction.investigate(a_case(series=(leak(),), services=SHOP))

    (row,) = finding.data["thresholds"]
    assert row["state"] == "expected"
    assert row["low"] < 40 * 60 < row["high"]
    assert row["seconds"] == pytest.approx(40 * 60, rel=0.1)
    assert row["slope_per_hour"] == pytest.approx(120, rel=0.1)
    (plot,) = [item for item in finding.evidence if item.kind == "series"]
    assert len(plot.data["forecast"]) == 12


def test_what_is_breached_is_said_to_be_breached():
    finding = prediction.investigate(a_case(series=(leak(threshold=250),), services=SHOP))

    (row,) = finding.data["thresholds"]
    assert row["state"] == "breached"
    assert "already > 250" in finding.summary


def test_a_level_series_is_not_expected_to_reach_its_threshold():
    quiet = a_series(noise(60, level=1, spread=0.1), alert_id=1, threshold=5, comparison=">")

    (row,) = prediction.investigate(a_case(series=(quiet,))).data["thresholds"]

    assert (row["state"], row["seconds"]) == ("not_expected", None)


def test_too_few_points_since_the_change_are_counted():
    fresh = a_series(stepped(level=1, to=30, spread=0.2, minutes=5), metric="errors")

    finding = prediction.investigate(a_case(series=(fresh,)))

    assert any("6 points since it changed; 12 are needed" in said for said in finding.unknown)


def test_without_series_it_says_what_it_would_need():
    finding = prediction.investigate(alerts_alone())

    assert finding.data["thresholds"] == []
    assert finding.data["blast_radius"] is None
    assert any("12 points needed" in said for said in finding.unknown)
    assert any("blast radius is unknown" in said for said in finding.unknown)


def test_the_blast_radius_is_who_depends_on_what_is_affected():
    finding = prediction.investigate(a_bad_deploy(alerts=()))

    assert finding.data["affected"] == ["checkout", "gateway"]
    assert finding.data["blast_radius"] == ["mobile"]


# --- Outlook -----------------------------------------------------------------------------------

NOTHING = Proposal(action=NO_ACTION)
RESTART = Proposal(action="restart", target="checkout")


def test_doing_nothing_is_judged_by_the_trend():
    values = noise(360, level=10, spread=0.5)
    values[320:] += np.linspace(100, 30, 40)
    falling = a_series(values, alert_id=1, threshold=20, comparison=">", metric="queue")

    expected = prediction.outlook(a_case(series=(falling,)), (NOTHING,))[NOTHING.digest]

    assert expected["seconds"] is not None
    assert expected["low"] <= expected["seconds"]
    assert expected["basis"] == "trend of the series"


def test_doing_nothing_about_a_level_breach_has_no_expected_end():
    expected = prediction.outlook(a_bad_deploy(), (NOTHING,))[NOTHING.digest]

    assert expected["seconds"] is None
    assert "does not lead back" in expected["reason"]


def test_an_untried_action_has_no_expected_recovery_and_says_why():
    expected = prediction.outlook(a_bad_deploy(), (RESTART,))[RESTART.digest]

    assert expected["seconds"] is None
    assert expected["reason"] == "No verified execution of restart on checkout is recorded."


def test_a_tried_action_is_judged_by_its_verified_past():
    past = tuple(
        ActionOutcome(action="restart", service="checkout", is_success=True, seconds_to_recover=s)
        for s in (60.0, 90.0, 300.0)
    )
    other = ActionOutcome(
        action="restart", service="gateway", is_success=True, seconds_to_recover=1.0
    )
    case = replace(a_bad_deploy(), outcomes=(*past, other))

    expected = prediction.outlook(case, (RESTART,))[RESTART.digest]

    assert (expected["seconds"], expected["low"], expected["high"]) == (90.0, 60.0, 300.0)
    assert expected["n"] == 3


def over_since(minutes: int, **fields) -> Case:
    """An hour above the limit, and since so many minutes back where it was."""
    values = noise(360, level=1.0, spread=0.1)
    values[300 - minutes : 360 - minutes] += 29.0
    series = a_series(values, alert_id=1, threshold=5.0, comparison=">")
    return a_case(series=(series,), services=SHOP, **fields)


def test_what_has_just_come_back_is_not_expected_to_be_gone():
    finding = prediction.investigate(over_since(5))

    (row,) = finding.data["thresholds"]
    assert row["state"] == "unknown"
    assert "has 5 points since it changed" in row["reason"]


def test_what_came_back_is_judged_by_what_followed():
    case = over_since(20)

    (row,) = prediction.investigate(case).data["thresholds"]
    opinion = prediction.assess(case, (Proposal(action="restart", target="checkout"), NOTHING))

    assert (row["state"], row["points"]) == ("not_expected", 20)
    assert opinion.scores[NOTHING.digest] > 0.5
    assert "on its way back by itself" in opinion.reason
