from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsai import pricing
from awsai.ports import TOKEN_METERS, Usage
from awsai.pricing import PriceList, Rate

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
SKU = "maker.model-v1:0"


def rate(meter: str = "input", amount: str = "3", **fields) -> Rate:
    given: dict[str, Any] = {
        "sku": SKU,
        "meter": meter,
        "scope": "in-region",
        "region": "*",
        "tier": "default",
        "min_input_tokens": 0,
        "unit_size": 1_000_000,
        "amount": Decimal(amount),
        "effective_from": date(2026, 11, 1),
        "effective_to": None,
        "confidence": "verified",
    }
    return Rate(**(given | fields))


def cost(usage: Usage, *rates: Rate, model: str = SKU, service: str = "bedrock-claude", **how):
    given: dict[str, Any] = {"region": "us-east-1", "at": AT}
    listed = PriceList(version="v1", rates=rates)
    return pricing.cost(usage, service=service, model=model, rates=listed, **(given | how))


def tokens(**counts: int) -> Usage:
    return Usage(tokens=counts)


def test_ten_input_tokens_of_a_small_model_cost_350_nano_usd():
    assert cost(tokens(input=10), rate(amount="0.035")).nano_usd == 350


def test_cached_tokens_are_added_not_subtracted():
    found = cost(
        tokens(input=100, cache_read=1000, output=10),
        rate("input", "3"),
        rate("cache_read", "0.3"),
        rate("output", "15"),
    )
    assert found.nano_usd == 300_000 + 300_000 + 150_000
    assert (found.version, found.confidence, found.reason) == ("v1", "verified", "")


def test_a_meter_without_a_price_makes_the_whole_cost_unknown():
    found = cost(tokens(input=1, cache_write_5m=1), rate("input"))
    assert found.nano_usd is None
    assert found.confidence is None
    assert "cache_write_5m" in found.reason
    assert SKU in found.reason


def test_a_meter_that_was_not_used_needs_no_price():
    assert cost(tokens(input=1, cache_write_5m=0), rate("input")).nano_usd == 3000


def test_nothing_used_costs_nothing():
    assert cost(Usage()).nano_usd == 0


def test_a_negative_quantity_is_an_error():
    with pytest.raises(ValueError, match="negative"):
        cost(tokens(input=-1), rate())


def test_half_a_nano_is_rounded_to_even_once_for_the_whole_row():
    half = rate("input", "0.0000000005", unit_size=1), rate("output", "0.0000000005", unit_size=1)
    assert cost(tokens(input=1), *half).nano_usd == 0
    assert cost(tokens(input=3), *half).nano_usd == 2
    assert cost(tokens(input=1, output=1), *half).nano_usd == 1


def test_a_unit_that_does_not_divide_is_still_exact():
    """200 USD per 30,000 units; a third and a sixth of a nano are a half, which goes to even."""
    chat = rate("chat_unit", "200", sku="q-business", unit_size=30_000)
    two = cost(Usage(units={"chat_unit": 2}), chat, service="q-business", model="")
    assert two.nano_usd == 13_333_333
    thirds = rate("input", "0.000000001", unit_size=3), rate("output", "0.000000001", unit_size=6)
    assert cost(tokens(input=1, output=1), *thirds).nano_usd == 0
    assert cost(tokens(input=4, output=1), *thirds).nano_usd == 2


def test_long_inputs_have_their_own_price_for_all_meters():
    listed = (
        rate("input", "3"),
        rate("output", "15"),
        rate("input", "6", min_input_tokens=200_001),
        rate("output", "22.5", min_input_tokens=200_001),
    )
    assert cost(tokens(input=200_000, output=1), *listed).nano_usd == 600_015_000
    # Output does not count towards the length.
    assert cost(tokens(input=200_000, output=9), *listed).nano_usd == 600_135_000
    assert cost(tokens(input=200_001, output=1), *listed).nano_usd == 1_200_028_500


def test_cached_tokens_count_towards_the_length():
    listed = rate("input", "3"), rate("input", "6", min_input_tokens=101)
    found = cost(tokens(input=1, cache_read=100), *listed, rate("cache_read", "1"))
    assert found.nano_usd is None
    assert "from 101 input tokens" in found.reason


