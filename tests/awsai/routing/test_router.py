from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from awsai import router
from awsai.router import (
    Candidate,
    Level,
    Posterior,
    Request,
    Residency,
    Statistics,
    Weights,
)

WEIGHTS = Weights(usd_per_second=0.001, usd_per_failure=1.0)
PROVEN = Posterior(good=200, bad=0)
LOCAL = Candidate(
    model="local",
    base_id="local",
    service="local",
    region="",
    reach="local",
    capabilities={"json_schema": True},
    cost_nano_usd=0,
)


def candidate(name: str = "small", usd: float | None = 0.001, **fields: Any) -> Candidate:
    reach = fields.pop("reach", "geo")
    prefix = {"global": "global.", "geo": "us."}.get(reach, "")
    given: dict[str, Any] = {
        "model": f"{prefix}{name}",
        "base_id": name,
        "service": "bedrock-claude",
        "region": "us-east-1",
        "reach": reach,
        "geography": "us" if reach == "geo" else "",
        "capabilities": {"json_schema": True, "tools": True, "vision": None},
        "context_tokens": 100_000,
        "max_output": 4000,
        "cost_nano_usd": None if usd is None else round(usd * 1e9),
        "statistics": Statistics(calls=200, p95_ms=1000.0),
        "posterior": PROVEN,
    }
    return Candidate(**(given | fields))


SMALL, MIDDLE, LARGE = candidate("small", 0.001), candidate("middle", 0.01), candidate("large", 0.1)


def choose(*candidates: Candidate, level: Level = Level.NORMAL, **fields: Any) -> router.Choice:
    residency = fields.pop("residency", Residency())
    weights = fields.pop("weights", WEIGHTS)
    request = Request(
        **{"task": "summary", "severity": "low", "input_tokens": 1000, "max_tokens": 500, **fields}
    )
    return router.choose(candidates, request, level=level, residency=residency, weights=weights)


def names(candidates) -> list[str]:
    return [one.base_id for one in candidates]


def reason(choice: router.Choice, one: Candidate) -> str:
    (found,) = [each.reason for each in choice.rejected if each.candidate == one]
    return found


# --- Who may be asked --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"capabilities": {"tools": False}}, "tools: not supported"),
        ({"capabilities": {"tools": None}}, "tools: not known"),
        ({"capabilities": {}}, "tools: not known"),
        ({"lifecycle": "legacy"}, "lifecycle: legacy"),
        ({"lifecycle": "eol"}, "lifecycle: eol"),
        ({"lifecycle": "unknown"}, "lifecycle: unknown"),
        ({"onboarding": "denied"}, "not onboarded"),
        ({"context_tokens": 1499}, "context: holds 1499"),
        ({"context_tokens": None}, "context: its size is not known"),
        ({"max_output": 499}, "output: writes 499"),
        ({"cost_nano_usd": None, "cost_reason": "no rate"}, "price unknown: no rate"),
        ({"blocked": "open, failing"}, "breaker: open, failing"),
    ],
)
def test_who_cannot_be_asked_is_rejected_with_the_reason(fields, why):
    unfit = candidate(**fields)
    choice = choose(unfit, LARGE, needs=frozenset({"tools"}))
    assert names(choice.cascade) == ["large"]
    assert reason(choice, unfit).startswith(why)


def test_a_model_that_fits_exactly_is_admitted():
    assert choose(candidate(context_tokens=1500, max_output=500)).cascade


def test_when_nobody_may_be_asked_the_cascade_is_empty():
    choice = choose(candidate(lifecycle="eol"))
    assert choice.cascade == ()
    assert choice.reason == "Nobody may be asked."


def test_the_local_provider_is_left_when_no_model_may_be_asked():
    choice = choose(candidate(lifecycle="eol"), LOCAL)
    assert names(choice.cascade) == ["local"]
    assert "local" in choice.reason


