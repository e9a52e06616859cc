from __future__ import annotations

import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from awsai import savings
from awsai.models import AwsCall, Considered, PriceVersion, RouteDecision
from incidentops.access import chain

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOVA = "us.amazon.nova-micro-v1:0"
SONNET = "us.anthropic.claude-sonnet-4-6"
# A million tokens each way at a list price in nano-USD.
NOVA_COST = 175 * 10**6
SONNET_COST = 19_800 * 10**6


def make_decision(**fields: Any) -> RouteDecision:
    decision = RouteDecision(
        **{
            "at": AT,
            "task": "summary",
            "severity": "low",
            "level": "normal",
            "input_tokens": 1000,
            "max_tokens": 500,
            "residency": {},
            "weights": {},
            "considered": Considered.of([]),
            "chosen": NOVA,
            "chosen_region": "us-east-1",
            "top": SONNET,
            "top_region": "us-east-1",
            "reason": "a test",
            **fields,
        }
    )
    RouteDecision.objects.store([decision])
    return decision


def record(decision: RouteDecision, model: str = NOVA, **fields: Any) -> None:
    given: dict[str, Any] = {
        "intent": str(uuid.uuid4()),
        "service": "bedrock-nova",
        "operation": "Converse",
        "region": "us-east-1",
        "provider": "aws",
        "model_invoked": model,
        "outcome": "succeeded",
        "started_at": AT,
        "tokens": {"input": 10**6, "output": 10**6},
        "route_decision": decision.pk,
        **fields,
    }
    chain.append(AwsCall(**given))


def report(*arguments: str) -> str:
    out = StringIO()
    call_command("route_report", *arguments, stdout=out)
    return out.getvalue()


def test_without_decisions_the_report_says_that_there_is_nothing_to_compare():
    assert report() == "Decisions: 0, compared: 0\nThere is nothing to compare.\n"
    found = json.loads(report("--json"))
    assert found["share"] is None
    assert found["reason"] == "There is nothing to compare."


def test_decisions_without_calls_are_counted_and_left_out():
    make_decision()
    found = savings.against_always_top()
    assert (found.decisions, found.compared) == (1, 0)
    assert found.left_out == {"the ledger has no call of it": 1}
    assert "left out, the ledger has no call of it: 1" in report()


def test_an_unreadable_date_is_refused():
    with pytest.raises(CommandError, match="yesterday"):
        report("--since=yesterday")


def test_decisions_before_the_date_are_not_counted():
    make_decision(at=AT - timedelta(days=2))
    make_decision()
    assert "Decisions: 1," in report("--since=2026-11-22")
    assert json.loads(report("--json", "--since=2026-11-24T00:00:00Z"))["decisions"] == 0


def test_the_same_tokens_are_priced_at_the_top_model():
    record(make_decision())
    found = savings.against_always_top()
    assert (found.routed_nano_usd, found.top_nano_usd) == (NOVA_COST, SONNET_COST)
    assert found.share == pytest.approx(1 - NOVA_COST / SONNET_COST)
    assert (found.low, found.high) == (None, None)
    assert found.reason == "No interval from fewer than 10 decisions."
    assert "Saved: 99.1%" in report()


def test_a_cascade_pays_for_every_try_and_the_top_for_one():
    decision = make_decision()
    record(decision)
    record(decision, SONNET)
    found = savings.against_always_top()
    assert found.routed_nano_usd == NOVA_COST + SONNET_COST
    assert found.top_nano_usd == SONNET_COST
    assert found.share is not None
    assert found.share < 0


def test_what_cannot_be_compared_is_left_out_with_its_reason():
    record(make_decision(), outcome="timeout")
    record(make_decision(), "local", provider="local")
    record(make_decision(top=""))
    record(make_decision(), "us.maker.unheard-of")
    record(make_decision())
    found = savings.against_always_top()
    assert (found.decisions, found.compared) == (5, 1)
    no_price, *others = sorted(found.left_out)
    assert no_price.startswith("No price for input of maker.unheard-of")
    assert others == [
        "answered by the local provider",
        "no call was answered",
        "no model of AWS was admitted",
    ]
    assert sum(found.left_out.values()) == 4


def test_without_prices_nothing_is_compared():
    record(make_decision())
    PriceVersion.objects.update(status="retired")
    assert savings.against_always_top().left_out == {"no list of prices is in force": 1}


def test_the_report_gives_the_interval_and_its_sample():
    for number in range(12):
        record(make_decision(), NOVA if number % 3 else SONNET)
    found = savings.against_always_top()
    assert found.share is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.share < found.high
    assert "bootstrap over 12 decisions" in report()
    assert savings.against_always_top() == found


# --- The interval ------------------------------------------------------------------------------


def savings_of(pairs: list[tuple[int, int]], seed: int = 0) -> savings.Savings:
    return savings.compare(pairs, Counter(), version="v1", rng=np.random.default_rng(seed))


def test_the_interval_covers_the_true_share_about_as_often_as_it_says():
    """200 samples of 60 decisions, each routed at a tenth or at the full price of the top."""
    rng = np.random.default_rng(20261123)
    covered = 0
    for seed in range(200):
        top = rng.lognormal(12, 0.5, 60)
        routed = top * np.where(rng.random(60) < 0.7, 0.1, 1.0)
        found = savings_of([(int(a), int(b)) for a, b in zip(routed, top, strict=True)], seed)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.63 <= found.high
    assert 0.91 <= covered / 200 <= 0.98


def test_equal_savings_leave_nothing_uncertain():
    found = savings_of([(25, 100)] * 20)
    assert (found.share, found.low, found.high) == (0.75, 0.75, 0.75)


def test_top_models_that_cost_nothing_have_no_share():
    found = savings_of([(0, 0)] * 20)
    assert (found.share, found.low, found.high) == (None, None, None)
    assert found.reason == "The top models would have cost nothing."
