from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils.timezone import now
from hypothesis import given
from hypothesis import strategies as st

from awsai import services
from awsai.ledger import Cost
from awsai.models import AwsCall
from awsai.ports import Usage
from awsai.proportions import wilson
from awsai.services import Figures, Group, total
from tests.awsai.health.ledger_rows import make_call

CLAUDE = Group(service="bedrock-claude", provider="emulator", outcome="succeeded")


# --- Figures of the ledger ---------------------------------------------------------------------


@pytest.mark.django_db
def test_calls_add_up_by_service_provider_and_outcome():
    make_call(usage=Usage(tokens={"input": 10, "cache_read": 5, "cache_write_1h": 2}))
    make_call(usage=Usage(tokens={"input": 3, "output": 4}), latency_ms=None)
    make_call(outcome="throttled", cost=Cost(billed=None, list_price=None), usage=Usage())
    make_call(service="comprehend", provider="aws", cost=Cost(billed=7, list_price=7))
    found = services.all_time()
    assert found[CLAUDE].calls == 2
    assert found[CLAUDE].tokens == {
        "input": 13,
        "output": 4,
        "cache_read": 5,
        "cache_write_1h": 2,
    }
    assert (found[CLAUDE].timed, found[CLAUDE].latency_ms) == (1, 400)
    assert found[CLAUDE].list_price_nano_usd == 6_000
    throttled = Group(service="bedrock-claude", provider="emulator", outcome="throttled")
    assert (found[throttled].unpriced, found[throttled].last) == (1, 3)
    assert found[Group(service="comprehend", provider="aws", outcome="succeeded")].nano_usd == 7


@pytest.mark.django_db
def test_looking_again_adds_what_came_since_and_equals_adding_up_anew():
    for latency_ms in (1, 40, 4_000):
        make_call(latency_ms=latency_ms)
        assert services.all_time() == services.groups(AwsCall.objects.all())
    assert services.all_time()[CLAUDE].calls == 3
    assert services.all_time() == services.all_time()


@pytest.mark.django_db
def test_rows_that_were_rolled_back_do_not_stay_in_the_figures():
    make_call()
    with transaction.atomic():
        make_call(service="textract")
        assert len(services.all_time()) == 2
        transaction.set_rollback(True)
    make_call()
    assert services.all_time() == services.groups(AwsCall.objects.all())
    assert {group.service for group in services.all_time()} == {"bedrock-claude"}


@pytest.mark.django_db
def test_a_window_holds_the_calls_that_began_in_it():
    at = now()
    make_call(started_at=at - timedelta(hours=25))
    make_call(started_at=at - timedelta(hours=23))
    make_call(service="bedrock", operation="ListFoundationModels")
    recent = services.since(at - timedelta(hours=24))
    assert {group: figures.calls for group, figures in recent.items()} == {CLAUDE: 1}


@pytest.mark.django_db
@pytest.mark.parametrize("latency_ms", [0, 1, 2, 3, 16, 17, 255, 256, 257, 1024, 99_999])
def test_a_latency_is_told_within_two_and_a_half_percent(latency_ms):
    make_call(latency_ms=latency_ms)
    told = services.all_time()[CLAUDE].quantile_ms(0.5)
    assert told == pytest.approx(max(latency_ms, 1), rel=0.025, abs=0.5)


@pytest.mark.django_db
def test_a_call_of_256_ms_took_at_most_256_ms():
    make_call(latency_ms=256)
    make_call(latency_ms=257)
    figures = services.all_time()[CLAUDE]
    assert [figures.timed_up_to(k) for k in (7, 8, 9)] == [0, 1, 2]


def test_quantiles_count_from_the_shortest():
    figures = Figures(latencies=Counter({0: 50, 100: 45, 200: 5}))
    assert figures.quantile_ms(0.5) == 2
    assert figures.quantile_ms(0.95) == round(2 ** (100.5 / 14) + 0.5)
    assert figures.quantile_ms(0.99) == round(2 ** (200.5 / 14) + 0.5)
    assert Figures().quantile_ms(0.5) is None


counts = st.integers(0, 10**6)
some_figures = st.builds(
    Figures,
    calls=counts,
    nano_usd=counts,
    last=counts,
    latencies=st.builds(Counter, st.dictionaries(st.integers(-14, 300), st.integers(1, 99))),
)


@given(st.lists(some_figures), st.lists(some_figures))
def test_figures_of_parts_add_up_to_those_of_the_whole(some, others):
    assert total(some) + total(others) == total([*some, *others])


@given(some_figures.filter(lambda figures: figures.timed > 0))
def test_higher_quantiles_are_never_lower(figures):
    found = [figures.quantile_ms(q) for q in (0.01, 0.5, 0.95, 0.99, 1.0)]
    assert found == sorted(found)


# --- Shares ------------------------------------------------------------------------------------


def test_wilson_agrees_with_the_published_example():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    for successes, trials, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_share_lies_in_its_interval_which_lies_in_zero_to_one(successes, failures):
    trials = successes + failures
    low, high = wilson(successes, trials)
    assert 0 <= low <= (successes / trials if trials else 0.5) <= high <= 1