def test_the_local_provider_is_rejected_where_it_lacks_what_is_needed():
    assert choose(LOCAL, needs=frozenset({"vision"})).cascade == ()


# --- Residency ---------------------------------------------------------------------------------

GLOBAL = candidate("model", reach="global")
US = candidate("model")
EU = candidate("model", model="eu.model", geography="eu", region="eu-west-1")
JP = candidate("model", model="jp.model", geography="jp", region="ap-northeast-1")
HOME = candidate("model", reach="in-region")
AWAY = candidate("model", reach="in-region", region="us-west-2")


@pytest.mark.parametrize(
    ("residency", "admitted"),
    [
        (Residency(), {GLOBAL.key, US.key, EU.key, JP.key, HOME.key, AWAY.key}),
        (Residency(reach="geo", geography="us"), {US.key, HOME.key, AWAY.key}),
        (Residency(reach="geo", geography="eu"), {EU.key}),
        (Residency(reach="geo", geography="apac"), {JP.key}),
        (Residency(reach="in-region", region="us-east-1"), {HOME.key}),
        (Residency(reach="geo"), set()),
        (Residency(reach="in-region"), set()),
    ],
)
def test_nothing_leaves_where_it_must_stay(residency, admitted):
    choice = choose(GLOBAL, US, EU, JP, HOME, AWAY, LOCAL, residency=residency)
    assert {one.key for one in choice.admitted} - {LOCAL.key} == admitted


# --- Whom first --------------------------------------------------------------------------------


def test_the_score_is_the_price_of_call_waiting_and_failure():
    one = candidate(
        usd=0.002,
        statistics=Statistics(calls=80, failures=4, p95_ms=3000.0),
        posterior=Posterior(good=7, bad=2),
    )
    score = router.score(one, WEIGHTS)
    quality = beta(8, 3).ppf(0.1)
    assert score.call_usd == pytest.approx(0.002)
    assert score.waiting_usd == pytest.approx(0.003)
    assert score.failing_usd == pytest.approx(1 - quality * (1 - 5 / 100))
    assert score.assumed == ()
    assert score.total_usd == pytest.approx(score.call_usd + score.waiting_usd + score.failing_usd)


def test_what_no_call_has_shown_is_named_as_assumed():
    one = candidate(statistics=Statistics(), posterior=Posterior())
    score = router.score(one, WEIGHTS)
    assert score.assumed == ("latency", "failures", "quality")
    assert score.quality == pytest.approx(0.1)
    assert score.p_fail == 0.05
    assert score.waiting_usd == pytest.approx(0.01)


def test_of_equally_good_models_the_cheapest_goes_first_and_dearer_ones_follow():
    choice = choose(LARGE, SMALL, MIDDLE, LOCAL)
    assert names(choice.cascade) == ["small", "middle", "large", "local"]
    assert choice.top == LARGE


def test_a_cheap_model_that_is_often_wrong_is_not_asked_first():
    bad = candidate("small", 0.001, posterior=Posterior(good=20, bad=180))
    choice = choose(bad, MIDDLE, LARGE)
    assert names(choice.cascade) == ["middle", "large"]
    assert names(choice.admitted) == ["middle", "large", "small"]


def test_a_cheap_model_whose_calls_fail_is_not_asked_first():
    failing = candidate("small", statistics=Statistics(calls=200, failures=100, p95_ms=1000.0))
    assert names(choose(failing, MIDDLE).cascade) == ["middle"]


def test_a_slow_model_loses_where_waiting_is_dear():
    slow = candidate("small", statistics=Statistics(calls=200, p95_ms=60_000.0))
    assert names(choose(slow, MIDDLE).cascade)[0] == "middle"
    patient = Weights(usd_per_second=0.0, usd_per_failure=1.0)
    assert names(choose(slow, MIDDLE, weights=patient).cascade)[0] == "small"


