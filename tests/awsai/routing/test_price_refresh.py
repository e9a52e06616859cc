from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from awsai import offers, prices, pricing
from awsai.models import PriceRate, PriceVersion
from awsai.ports import Usage

pytestmark = pytest.mark.django_db
AT = datetime(2026, 12, 2, 12, tzinfo=UTC)
HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"


def product(service: str, attributes: dict[str, str], **dimension: Any) -> dict[str, Any]:
    price = {"unit": "1K tokens", "pricePerUnit": {"USD": "0.0008000000"}, **dimension}
    return {
        "serviceCode": service,
        "product": {"sku": "ABC", "attributes": {"regionCode": "us-east-1", **attributes}},
        "terms": {
            "OnDemand": {
                "ABC.T": {
                    "effectiveDate": "2026-12-01T00:00:00Z",
                    "priceDimensions": {"ABC.T.D": price},
                }
            }
        },
    }


def nova(meter: str = "input-tokens", usd: str = "0.0008000000", **dimension: Any):
    return product(
        "AmazonBedrock",
        {"model": "Nova Pro", "usagetype": f"USE1-NovaPro-{meter}"},
        **{"pricePerUnit": {"USD": usd}, **dimension},
    )


def claude(meter: str = "InputTokenCount", usd: str = "1.1", name: str = "Claude Haiku 4.5"):
    return product(
        "AmazonBedrockFoundationModels",
        {
            "servicename": f"{name} (Amazon Bedrock Edition)",
            "usagetype": f"USE1-MP:USE1_{meter}-Units",
        },
        unit="Units",
        description="AWS Marketplace software usage|us-east-1|Million Input Tokens",
        pricePerUnit={"USD": usd},
    )


def rate(model: str, meter: str = "input", **fields: Any) -> PriceRate:
    given = {"region": "us-east-1", "scope": "geo", "tier": "default", "min_input_tokens": 0}
    return PriceRate.objects.filter(version__status="draft").get(
        sku=model, meter=meter, effective_from=date(2026, 12, 1), **(given | fields)
    )


def test_both_shapes_become_a_price_of_a_million_tokens():
    found, unread = offers.read([nova(), claude()])
    assert unread == []
    assert [(one.name, one.meter, one.usd) for one in found] == [
        ("Nova Pro", "input", Decimal("0.8")),
        ("Claude Haiku 4.5", "input", Decimal("1.1")),
    ]


@pytest.mark.parametrize(
    ("read", "meter", "tier", "is_global", "is_long"),
    [
        (nova("output-tokens-batch"), "output", "batch", False, False),
        (nova("cache-read-input-token-count-flex"), "cache_read", "flex", False, False),
        (nova("input-tokens-cross-region-global"), "input", "default", True, False),
        (claude("OutputTokenCount_Global"), "output", "default", True, False),
        (claude("CacheWrite1hInputTokenCount"), "cache_write_1h", "default", False, False),
        (claude("InputTokenCount_LCtx_Global_Batch"), "input", "batch", True, True),
    ],
)
def test_the_usage_type_says_what_is_priced(read, meter, tier, is_global, is_long):
    (offer,), unread = offers.read([read])
    assert unread == []
    assert (offer.meter, offer.tier, offer.is_global, offer.is_long) == (
        meter,
        tier,
        is_global,
        is_long,
    )


@pytest.mark.parametrize(
    "other",
    [
        nova("input-tokens-custom-model"),
        nova("image-T2I-standard"),
        claude("ReservedTPM"),
        product("AmazonS3", {"usagetype": "USE1-Requests"}),
    ],
)
def test_what_is_no_meter_of_ours_is_left_unread_without_a_doubt(other):
    found, (one,) = offers.read([other])
    assert found == []
    assert not one.is_doubt
    assert one.reason


@pytest.mark.parametrize(
    "strange",
    [
        nova(unit="1B tokens"),
        nova(usd="soon"),
        nova(usd="-1"),
        nova(pricePerUnit={"CNY": "1"}),
        {**nova(), "terms": {"OnDemand": {}}},
        {"serviceCode": "AmazonBedrock", "product": {}},
        {},
    ],
)
def test_tokens_priced_in_a_way_we_cannot_read_are_a_doubt(strange):
    found, (one,) = offers.read([strange])
    assert found == []
    assert one.is_doubt


