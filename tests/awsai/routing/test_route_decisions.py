from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from awsai import breaker, past_calls, prices, routes
from awsai.breaker import Target
from awsai.models import (
    AwsCall,
    CatalogueModel,
    Considered,
    PriceVersion,
    RouteDecision,
    RouteWeights,
)
from awsai.models.routes import OutcomeKind
from awsai.ports import Trouble
from awsai.router import Level, Posterior, Request, Residency, Statistics
from awsai.routes import Route
from incidentops.access import chain
from incidentops.access.models import AuditEntry
from incidentops.incidents.models import Severity

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOVA = "amazon.nova-micro-v1:0"
SONNET = "anthropic.claude-sonnet-4-6"


@pytest.fixture(autouse=True)
def _provider(settings):
    settings.AWSAI_PROVIDER = "aws"


@pytest.fixture
def _own_breakers(settings):
    settings.REDIS_PREFIX = f"{settings.REDIS_PREFIX}-{uuid.uuid4().hex[:8]}"
    breaker.breakers.cache_clear()
    yield
    breaker.breakers.cache_clear()


def request(**fields: Any) -> Request:
    return Request(
        **{
            "task": "summary",
            "severity": "low",
            "input_tokens": 1000,
            "max_tokens": 500,
            "needs": frozenset({"json_schema"}),
            **fields,
        }
    )


def decide(asked: Request | None = None, **fields: Any) -> Route:
    given = {
        "regions": ["us-east-1"],
        "residency": Residency(),
        "level": Level.NORMAL,
        "at": AT,
        **fields,
    }
    return routes.decide(asked or request(), **given)


def record(model: str = f"us.{NOVA}", decision: int | None = None, **fields: Any) -> AwsCall:
    given: dict[str, Any] = {
        "intent": str(uuid.uuid4()),
        "service": "bedrock-nova",
        "operation": "Converse",
        "provider": "aws",
        "model_requested": model,
        "model_invoked": model,
        "outcome": "succeeded",
        "started_at": AT,
        "latency_ms": 400,
        "tokens": {"input": 1000, "output": 100},
        "region": "us-east-1",
        "route_decision": decision,
        **fields,
    }
    return chain.append(AwsCall(**given))


def kept(route: Route) -> RouteDecision:
    return RouteDecision.objects.get(pk=route.kept())


# --- Weights -----------------------------------------------------------------------------------


def test_every_severity_has_weights_to_start_with_which_say_that_they_are_assumed():
    rows = RouteWeights.objects.current()
    assert {row.severity for row in rows} == set(Severity)
    assert all("Assumption" in row.source and row.set_by == "release" for row in rows)
    assert routes.weights("critical").usd_per_failure == 50
    assert routes.weights("low").usd_per_failure == 0.05


def test_weights_set_by_a_person_stay_over_the_next_migrate():
    routes.set_weights(
        Severity.LOW,
        usd_per_second=Decimal("0.1"),
        usd_per_failure=Decimal(2),
        source="a survey",
        by="ann",
    )
    routes.ensure_weights()
    assert routes.weights("low").usd_per_failure == 2
    assert RouteWeights.objects.filter(severity="low").count() == 2
    assert AuditEntry.objects.get(action="route.weigh").detail["source"] == "a survey"


# --- A decision --------------------------------------------------------------------------------


def test_a_decision_keeps_everything_it_was_made_from():
    route = decide(incident=7, run="run-1")
    row = kept(route)
    assert row.chosen == route.choice.cascade[0].model
    assert (row.task, row.severity, row.level) == ("summary", "low", "normal")
    assert (row.incident_number, row.run_ref) == (7, "run-1")
    assert row.weights == {"usd_per_second": 0.0003, "usd_per_failure": 0.05}
    listed = prices.in_force()
    assert listed is not None
    assert row.price_version == listed.version
    assert row.reason
    first = row.candidates[0]
    assert (first["model"], first["order"], first["rejected"]) == (row.chosen, 1, "")
    assert first["score"]["total_usd"] == pytest.approx(
        sum(first["score"][part] for part in ("call_usd", "waiting_usd", "failing_usd"))
    )
    assert all(one["order"] or one["score"] or one["rejected"] for one in row.candidates)


def test_without_experience_the_cheapest_is_asked_and_the_newest_sonnet_is_the_top():
    row = kept(decide())
    assert row.chosen.endswith(NOVA)
    assert row.top == "global.anthropic.claude-sonnet-5-5"


