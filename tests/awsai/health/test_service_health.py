from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.utils.timezone import now

from awsai import health
from awsai.breaker import Target, breakers
from awsai.ledger import Cost
from awsai.models import CatalogueModel
from awsai.ports import CallFailed, Trouble
from awsai.providers import provider
from incidentops.realtime import topics
from incidentops.realtime.models import OutboxEvent
from tests.awsai.aws.calls import HAIKU, QUESTION
from tests.awsai.health.emulated import running_emulator
from tests.awsai.health.ledger_rows import make_call

pytestmark = pytest.mark.django_db


def fact(service: str) -> dict[str, Any]:
    (found,) = [row for row in health.facts() if row["service"] == service]
    return found


def standing(service: str) -> tuple[str, str]:
    onboarding = fact(service)["onboarding"]
    return onboarding["state"], onboarding["reason"]


@pytest.fixture
def of_emulator(settings):
    settings.AWSAI_PROVIDER = "emulator"


# --- Figures -----------------------------------------------------------------------------------


def test_a_success_rate_comes_with_its_interval_and_leaves_out_what_was_ours():
    for outcome in ("succeeded", "succeeded", "succeeded", "timeout", "refused", "blocked"):
        make_call(outcome=outcome)
    found = fact("bedrock-claude")
    rate = found["all_time"]["success_rate"]
    assert (rate["value"], rate["n"]) == (0.75, 4)
    assert rate["low"] < 0.75 < rate["high"] < 1
    assert (found["calls"], found["failures"]) == (6, 3)
    assert found["all_time"]["by_outcome"]["succeeded"] == 3


def test_a_service_nobody_called_has_no_success_rate():
    assert fact("textract")["all_time"]["success_rate"] == {
        "value": None,
        "low": None,
        "high": None,
        "n": 0,
    }
    assert fact("textract")["last_error"] is None


def test_money_is_unknown_while_no_call_has_a_price():
    def money() -> tuple[int | None, int | None, int]:
        row = fact("bedrock-claude")
        whole = row["all_time"]
        told = (whole["nano_usd"], whole["list_price_nano_usd"], whole["unpriced"])
        assert told == (row["nano_usd"], row["list_price_nano_usd"], row["unpriced"])
        return told

    assert money() == (0, 0, 0)
    make_call(cost=Cost(billed=0, list_price=None))
    assert money() == (0, None, 1)
    make_call(cost=Cost(billed=None, list_price=None))
    make_call(cost=Cost(billed=5, list_price=9))
    assert money() == (5, 9, 2)


def test_old_calls_count_for_all_time_alone():
    make_call(started_at=now() - timedelta(days=3))
    found = fact("bedrock-claude")
    assert (found["all_time"]["calls"], found["last_24_hours"]["calls"]) == (1, 0)
    assert found["last_24_hours"]["latency"] == {
        "n": 0,
        "p50_ms": None,
        "p95_ms": None,
        "p99_ms": None,
    }


def test_the_last_error_is_the_newest_call_that_did_not_succeed():
    make_call(outcome="timeout", error_code="ModelTimeoutException")
    failed = make_call(outcome="throttled", error_code="ThrottlingException", model_requested="m")
    make_call()
    error = fact("bedrock-claude")["last_error"]
    assert (error["call"], error["code"], error["outcome"], error["model"]) == (
        failed.sequence,
        "ThrottlingException",
        "throttled",
        "m",
    )
    assert error["at"] == health.facts()[0]["last_error"]["at"]


def test_the_local_provider_has_a_row_of_its_own():
    make_call(service="local", provider="local", operation="answer")
    found = fact("local")
    assert (found["calls"], found["provider"]) == (1, "local")
    assert found["onboarding"]["state"] == "onboarded"
    assert len(health.facts()) == 9


# --- Onboarding --------------------------------------------------------------------------------


def test_the_local_provider_asks_nobody():
    assert standing("bedrock-agents") == (
        "not_used",
        "IOP_AWSAI is local: nobody at AWS is asked.",
    )


def test_a_service_without_its_settings_is_not_onboarded_and_says_which(of_emulator, settings):
    assert standing("bedrock-agents") == (
        "not_onboarded",
        "not configured: IOP_AWS_AGENT_ID, IOP_AWS_AGENT_ALIAS_ID",
    )
    settings.AWS_AGENT_ID = settings.AWS_AGENT_ALIAS_ID = "EMULATED00"
    assert standing("bedrock-agents") == ("unknown", "It was not asked yet.")


