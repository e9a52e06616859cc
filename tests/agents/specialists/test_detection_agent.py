from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from agents.case import Case, ChangeFact, SeriesFact
from agents.specialists import detection
from agents.specialists.wording import clock
from tests.agents.specialists.case_building import (
    NOW,
    ONSET,
    a_bad_deploy,
    a_case,
    a_series,
    alerts_alone,
    an_alert,
    an_incident,
    noise,
    stepped,
)


def own(values, **fields) -> SeriesFact:
    return a_series(values, **{"alert_id": 1, "threshold": 5.0, "comparison": ">", **fields})


def test_the_alerts_own_series_confirms_and_dates_the_anomaly():
    finding = detection.investigate(a_bad_deploy())

    assert finding.data["anomaly_confirmed"] is True
    assert finding.data["impact_start"] == ONSET.isoformat()
    assert finding.data["services"] == ["checkout", "gateway"]
    assert finding.data["basis"] == ["alerts", "metrics"]
    assert (finding.data["series_anomalous"], finding.data["series_judged"]) == (2, 3)
    assert "impact began is unknown" not in " ".join(finding.unknown)


def test_without_telemetry_it_scopes_from_alerts_and_says_what_is_missing():
    finding = detection.investigate(alerts_alone())

    assert finding.data["anomaly_confirmed"] is None
    assert finding.data["impact_start"] is None
    assert finding.data["services"] == ["billing"]
    assert "Source shop has no prometheus_url." in finding.unknown
    assert any("impact began is unknown" in sentence for sentence in finding.unknown)


def test_a_series_that_shows_nothing_does_not_confirm_the_alert():
    case = a_case(series=(own(noise(360, level=1, spread=0.2)),))

    finding = detection.investigate(case)

    assert finding.data["anomaly_confirmed"] is False
    assert "Not confirmed" in finding.summary
    assert any("no lasting departure" in claim.text for claim in finding.claims)


def test_a_short_series_is_not_judged_and_the_need_is_named():
    finding = detection.investigate(a_case(series=(own([1, 2, 3]),)))

    assert finding.data["anomaly_confirmed"] is None
    assert any("3 points; 12 are needed" in sentence for sentence in finding.unknown)


def test_what_deviates_on_the_good_side_of_the_threshold_is_no_anomaly():
    case = a_case(series=(own(stepped(level=3.0, to=0.1, spread=0.05)),))

    assert detection.investigate(case).data["anomaly_confirmed"] is False


def test_trouble_that_ended_hours_before_the_alert_is_not_this_incident():
    values = noise(360, level=1, spread=0.1)
    values[60:90] = 20

    finding = detection.investigate(a_case(series=(a_series(values),)))

    assert finding.data["anomaly_confirmed"] is False


def test_a_series_beyond_its_threshold_from_the_start_confirms_without_a_date():
    case = a_case(series=(own(noise(360, level=30, spread=0.2)),))

    finding = detection.investigate(case)

    assert finding.data["anomaly_confirmed"] is True
    assert finding.data["impact_start"] is None
    assert any("from the first points" in sentence for sentence in finding.unknown)


def test_holes_in_a_series_are_left_out_not_filled():
    values = stepped(level=1.0, to=30.0, spread=0.2)
    values[100:120] = np.nan

    finding = detection.investigate(a_case(series=(own(values),)))

    assert finding.data["impact_start"] == ONSET.isoformat()


def test_a_plot_keeps_the_extremes_of_a_long_series():
    values = noise(5000, level=1, spread=0.1)
    values[2500], values[2600] = 99.0, -99.0
    values[-21:] += 30
    (_, item) = detection.investigate(a_case(series=(own(values),))).evidence

    shown = [value for _, value in item.data["points"]]
    assert len(shown) <= 400
    assert max(shown) == 99.0
    assert min(shown) == -99.0
    assert item.data["threshold"] == 5.0
    assert item.data["change_points"] == [ONSET.timestamp()]


# --- Recovery ----------------------------------------------------------------------------------


def resolved(**fields):
    return an_alert(status="resolved", ends_at=NOW - timedelta(minutes=1), **fields)


def recovering() -> np.ndarray:
    values = noise(360, level=1, spread=0.2)
    values[300:340] += 29
    return values


def test_resolved_alerts_and_a_series_back_to_normal_are_a_recovery():
    case = a_case(alerts=(resolved(),), series=(own(recovering()),))

    finding = detection.confirm_recovery(case)

    assert finding.data["recovered"] is True
    assert finding.data["basis"] == ["alerts", "metrics"]


def test_a_series_that_is_still_abnormal_contradicts_resolved_alerts():
    case = a_case(alerts=(resolved(),), series=(own(stepped(level=1, to=30, spread=0.2)),))

    assert detection.confirm_recovery(case).data["recovered"] is False


def test_a_firing_alert_is_no_recovery_whatever_the_series_says():
    case = a_case(series=(own(recovering()),))

    assert detection.confirm_recovery(case).data["recovered"] is False


def test_old_points_say_nothing_of_the_present():
    stale = own(stepped(level=1, to=30, spread=0.2), until=NOW - timedelta(minutes=20))
    case = a_case(alerts=(resolved(),), series=(stale,))

    finding = detection.confirm_recovery(case)

    assert finding.data["recovered"] is True
    assert finding.data["basis"] == ["alerts"]
    assert any("no fresh points" in sentence for sentence in finding.unknown)


def test_without_alerts_and_telemetry_recovery_is_unknown():
    finding = detection.confirm_recovery(a_case(alerts=()))

    assert finding.data["recovered"] is None
    assert "cannot be told" in finding.summary


@pytest.mark.parametrize("threshold", [None, 5.0])
def test_the_impact_never_starts_after_the_alert_saw_it(threshold):
    late = own(stepped(level=1, to=30, spread=0.2, minutes=5), threshold=threshold)
    early = an_alert(starts_at=NOW - timedelta(minutes=30))
    case = a_case(
        alerts=(early,),
        series=(late,),
        incident=an_incident(detected_at=NOW - timedelta(minutes=30)),
        changes=(ChangeFact(id=1, service="x", kind="deploy", title="x", at=NOW),),
    )

    assert detection.investigate(case).data["impact_start"] is None


def test_the_order_of_series_does_not_matter():
    case = a_bad_deploy()

    one = detection.investigate(case)
    two = detection.investigate(replace(case, series=case.series[::-1]))

    assert one == two


def errors_until(minutes_ago: int) -> Case:
    """The alert's own series, above its limit in its last twenty minutes, and then no more of it."""
    values = stepped(level=1.0, to=30.0, spread=0.0)
    return a_case(series=(own(values, until=NOW - timedelta(minutes=minutes_ago)),))


def test_of_a_series_without_fresh_points_nothing_is_said_of_now():
    (about,) = [
        claim.text
        for claim in detection.investigate(errors_until(15)).claims
        if claim.text.startswith("error_ratio")
    ]

    assert f"was at 30 % at {clock(NOW - timedelta(minutes=15))}" in about
    assert "it was > 5, the alert's rule" in about


def test_a_series_that_ended_before_the_trouble_neither_confirms_nor_denies_it():
    finding = detection.investigate(errors_until(180))

    assert finding.data["anomaly_confirmed"] is None
    assert finding.data["series_judged"] == 0
    assert any("has no points after" in sentence for sentence in finding.unknown)
    assert not any("shows no lasting departure" in claim.text for claim in finding.claims)