def test_critical_severity_asks_the_top():
    row = kept(decide(request(severity="critical")))
    assert row.chosen == row.top


def test_before_the_first_sync_a_profile_is_tried_from_its_own_geography_only():
    def offered(home: str) -> set[str]:
        models = {one["model"] for one in kept(decide(regions=[home])).candidates}
        return {model.partition(".")[0] for model in models} - {"local", "amazon"}

    assert offered("us-east-1") == {"us", "global"}
    assert offered("eu-west-1") == {"eu", "global"}
    assert offered("ap-northeast-1") == {"apac", "jp", "global"}


def test_a_model_without_a_price_here_is_rejected_with_the_reason():
    row = kept(decide(regions=["eu-west-1"]))
    (nova,) = [one for one in row.candidates if one["model"] == f"eu.{NOVA}"]
    assert nova["rejected"].startswith("price unknown: No price for input")
    assert nova["cost_nano_usd"] is None


def test_a_model_past_its_end_is_not_asked():
    row = kept(decide())
    (premier,) = [one for one in row.candidates if "premier" in one["model"]]
    assert premier["rejected"] == "lifecycle: eol"


def test_without_a_list_of_prices_only_the_local_provider_is_asked():
    PriceVersion.objects.update(status="retired")
    row = kept(decide())
    assert (row.chosen, row.top, row.price_version) == ("local", "", "")
    assert row.candidates[1]["rejected"] == "price unknown: No list of prices is in force."


def test_when_nobody_may_be_asked_the_decision_says_so():
    row = kept(decide(level=Level.LOCAL, has_local=False))
    assert (row.chosen, row.reason) == ("", "Nobody may be asked.")


def test_a_model_is_offered_in_each_of_our_regions_that_serves_it():
    CatalogueModel.objects.filter(model_id=f"us.{NOVA}").update(
        regions=["us-east-1", "us-west-2", "us-east-2"]
    )
    row = kept(decide(regions=["us-west-2", "us-east-1"]))
    offered = [one["region"] for one in row.candidates if one["model"] == f"us.{NOVA}"]
    assert sorted(offered) == ["us-east-1", "us-west-2"]


@pytest.mark.usefixtures("_own_breakers")
def test_a_model_whose_breaker_is_open_is_not_asked():
    cheapest = kept(decide()).chosen
    target = Target(service="bedrock-nova", model=cheapest, region="us-east-1")
    for _ in range(5):
        breaker.breakers().report(target, Trouble.UNAVAILABLE)
    row = kept(decide())
    (blocked,) = [one for one in row.candidates if one["model"] == cheapest]
    assert blocked["rejected"] == "breaker: open, failing"
    assert row.chosen != cheapest


# --- Experience --------------------------------------------------------------------------------


def outcome(route: Route, model: str, is_good: bool, kind: str = "schema_valid") -> None:
    routes.report_outcome(route.kept(), model=model, kind=OutcomeKind(kind), is_good=is_good, at=AT)


def test_outcomes_of_all_profiles_of_a_model_make_one_posterior_for_each_task():
    route, other = decide(), decide(request(task="update"))
    outcome(route, f"us.{NOVA}", True)
    outcome(route, f"eu.{NOVA}", True)
    outcome(route, f"us.{NOVA}", False, "agreed")
    outcome(other, f"us.{NOVA}", False)
    assert routes.posteriors("summary") == {NOVA: Posterior(good=2, bad=1)}
    assert routes.posteriors("update") == {NOVA: Posterior(good=0, bad=1)}
    assert routes.posteriors("unheard of") == {}


def test_an_outcome_reported_again_counts_once_with_its_last_word():
    route = decide()
    outcome(route, NOVA, True)
    outcome(route, NOVA, False)
    assert routes.posteriors("summary") == {NOVA: Posterior(good=0, bad=1)}


def test_an_outcome_of_no_decision_is_an_error():
    with pytest.raises(RouteDecision.DoesNotExist):
        routes.report_outcome(0, model=NOVA, kind=OutcomeKind.AGREED, is_good=True)


def test_a_model_that_turns_out_badly_is_asked_no_more():
    first = decide()
    chosen = kept(first).chosen
    for _ in range(20):
        outcome(decide(), chosen, False)
    assert kept(decide()).chosen != chosen


