"""What the account has, what it costs, and who one is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from awsai.emulator.emulator import Emulator
from tests.awsai.emulator.clients import HAIKU, NOVA, ClientError, client, last, user

ROWS = [
    {
        "sku": "anthropic.claude-haiku-4-5-20251001-v1:0",
        "scope": scope,
        "regions": ["*"],
        "unit_size": 1_000_000,
        "effective_from": "2026-11-22",
        "amounts": {"input": amount, "cache_write_1h": "2"},
        **more,
    }
    for scope, amount, more in (
        ("global", "1", {}),
        ("geo", "1.1", {}),
        ("in-region", "9", {}),
        ("global", "0.5", {"tier": "batch"}),
    )
] + [
    {
        "sku": NOVA,
        "scope": "in-region",
        "regions": ["us-east-1", "us-west-2"],
        "unit_size": 1_000_000,
        "effective_from": "2026-11-22",
        "amounts": {"input": "0.06", "output": "0.24"},
    },
    {
        "sku": "comprehend",
        "scope": "geo",
        "regions": ["*"],
        "unit_size": 1,
        "effective_from": "2026-11-22",
        "amounts": {"chars100": "0.0001"},
    },
]


# --- Bedrock -----------------------------------------------------------------------------------


def test_models_are_listed_with_their_lifecycle(emulator):
    models = client(emulator, "bedrock").list_foundation_models()["modelSummaries"]
    by_id = {one["modelId"]: one for one in models}
    assert by_id[NOVA]["modelLifecycle"] == {"status": "ACTIVE"}
    premier = by_id["amazon.nova-premier-v1:0"]["modelLifecycle"]
    assert premier["status"] == "LEGACY"
    assert premier["endOfLifeTime"] == datetime(2026, 9, 14, tzinfo=UTC)


def test_models_can_be_asked_for_by_provider(emulator):
    models = client(emulator, "bedrock").list_foundation_models(byProvider="Amazon")
    assert {one["providerName"] for one in models["modelSummaries"]} == {"Amazon"}


def test_profiles_are_listed_in_parts_and_can_be_invoked(emulator):
    pages = client(emulator, "bedrock").get_paginator("list_inference_profiles")
    profiles = [
        one for part in pages.paginate(maxResults=7) for one in part["inferenceProfileSummaries"]
    ]
    assert HAIKU in {one["inferenceProfileId"] for one in profiles}
    assert len({one["inferenceProfileArn"] for one in profiles}) == len(profiles)
    client(emulator).converse(
        modelId=next(one["inferenceProfileArn"] for one in profiles), messages=user("hello")
    )


def test_a_pagination_token_of_somebody_else_is_refused(emulator):
    with pytest.raises(ClientError, match="ValidationException"):
        client(emulator, "bedrock").list_inference_profiles(nextToken="theirs")


def test_availability_tells_whether_the_account_may_use_a_model(provider):
    with Emulator(provider, not_onboarded=[NOVA]) as emulator:
        bedrock = client(emulator, "bedrock")
        denied = bedrock.get_foundation_model_availability(modelId=NOVA)
        assert denied["authorizationStatus"] == "NOT_AUTHORIZED"
        assert denied["entitlementAvailability"] == "NOT_AVAILABLE"
        ended = bedrock.get_foundation_model_availability(modelId="amazon.nova-premier-v1:0")
        assert ended["regionAvailability"] == "NOT_AVAILABLE"
        with pytest.raises(bedrock.exceptions.ResourceNotFoundException):
            bedrock.get_foundation_model_availability(modelId="amazon.nova-none-v1:0")


def test_a_guardrail_says_that_it_is_ready(emulator):
    guardrail = client(emulator, "bedrock").get_guardrail(
        guardrailIdentifier="incidentops", guardrailVersion="1"
    )
    assert (guardrail["status"], guardrail["version"]) == ("READY", "1")
    assert guardrail["guardrailArn"].endswith(":guardrail/incidentops")


# --- Pricing -----------------------------------------------------------------------------------


def products(emulator, service_code: str, **asked: object):
    pages = client(emulator, "pricing").get_paginator("get_products")
    return [
        json.loads(product)
        for part in pages.paginate(ServiceCode=service_code, **asked)
        for product in part["PriceList"]
    ]


def price(product) -> tuple[Decimal, str]:
    (term,) = product["terms"]["OnDemand"].values()
    (dimension,) = term["priceDimensions"].values()
    return Decimal(dimension["pricePerUnit"]["USD"]), dimension["unit"]


@pytest.fixture
def priced(provider):
    with Emulator(provider, prices=lambda: ROWS) as running:
        yield running


def test_models_of_amazon_are_priced_by_the_thousand(priced):
    found = products(priced, "AmazonBedrock", MaxResults=1)
    prices = {one["product"]["attributes"]["usagetype"]: price(one) for one in found}
    assert prices["USE1-NovaLite-input-tokens"] == (Decimal("0.00006"), "1K tokens")
    assert prices["USW2-NovaLite-output-tokens"] == (Decimal("0.00024"), "1K tokens")
    assert len(prices) == 4


def test_models_of_the_marketplace_are_priced_by_the_million(priced):
    found = products(priced, "AmazonBedrockFoundationModels")
    prices = {one["product"]["attributes"]["usagetype"]: price(one)[0] for one in found}
    assert prices == {
        "USE1-MP:USE1_InputTokenCount_Global-Units": 1,
        "USE1-MP:USE1_CacheWrite1hInputTokenCount_Global-Units": 2,
        "USE1-MP:USE1_InputTokenCount-Units": Decimal("1.1"),
        "USE1-MP:USE1_CacheWrite1hInputTokenCount-Units": 2,
        "USE1-MP:USE1_InputTokenCount_Global_Batch-Units": Decimal("0.5"),
        "USE1-MP:USE1_CacheWrite1hInputTokenCount_Global_Batch-Units": 2,
    }
    assert found[0]["product"]["attributes"]["servicename"] == (
        "Claude Haiku 4.5 (Amazon Bedrock Edition)"
    )


def test_products_can_be_asked_for_by_region(priced):
    region = {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "us-west-2"}
    assert len(products(priced, "AmazonBedrock", Filters=[region])) == 2


def test_without_a_price_list_there_are_no_products(emulator):
    assert products(emulator, "AmazonBedrock") == []
    with pytest.raises(ClientError, match="InvalidParameterException"):
        products(emulator, "AmazonS3")


# --- STS ---------------------------------------------------------------------------------------


def assume(emulator, role: str = "arn:aws:iam::123456789012:role/observe", **more: int):
    return client(emulator, "sts").assume_role(
        RoleArn=role, RoleSessionName="inc-7", Tags=[{"Key": "plane", "Value": "observe"}], **more
    )


def keys_of(assumed) -> dict[str, str]:
    credentials = assumed["Credentials"]
    return {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }


def test_an_assumed_role_signs_as_itself(emulator):
    assumed = assume(emulator)
    arn = "arn:aws:sts::123456789012:assumed-role/observe/inc-7"
    assert assumed["AssumedRoleUser"]["Arn"] == arn
    keys = keys_of(assumed)
    identity = client(emulator, "sts", keys=keys).get_caller_identity()
    assert (identity["Account"], identity["Arn"]) == ("123456789012", arn)
    client(emulator, keys=keys).converse(modelId=HAIKU, messages=user("hello"))
    assert last(emulator).principal_arn == arn


def test_keys_of_a_role_need_their_token_and_end(provider):
    clock = {"now": datetime.now(UTC)}
    with Emulator(provider, clock=lambda: clock["now"]) as emulator:
        assumed = assume(emulator, DurationSeconds=900)
        assert assumed["Credentials"]["Expiration"] > clock["now"]
        keys = keys_of(assumed)
        without = {name: text for name, text in keys.items() if name != "aws_session_token"}
        with pytest.raises(ClientError, match="UnrecognizedClientException"):
            client(emulator, keys=without).converse(modelId=HAIKU, messages=user("hello"))
        # The emulator's clock cannot run ahead of the client's by more than five minutes.
        lent = emulator._keyring.lend(
            principal_arn="arn", principal_id="id", until=clock["now"] + timedelta(minutes=1)
        )
        clock["now"] += timedelta(minutes=2)
        expired = {
            "aws_access_key_id": lent.access_key_id,
            "aws_secret_access_key": lent.secret_access_key,
            "aws_session_token": lent.session_token,
        }
        with pytest.raises(ClientError, match="ExpiredTokenException"):
            client(emulator, keys=expired).converse(modelId=HAIKU, messages=user("hello"))


def test_a_role_of_another_account_cannot_be_assumed(emulator):
    with pytest.raises(ClientError, match=r"\(AccessDenied\)"):
        assume(emulator, "arn:aws:iam::999999999999:role/observe")
