from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from agents.case import ServiceFact
from agents.specialists import diagnosis
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


def ranked(case) -> list[str]:
    return [row["service"] for row in diagnosis.investigate(case).data["suspects"]]


def score_of(case, service) -> float:
    rows = diagnosis.investigate(case).data["suspects"]
    score: float = next(row["score"] for row in rows if row["service"] == service)
    return score


def test_the_callee_that_explains_its_caller_is_the_first_suspect():
    finding = diagnosis.investigate(a_bad_deploy())

    first, second = finding.data["suspects"]
    assert (first["service"], second["service"]) == ("checkout", "gateway")
    assert second["explained_by"] == "checkout"
    assert first["change_id"] == 11
    assert first["nature"] == "change"
    assert "payment <*> refused" in first["log_templates"][0]
    assert finding.data["graph_known"] is True


def test_a_sick_database_is_suspected_before_the_services_on_top_of_it():
    case = a_case(
        alerts=(an_alert(), an_alert(2, service="gateway")),
        series=(
            a_series(stepped(level=1, to=30, spread=0.2), alert_id=1, threshold=5, comparison=">"),
            a_series(stepped(level=10, to=400, spread=1), service="orders-db", metric="wait_ms"),
            a_series(stepped(level=100, to=180, spread=4), service="gateway", metric="latency_ms"),
        ),
        services=SHOP,
    )

    assert ranked(case)[0] == "orders-db"


def test_a_change_shortly_before_the_onset_raises_a_suspect():
    with_change = a_bad_deploy()
    without = replace(with_change, changes=())
    weak = a_series(stepped(level=1.0, to=2.4, spread=0.2), alert_id=1)

    assert score_of(replace(with_change, series=(weak,)), "checkout") >= score_of(
        replace(without, series=(weak,)), "checkout"
    )
    assert score_of(replace(with_change, series=()), "checkout") > score_of(
        replace(without, series=()), "checkout"
    )


def test_a_change_long_before_or_after_the_onset_is_not_held_against_anybody():
    case = a_bad_deploy()
    for at in (ONSET - timedelta(hours=3), ONSET + timedelta(minutes=10)):
        moved = replace(case.changes[0], at=at)

        rows = diagnosis.investigate(replace(case, changes=(moved,))).data["suspects"]

        assert all(row["change_id"] is None for row in rows)


def test_alerts_alone_make_a_weak_suspect_and_the_gaps_are_named():
    finding = diagnosis.investigate(alerts_alone())

    (row,) = finding.data["suspects"]
    assert (row["service"], row["score"], row["nature"]) == ("billing", 0.4, "alert")
    said = " ".join(finding.unknown)
    assert "dependency graph is unknown" in said
    assert "Not in the service inventory: billing" in said
    assert "no suspect rests on measurements" in said


def test_alerts_alone_are_ranked_over_the_graph():
    case = a_case(
        alerts=(
            an_alert(1, service="gateway"),
            an_alert(2, service="checkout"),
            an_alert(3, service="orders-db"),
        ),
        services=SHOP,
    )

    assert ranked(case)[0] == "orders-db"


def test_nothing_to_suspect_is_said():
    finding = diagnosis.investigate(a_case(incident=an_incident(service=""), alerts=()))

    assert finding.data["suspects"] == []
    assert finding.claims == ()
    assert "No suspect" in finding.summary


def test_trouble_without_a_path_to_the_symptom_is_suspected_less():
    stray = a_series(stepped(level=1, to=30, spread=0.2), service="printer", metric="errors")
    case = a_bad_deploy()
    case = replace(
        case,
        series=(*case.series, stray),
        services=(*SHOP, ServiceFact(name="printer", kind="service", owner="", depends_on=())),
    )

    assert ranked(case)[0] == "checkout"
    assert score_of(case, "printer") <= 0.25


def test_steady_logs_are_not_held_against_a_service():
    case = a_bad_deploy()
    chatter = tuple(line for line in case.logs if line.level == "info")

    rows = diagnosis.investigate(replace(case, logs=chatter)).data["suspects"]

    assert all(row["log_templates"] == [] for row in rows)


def test_a_leak_looks_like_something_that_builds_up():
    values = noise(360, level=200, spread=2)
    values[300:] += 3 * np.arange(60)
    leak = a_series(values, metric="memory_mb", alert_id=1, threshold=300, comparison=">")

    (row,) = diagnosis.investigate(a_case(series=(leak,), services=SHOP)).data["suspects"]

    assert row["nature"] == "ramp"