def test_what_a_failure_is_worth_decides_between_price_and_quality():
    fair = candidate("small", 0.001, posterior=Posterior(good=90, bad=10))
    careless = Weights(usd_per_second=0.001, usd_per_failure=0.01)
    assert names(choose(fair, MIDDLE, weights=careless).cascade)[0] == "small"
    assert names(choose(fair, MIDDLE).cascade)[0] == "middle"


def test_critical_severity_starts_at_the_top_and_goes_down():
    choice = choose(SMALL, LARGE, MIDDLE, LOCAL, severity="critical")
    assert names(choice.cascade) == ["large", "middle", "small", "local"]
    assert "Critical" in choice.reason


def test_a_newer_version_for_no_more_supersedes_a_dearer_old_one():
    old = candidate("old", 0.15, family="claude-sonnet", version=4.6)
    new = candidate("new", 0.10, family="claude-sonnet", version=5.5)
    choice = choose(old, new, SMALL)
    assert choice.top == new
    assert names(choice.cascade) == ["small", "new"]
    assert names(choose(old, new, SMALL, severity="critical").cascade) == ["new", "small"]
    # It may still stand in for another.
    assert old in choice.admitted


def test_a_newer_version_that_costs_more_supersedes_nothing():
    old = candidate("old", 0.006, family="nova-lite")
    new = candidate("new", 0.03, family="nova-lite", version=2.0)
    assert names(choose(old, new).cascade) == ["old", "new"]


def test_the_premium_of_a_geography_makes_no_model_stronger():
    anywhere = candidate("middle", 0.010, reach="global")
    here = candidate("middle", 0.011)
    other = candidate("other", 0.0105)
    assert choose(anywhere, here, other).top == other
    assert choose(anywhere, here).top == anywhere


def test_a_cascade_asks_each_model_under_one_id():
    anywhere = candidate("small", 0.0009, reach="global")
    choice = choose(SMALL, anywhere, MIDDLE)
    assert [one.model for one in choice.cascade] == ["global.small", "us.middle"]
    assert len(choice.admitted) == 3


# --- Budget ------------------------------------------------------------------------------------


@pytest.mark.parametrize("severity", ["low", "critical"])
def test_a_budget_that_is_nearly_used_up_leaves_the_cheapest(severity):
    choice = choose(SMALL, MIDDLE, LARGE, LOCAL, level=Level.CHEAPEST, severity=severity)
    assert names(choice.cascade) == ["small", "local"]
    assert reason(choice, LARGE) == "budget: only the cheapest"
    # The comparison with the top is not spoilt by the budget.
    assert choice.top == LARGE


def test_a_budget_that_is_used_up_leaves_the_local_provider():
    choice = choose(SMALL, LOCAL, level=Level.LOCAL)
    assert names(choice.cascade) == ["local"]
    assert reason(choice, SMALL) == "budget: only the local provider"
    assert choose(SMALL, level=Level.LOCAL).cascade == ()


# --- After the first answer --------------------------------------------------------------------


@pytest.mark.parametrize(
    "stop_reason",
    [
        "max_tokens",
        "malformed_model_output",
        "malformed_tool_use",
        "content_filtered",
        "model_context_window_exceeded",
    ],
)
def test_an_answer_that_broke_off_or_was_filtered_goes_up(stop_reason):
    assert router.must_escalate(stop_reason)


def test_a_whole_answer_goes_up_only_when_it_is_not_the_json_asked_for():
    assert not router.must_escalate("end_turn")
    assert not router.must_escalate("guardrail_intervened")
    assert router.must_escalate("end_turn", is_schema_valid=False)


def test_bad_answers_go_up_the_cascade_and_end_at_the_local_provider():
    choice = choose(SMALL, MIDDLE, LARGE, LOCAL)
    tried: list[Candidate] = []
    while following := router.escalate(choice, tried):
        tried.append(following)
    assert names(tried) == ["small", "middle", "large", "local"]