def test_denied_calls_make_a_service_not_onboarded_until_one_is_answered(of_emulator):
    make_call(outcome="denied", error_code="AccessDeniedException")
    assert standing("bedrock-claude") == (
        "not_onboarded",
        "The last calls of it were denied: the role may not use it, or it is closed to the account.",
    )
    make_call(outcome="throttled")
    assert standing("bedrock-claude")[0] == "onboarded"
    make_call(outcome="unavailable")
    assert standing("bedrock-claude")[0] == "onboarded"
    make_call(outcome="denied")
    assert standing("bedrock-claude")[0] == "not_onboarded"


def test_what_another_provider_answered_says_nothing_of_this_one(of_emulator):
    make_call(provider="aws")
    assert standing("bedrock-claude")[0] == "unknown"


def test_a_denial_on_the_wire_shows(settings, monkeypatch):
    with running_emulator(settings, monkeypatch, not_onboarded=["comprehend"]):
        with pytest.raises(CallFailed) as failed:
            provider().text_analyst().sentiments(["all is well"])
        assert failed.value.trouble is Trouble.DENIED
        assert standing("comprehend")[0] == "not_onboarded"
        assert fact("comprehend")["last_error"]["code"] == "AccessDeniedException"
        provider().reasoner().answer(QUESTION, model=HAIKU)
        assert standing("bedrock-claude")[0] == "onboarded"


def test_a_family_of_which_the_account_may_call_nothing_is_not_onboarded(of_emulator):
    CatalogueModel.objects.filter(service="bedrock-nova").update(onboarding="denied")
    state, reason = standing("bedrock-nova")
    assert state == "not_onboarded"
    assert "none of its models" in reason
    assert fact("bedrock-nova")["lifecycle"]["usable"] == 0


# --- Breakers and lifecycles -------------------------------------------------------------------


def test_an_open_breaker_is_shown_with_its_model():
    target = Target(service="bedrock-claude", model=HAIKU, region="us-east-1")
    for _ in range(5):
        breakers().report(target, Trouble.UNAVAILABLE)
    found = fact("bedrock-claude")
    assert found["breaker"] == "open"
    assert found["breakers"] == [
        {"model": HAIKU, "region": "us-east-1", "state": "open", "reason": "failing"}
    ]
    assert fact("bedrock-nova")["breaker"] == "closed"


def test_breakers_that_cannot_be_asked_are_unknown(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    breakers.cache_clear()
    try:
        assert fact("bedrock-claude")["breaker"] == "unknown"
    finally:
        breakers.cache_clear()


def test_a_model_that_ends_soon_is_warned_of_and_one_that_has_ended_is_not_usable():
    at = now()
    models = CatalogueModel.objects.filter(service="bedrock-claude").order_by("model_id")
    soon, later, ended = models[:3]
    everything = fact("bedrock-claude")["lifecycle"]["usable"]
    for model, ends in ((soon, 30), (later, 90), (ended, -1)):
        CatalogueModel.objects.filter(pk=model.pk).update(eol_at=at + timedelta(days=ends))
    lifecycle = fact("bedrock-claude")["lifecycle"]
    ends_on = (at + timedelta(days=30)).date()
    assert f"{soon.model_id} ends on {ends_on}." in lifecycle["warnings"]
    assert not any(later.model_id in warning for warning in lifecycle["warnings"])
    assert not any(ended.model_id in warning for warning in lifecycle["warnings"])
    assert lifecycle["usable"] == everything - 1


# --- On the sockets ----------------------------------------------------------------------------


def test_health_is_published_when_it_changed_and_not_again():
    assert health.publish()
    assert not health.publish()
    make_call()
    assert health.publish()
    events = OutboxEvent.objects.filter(type="awsai.health").order_by("pk")
    assert [event.data["services"][0]["calls"] for event in events] == [0, 1]


def test_what_was_published_is_told_again_after_the_cache_was_lost():
    health.publish()
    cache.delete(health.PUBLISHED)
    assert health.publish()


def test_the_page_starts_from_what_the_event_tells():
    make_call()
    health.publish()
    event = OutboxEvent.objects.get(type="awsai.health")
    snapshot = topics.snapshot("transparency")["services"]
    assert json.loads(json.dumps(snapshot)) == event.data["services"]