def test_decisions_among_the_same_candidates_share_what_was_considered():
    first, second = kept(decide()), kept(decide(incident=7))
    assert first.pk != second.pk
    assert first.considered == second.considered == Considered.objects.get()
    record()
    assert kept(decide()).considered != first.considered
    assert kept(decide(request(severity="critical"))).considered != first.considered


def test_statistics_come_from_the_calls_of_the_configured_provider():
    for number in range(1, 101):
        record(latency_ms=number)
    record(outcome="timeout", latency_ms=60_000)
    record(outcome="refused")
    record(outcome="throttled", provider="emulator")
    record(outcome="lost", region="us-west-2")
    record(f"us.{SONNET}", outcome="unavailable", latency_ms=None)
    assert routes.statistics(past_calls.recent()) == {
        (f"us.{NOVA}", "us-east-1"): Statistics(calls=101, failures=1, p95_ms=95.0),
        (f"us.{SONNET}", "us-east-1"): Statistics(calls=1, failures=1, p95_ms=None),
    }


def latencies() -> list[int | None]:
    return [call.latency_ms for call in past_calls.recent()]


def test_the_last_calls_are_those_of_the_ledger_whenever_one_looks():
    for number in range(1, 4):
        record(latency_ms=number)
        record(latency_ms=99, provider="emulator")
        assert latencies() == [*range(number, 0, -1)]
    assert latencies() == [3, 2, 1]


def test_calls_whose_transaction_was_undone_are_no_last_calls():
    record(latency_ms=1)
    with transaction.atomic():
        record(latency_ms=2)
        assert latencies() == [2, 1]
        transaction.set_rollback(True)
    assert latencies() == [1]
    record(latency_ms=3)
    record(latency_ms=4)
    assert latencies() == [4, 3, 1]


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_of_very_many_calls_the_last_are_looked_at(at_once):
    tail = past_calls._Tail(3)
    assert tail.read("aws") == []
    for number in range(1, 8):
        record(latency_ms=number)
        if number % at_once == 0:
            assert tail.read("aws")[0].latency_ms == number
    assert [call.latency_ms for call in tail.read("aws")] == [7, 6, 5]


def test_only_the_last_two_hundred_calls_of_a_model_count():
    record(outcome="timeout")
    for _ in range(200):
        record()
    (found,) = routes.statistics(past_calls.recent()).values()
    assert found == Statistics(calls=200, failures=0, p95_ms=400.0)


def test_a_region_where_calls_fail_is_avoided():
    CatalogueModel.objects.filter(model_id=f"us.{NOVA}").update(regions=["us-east-1", "us-west-2"])
    CatalogueModel.objects.filter(model_id=NOVA).delete()
    for _ in range(100):
        record(outcome="unavailable", latency_ms=None)
    row = kept(decide(regions=["us-east-1", "us-west-2"]))
    assert (row.chosen, row.chosen_region) == (f"us.{NOVA}", "us-west-2")


def test_the_calls_of_a_decision_are_those_the_ledger_notes_with_it():
    one, two = decide(), decide()
    record(decision=one.kept(), outcome="throttled")
    record(f"us.{SONNET}", decision=one.kept())
    record(decision=two.kept())
    record()
    found = past_calls.of([one.kept(), two.kept()])
    assert [call.outcome for call in found[one.kept()]] == ["throttled", "succeeded"]
    assert [call.model for call in found[two.kept()]] == [f"us.{NOVA}"]
    assert len(found) == 2


def test_the_expected_length_of_an_answer_follows_the_last_ones():
    for length in (100, 100, 200):
        record(decision=decide().kept(), tokens={"input": 9, "output": length})
    record(decision=decide(request(task="update")).kept(), tokens={"output": 400})
    assert routes.output_tokens("summary", past_calls.recent()) == {f"us.{NOVA}": 110}
    (nova,) = [one for one in kept(decide()).candidates if one["model"] == f"us.{NOVA}"]
    assert nova["cost_nano_usd"] == 1000 * 35 + 110 * 140


def test_an_answer_of_unknown_length_is_expected_to_be_as_long_as_it_may_be():
    (nova,) = [one for one in kept(decide()).candidates if one["model"] == f"us.{NOVA}"]
    assert nova["cost_nano_usd"] == 1000 * 35 + 500 * 140


def test_old_decisions_are_found_by_their_incident():
    decide(incident=7, at=AT - timedelta(days=1)).kept()
    assert RouteDecision.objects.filter(incident_number=7).count() == 1