def test_who_stands_in_is_the_nearest_one_first():
    first = candidate("small")
    anywhere = candidate("small", 0.002, reach="global")
    elsewhere = candidate("small", 0.003, region="us-west-2")
    choice = choose(LOCAL, MIDDLE, elsewhere, first, anywhere)
    tried = [first]
    while following := router.fall_back(choice, first, tried):
        tried.append(following)
    assert tried == [first, anywhere, elsewhere, MIDDLE, LOCAL]


def test_nobody_stands_in_from_beyond_the_residency():
    anywhere = candidate("small", 0.002, reach="global")
    choice = choose(SMALL, anywhere, residency=Residency(reach="geo", geography="us"))
    assert router.fall_back(choice, SMALL, [SMALL]) is None


# --- Invariants --------------------------------------------------------------------------------

candidates = st.builds(
    candidate,
    st.sampled_from(["small", "middle", "large"]),
    st.one_of(st.none(), st.floats(0, 10)),
    reach=st.sampled_from(["global", "geo", "in-region"]),
    region=st.sampled_from(["us-east-1", "us-west-2", "eu-west-1"]),
    lifecycle=st.sampled_from(["active", "active", "legacy"]),
    blocked=st.sampled_from(["", "", "open"]),
    statistics=st.builds(
        Statistics,
        calls=st.integers(100, 200),
        failures=st.integers(0, 100),
        p95_ms=st.one_of(st.none(), st.floats(0, 1e5)),
    ),
    posterior=st.builds(Posterior, good=st.integers(0, 1000), bad=st.integers(0, 1000)),
)
pools = st.lists(candidates, max_size=8, unique_by=lambda one: one.key)


@given(
    pools,
    st.sampled_from(list(Level)),
    st.sampled_from(["critical", "low"]),
    st.sampled_from(
        [
            Residency(),
            Residency(reach="geo", geography="us"),
            Residency(reach="in-region", region="us-east-1"),
        ]
    ),
)
def test_every_candidate_is_admitted_or_rejected_and_nobody_unfit_is_asked(
    pool, level, severity, residency
):
    choice = choose(*pool, LOCAL, level=level, severity=severity, residency=residency)
    admitted = {one.key for one in choice.admitted}
    rejected = {one.candidate.key for one in choice.rejected}
    assert admitted | rejected == {one.key for one in pool} | {LOCAL.key}
    assert not admitted & rejected
    assert {one.key for one in choice.cascade} <= admitted
    assert len({one.base_id for one in choice.cascade}) == len(choice.cascade)
    assert choice.cascade[-1] == LOCAL
    for one in choice.admitted[:-1]:
        assert residency.admits(one)
        assert one.lifecycle == "active"
        assert one.cost_nano_usd is not None
        assert not one.blocked
    if level is Level.LOCAL:
        assert choice.admitted == (LOCAL,)


@given(pools)
def test_the_first_has_the_lowest_expected_cost_and_the_rest_go_up(pool):
    choice = choose(*pool)
    if not choice.cascade:
        return
    lowest = min(score.total_usd for score in choice.scores.values())
    assert choice.scores[choice.cascade[0].key].total_usd == lowest
    for one, following in itertools.pairwise(choice.cascade):
        assert one.price <= following.price
    assert choice.top is not None
    assert choice.top.price >= choice.cascade[-1].price or len(choice.cascade) == 1


@given(pools, st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_matter(pool, random):
    shuffled = list(pool)
    random.shuffle(shuffled)
    assert choose(*shuffled).admitted == choose(*pool).admitted


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_good_outcome_never_lowers_and_a_bad_one_never_raises_the_quality(good, bad):
    quality = Posterior(good=good, bad=bad).lower
    assert 0 <= quality <= 1
    assert Posterior(good=good + 1, bad=bad).lower >= quality
    assert Posterior(good=good, bad=bad + 1).lower <= quality