def test_a_global_profile_and_one_of_a_geography_have_their_own_prices():
    listed = (rate(amount="3", scope="global"), rate(amount="3.3", scope="geo"))
    assert cost(tokens(input=1000), *listed, model=f"global.{SKU}").nano_usd == 3_000_000
    assert cost(tokens(input=1000), *listed, model=f"eu.{SKU}").nano_usd == 3_300_000
    assert cost(tokens(input=1000), *listed, model=SKU).nano_usd is None


def test_the_profile_is_found_in_an_arn_too():
    arn = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{SKU}"
    assert pricing.parse(arn) == pricing.ModelName(base_id=SKU, scope="geo", geography="us")


def test_an_unknown_prefix_is_not_taken_for_a_known_model():
    assert cost(tokens(input=1), rate(scope="geo"), model=f"us-gov.{SKU}").nano_usd is None


def test_the_price_of_the_region_goes_before_that_of_all():
    listed = rate(amount="3"), rate(amount="4", region="eu-west-1")
    assert cost(tokens(input=1), *listed, region="eu-west-1").nano_usd == 4000
    assert cost(tokens(input=1), *listed, region="us-east-1").nano_usd == 3000


def test_a_price_holds_from_its_first_day_up_to_its_end():
    listed = rate(amount="3", effective_from=date(2026, 11, 1), effective_to=date(2026, 11, 10))

    def on(day: int):
        return cost(tokens(input=1), listed, at=datetime(2026, 11, day, tzinfo=UTC)).nano_usd

    assert (on(1), on(9), on(10)) == (3000, 3000, None)


def test_another_tier_is_not_priced_by_the_default():
    assert cost(tokens(input=1), rate(), tier="batch").nano_usd is None
    assert cost(tokens(input=1), rate(tier="batch", amount="1"), tier="batch").nano_usd == 1000


def test_a_guardrail_inside_a_call_is_billed_by_guardrails():
    usage = Usage(tokens={"input": 1}, units={"guardrail.content": 2})
    guard = rate("guardrail.content", "0.15", sku="bedrock-guardrails", unit_size=1000)
    model = rate(scope="global")
    assert cost(usage, model, guard, model=f"global.{SKU}").nano_usd == 3000 + 300_000


def test_the_least_certain_figure_decides_how_certain_the_cost_is():
    doubtful = rate("output", confidence="estimated")
    assert cost(tokens(input=1), rate(), doubtful).confidence == "verified"
    assert cost(tokens(input=1, output=1), rate(), doubtful).confidence == "estimated"
    guessed = Usage(tokens={"input": 1}, confidence="estimated")
    assert cost(guessed, rate()).confidence == "estimated"


amounts = st.decimals("0", "999999", places=10)
units = st.sampled_from([1, 3, 100, 1000, 30_000, 1_000_000])
quantities = st.dictionaries(st.sampled_from(TOKEN_METERS), st.integers(0, 10**9))


@st.composite
def price_lists(draw) -> list[Rate]:
    return [rate(meter, str(draw(amounts)), unit_size=draw(units)) for meter in TOKEN_METERS]


@given(quantities, price_lists())
def test_the_cost_is_the_exact_sum_rounded_once(used, listed):
    by_meter = {one.meter: one for one in listed}
    exact = sum(
        Fraction(by_meter[meter].amount) * count / by_meter[meter].unit_size
        for meter, count in used.items()
    )
    # Python rounds fractions half to even.
    assert cost(Usage(tokens=used), *listed).nano_usd == round(exact * 10**9)


@given(quantities, quantities, price_lists())
def test_using_more_never_costs_less(one, two, listed):
    more = {meter: one.get(meter, 0) + two.get(meter, 0) for meter in TOKEN_METERS}
    least = cost(Usage(tokens=one), *listed).nano_usd
    most = cost(Usage(tokens=more), *listed).nano_usd
    assert least is not None
    assert most is not None
    assert least <= most


@given(quantities, price_lists())
def test_before_rounding_the_meters_add_up(used, listed):
    """Amounts of whole nano-USD a unit leave nothing to round, so the parts must sum exactly."""
    whole = [rate(one.meter, str(round(one.amount, 9)), unit_size=1) for one in listed]
    parts = [cost(Usage(tokens={meter: count}), *whole).nano_usd for meter, count in used.items()]
    assert None not in parts
    assert cost(Usage(tokens=used), *whole).nano_usd == sum(part or 0 for part in parts)
