from __future__ import annotations

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from awsai import budgets
from awsai.breaker import Target, breakers
from awsai.ledger import Cost
from awsai.models.budgets import BudgetScope
from awsai.ports import TOKEN_METERS, Trouble, Usage
from incidentops.health.examination import readiness
from incidentops.health.exposition import REGISTRY
from tests.awsai.health.ledger_rows import make_call

# Probes read in threads, which see what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


def reading():
    return readiness()[1]["ai_services"]


def test_the_local_provider_is_always_well():
    make_call(provider="aws", outcome="denied")
    assert reading()["ok"]
    assert reading()["provider"] == "local"


def test_services_that_are_not_configured_are_no_trouble(settings):
    settings.AWSAI_PROVIDER = "aws"
    found = reading()
    assert found["ok"]
    assert "q-business" in found["not_configured"]


def test_denied_calls_and_open_breakers_are_troubles_that_never_make_the_system_unready(settings):
    settings.AWSAI_PROVIDER = "aws"
    make_call(provider="aws", outcome="denied", error_code="ExpiredTokenException")
    for _ in range(5):
        breakers().report(Target(service="comprehend"), Trouble.UNAVAILABLE)
    found = reading()
    assert not found["ok"]
    assert not found["critical"]
    assert (
        "Claude: The last calls of it were denied: the credentials have expired."
        in found["summary"]
    )
    assert "Comprehend: left alone (failing), all calls." in found["summary"]


def scraped():
    families = text_string_to_metric_families(generate_latest(REGISTRY).decode())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        if family.name.startswith("iop_awsai")
        for sample in family.samples
    }


def test_spending_without_a_limit_is_warned_of(settings):
    settings.AWSAI_PROVIDER = "aws"
    warning = "No budget limits what may be spent."
    assert warning in reading()["warnings"]
    budgets.set_limit(BudgetScope.DAY, 10**10, by="test")
    assert warning not in reading()["warnings"]


def test_prometheus_reads_what_the_ledger_counts():
    make_call(usage=Usage(tokens={"input": 10, "output": 2}), latency_ms=100)
    make_call(latency_ms=3_000, cost=Cost(billed=5, list_price=9), usage=Usage())
    make_call(outcome="throttled", latency_ms=None, cost=Cost(billed=None, list_price=None))
    found = scraped()
    claude = (("provider", "emulator"), ("service", "bedrock-claude"))
    outcome, meter, le = ((name,) for name in ("outcome", "meter", "le"))
    assert found["iop_awsai_calls_total", (*outcome, "succeeded"), *claude] == 2
    assert found["iop_awsai_calls_total", (*outcome, "throttled"), *claude] == 1
    assert found["iop_awsai_failures_total", *claude] == 1
    assert found["iop_awsai_unpriced_calls_total", *claude] == 1
    assert found["iop_awsai_nano_usd_total", *claude] == 5
    assert found["iop_awsai_list_price_nano_usd_total", *claude] == 3_009
    assert found["iop_awsai_tokens_total", (*meter, "input"), *claude] == 1_010
    assert found["iop_awsai_latency_seconds_count", *claude] == 2
    assert found["iop_awsai_latency_seconds_sum", *claude] == pytest.approx(3.1)
    assert found["iop_awsai_latency_seconds_bucket", (*le, "0.128"), *claude] == 1
    assert found["iop_awsai_latency_seconds_bucket", (*le, "2.048"), *claude] == 1
    assert found["iop_awsai_latency_seconds_bucket", (*le, "4.096"), *claude] == 2
    assert found["iop_awsai_latency_seconds_bucket", (*le, "+Inf"), *claude] == 2


def test_labels_are_words_of_the_code():
    make_call(incident_number=7, agent="diagnosis", region="eu-west-1", model_requested="m")
    labels = {name for sample in scraped() for name, _ in sample[1:]}
    assert labels == {"service", "provider", "outcome", "meter", "le"}
    meters = {value for sample in scraped() for name, value in sample[1:] if name == "meter"}
    assert meters == set(TOKEN_METERS)