def test_a_refresh_writes_a_draft_and_changes_nothing_in_force():
    before = prices.in_force()
    assert before is not None
    found = prices.refresh([nova(usd="0.0009"), claude()], at=AT)
    assert found.draft is not None
    assert found.draft.is_draft
    after = prices.in_force()
    assert after is not None
    assert after.version == before.version
    assert found.unread == ()
    new = rate("amazon.nova-pro-v1:0")
    assert (new.amount, new.unit_size, new.confidence) == (Decimal("0.9"), 1_000_000, "verified")


def test_an_old_price_holds_until_the_day_the_new_one_begins():
    draft = prices.refresh([nova(usd="0.0009")], at=AT).draft
    assert draft is not None
    prices.activate(draft, by="ann")
    listed = prices.in_force()
    assert listed is not None

    def on(day: datetime) -> int | None:
        return pricing.cost(
            Usage(tokens={"input": 1000}),
            service="bedrock-nova",
            model="us.amazon.nova-pro-v1:0",
            region="us-east-1",
            at=day,
            rates=listed,
        ).nano_usd

    assert on(datetime(2026, 11, 30, tzinfo=UTC)) == 800_000
    assert on(datetime(2026, 12, 1, tzinfo=UTC)) == 900_000


def test_a_price_of_one_region_leaves_that_of_the_others():
    draft = prices.refresh([claude(usd="1.2")], at=AT).draft
    assert draft is not None
    assert rate(HAIKU).amount == Decimal("1.2")
    everywhere = draft.rates.get(sku=HAIKU, meter="input", scope="geo", region="*", tier="default")
    assert everywhere.amount == Decimal("1.1")


def test_a_price_of_a_region_is_compared_with_that_of_all():
    found = prices.refresh([claude(usd="1.1")], at=AT)
    assert found.diff.reasons == ()
    (geo,) = [one for one in found.diff.changes if one.after and one.after.scope == "geo"]
    assert geo.before is not None
    assert geo.before.region == "*"
    dearer = prices.refresh([claude(usd="1.4")], at=AT)
    assert len(dearer.diff.reasons) == 1
    assert "more than a fifth" in dearer.diff.reasons[0]


def test_a_unit_that_is_not_known_is_a_doubt_that_a_person_must_confirm():
    strange = nova("output-tokens", unit="1B tokens")
    found = prices.refresh([nova(usd="0.0009"), strange], at=AT)
    assert found.draft is not None
    (doubt,) = found.draft.doubts
    assert "1B tokens" in doubt
    with pytest.raises(prices.NeedsConfirmation, match="1B tokens"):
        prices.activate(found.draft, by="ann")
    # Nothing was made of it: the output keeps its price.
    output = found.draft.rates.get(
        sku="amazon.nova-pro-v1:0", meter="output", scope="in-region", tier="default"
    )
    assert output.amount == Decimal("3.2")
    prices.activate(found.draft, by="ann", confirmed=True)


def test_the_price_for_long_inputs_keeps_the_threshold_it_had():
    long = claude("InputTokenCount_LCtx", usd="6.6", name="Claude Sonnet 4.5")
    prices.refresh([long], at=AT)
    new = rate("anthropic.claude-sonnet-4-5-20250929-v1:0", min_input_tokens=200_001)
    assert new.amount == Decimal("6.6")
    found = prices.refresh([claude("InputTokenCount_LCtx", usd="2")], at=AT)
    assert found.draft is None
    assert "long inputs" in found.unread[0].reason


def test_a_model_that_the_catalogue_does_not_name_is_left_unread():
    found = prices.refresh([claude(name="Claude Opus 9")], at=AT)
    assert found.draft is None
    assert "catalogue" in found.unread[0].reason


def test_the_same_news_twice_make_one_draft():
    first, second = (prices.refresh([nova(usd="0.0009")], at=AT) for _ in range(2))
    assert first.draft is not None
    assert second.draft == first.draft
    assert PriceVersion.objects.filter(status="draft").count() == 1
    prices.activate(first.draft, by="ann")
    assert prices.refresh([nova(usd="0.0009")], at=AT).draft is None
