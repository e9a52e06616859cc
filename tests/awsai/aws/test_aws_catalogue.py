from __future__ import annotations

import pytest

from awsai.emulator import catalogue as emulated
from awsai.emulator.emulator import Emulator
from awsai.emulator.handlers import bedrock, pricing
from awsai.ports import CallFailed, Trouble
from awsai.providers.aws import catalogue, prices
from tests.awsai.aws.calls import rows

pytestmark = pytest.mark.django_db


def test_models_are_told_with_their_lifecycle(emulator):
    models = {one["modelId"]: one for one in catalogue.foundation_models(provider="emulator")}
    assert set(models) == {model.id for model in emulated.MODELS}
    assert {one["modelLifecycle"]["status"] for one in models.values()} <= {"ACTIVE", "LEGACY"}


def test_profiles_of_all_pages_are_told_once(emulator, monkeypatch):
    monkeypatch.setattr(bedrock, "PROFILES_A_PART", 7)
    profiles = catalogue.inference_profiles(provider="emulator")
    ids = [one["inferenceProfileId"] for one in profiles]
    assert len(rows()) > 2
    assert len(ids) == len(set(ids)) == sum(len(model.profiles) for model in emulated.MODELS)


def test_availability_has_four_states_and_nothing_of_the_wire(emulator):
    told = catalogue.availability(emulated.MODELS[0].id, provider="emulator")
    assert set(told) == {
        "modelId",
        "agreementAvailability",
        "authorizationStatus",
        "entitlementAvailability",
        "regionAvailability",
    }
    with pytest.raises(CallFailed) as failed:
        catalogue.availability("amazon.nothing-v1:0", provider="emulator")
    assert failed.value.trouble == Trouble.DENIED
    assert [(row.service, row.outcome) for row in rows()] == [
        ("bedrock", "succeeded"),
        ("bedrock", "denied"),
    ]


RATES = [
    {
        "sku": model.id,
        "scope": "in-region",
        "regions": ["us-east-1", "eu-west-1"],
        "unit_size": 1_000_000,
        "effective_from": "2026-11-22",
        "amounts": {"input": "2", "output": "10"},
    }
    for model in emulated.MODELS
]


def test_products_of_all_pages_are_parsed(counter, settings, monkeypatch):
    monkeypatch.setattr(pricing, "PRODUCTS_A_PART", 5)
    settings.AWSAI_PROVIDER = "emulator"
    with Emulator(counter, prices=lambda: RATES) as emulator:
        settings.AWS_EMULATOR_URL = emulator.url
        everywhere = list(prices.products("AmazonBedrock"))
        here = list(prices.products("AmazonBedrock", region="eu-west-1"))
        claude = list(prices.products("AmazonBedrockFoundationModels", region="eu-west-1"))
    makers = [model.provider_name for model in emulated.MODELS]
    assert len(here) == 2 * makers.count("Amazon")
    assert len(everywhere) == 2 * len(here)
    assert len(claude) == 2 * makers.count("Anthropic")
    assert {one["serviceCode"] for one in everywhere} == {"AmazonBedrock"}
    assert {row.service for row in rows()} == {"pricing"}
    assert {row.region for row in rows()} == {"us-east-1"}


def test_prices_that_cannot_be_read_are_a_failed_call(emulator):
    with pytest.raises(CallFailed) as failed:
        list(prices.products("AmazonNothing", provider="emulator"))
    assert failed.value.trouble == Trouble.REFUSED
