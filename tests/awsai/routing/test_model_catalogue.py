from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from awsai import catalogue, pricing
from awsai.models import CatalogueModel

pytestmark = pytest.mark.django_db
AT = datetime(2026, 12, 1, tzinfo=UTC)
NOVA = "amazon.nova-lite-v1:0"
HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"
AVAILABLE = {
    "agreementAvailability": {"status": "AVAILABLE"},
    "authorizationStatus": "AUTHORIZED",
    "entitlementAvailability": "AVAILABLE",
    "regionAvailability": "AVAILABLE",
}


def summary(model_id: str = NOVA, *, region: str = "us-east-1", **fields: Any) -> dict[str, Any]:
    return {
        "modelArn": f"arn:aws:bedrock:{region}::foundation-model/{model_id}",
        "modelId": model_id,
        "modelName": "Nova Lite",
        "providerName": "Amazon",
        "inputModalities": ["TEXT", "IMAGE"],
        "outputModalities": ["TEXT"],
        "inferenceTypesSupported": ["ON_DEMAND"],
        "modelLifecycle": {"status": "ACTIVE"},
        **fields,
    }


def profile(profile_id: str, *, region: str = "us-east-1", **fields: Any) -> dict[str, Any]:
    return {
        "inferenceProfileId": profile_id,
        "inferenceProfileArn": f"arn:aws:bedrock:{region}:123456789012:inference-profile/{profile_id}",
        "models": [],
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
        **fields,
    }


def sync(summaries, profiles=(), availability=None, at: datetime = AT):
    return catalogue.sync(summaries, profiles, availability or {}, at=at)


def model(model_id: str) -> CatalogueModel:
    return CatalogueModel.objects.get(model_id=model_id)


def test_an_installation_starts_with_the_shipped_models():
    assert CatalogueModel.objects.count() > 30
    assert catalogue.load() == 0
    for row in CatalogueModel.objects.all():
        row.full_clean()
        assert pricing.parse(row.model_id).base_id == row.base_id
        assert row.service in {"bedrock-claude", "bedrock-nova"}


def test_a_model_past_its_end_is_shipped_as_such():
    assert model("amazon.nova-premier-v1:0").lifecycle == "eol"


def test_a_model_ends_by_the_clock_without_a_sync():
    row = CatalogueModel(lifecycle="active", eol_at=AT)
    assert row.lifecycle_at(AT - timedelta(seconds=1)) == "active"
    assert row.lifecycle_at(AT) == "eol"


def test_a_model_is_warned_of_sixty_days_before_its_end():
    CatalogueModel.objects.filter(model_id=NOVA).update(eol_at=AT + timedelta(days=60))
    CatalogueModel.objects.filter(model_id=f"us.{NOVA}").update(eol_at=AT + timedelta(days=61))
    assert [row.model_id for row in CatalogueModel.objects.ending_soon(AT)] == [NOVA]
    assert not CatalogueModel.objects.ending_soon(AT + timedelta(days=60)).filter(model_id=NOVA)


def test_a_sync_tells_where_a_model_can_be_called():
    sync(
        [summary(), summary(region="eu-west-1", inferenceTypesSupported=["INFERENCE_PROFILE"])],
        [profile(f"eu.{NOVA}", region="eu-west-1")],
    )
    assert model(NOVA).regions == ["us-east-1"]
    assert model(f"eu.{NOVA}").regions == ["eu-west-1"]
    assert model(NOVA).source == "Amazon Bedrock"


def test_a_sync_of_one_region_says_nothing_of_another():
    sync([summary(), summary(region="eu-west-1")])
    sync([summary("amazon.nova-micro-v1:0", region="eu-west-1")])
    assert model(NOVA).regions == ["us-east-1"]
    assert model(NOVA).lifecycle == "active"


def test_a_model_that_is_listed_no_more_is_not_called_active():
    sync([summary()])
    found = sync([summary("amazon.nova-micro-v1:0")])
    assert NOVA in found.gone
    assert model(NOVA).lifecycle == "unknown"
    assert model(NOVA).regions == []


def test_an_empty_listing_takes_nothing_away():
    assert sync([]) == catalogue.Synced(added=(), changed=(), gone=())
    assert model(NOVA).lifecycle == "active"


def test_lifecycle_and_end_come_from_bedrock():
    end = AT + timedelta(days=30)
    sync([summary(modelLifecycle={"status": "LEGACY", "endOfLifeTime": end})])
    assert (model(NOVA).lifecycle, model(NOVA).eol_at) == ("legacy", end)
    sync([summary(modelLifecycle={})])
    assert (model(NOVA).lifecycle, model(NOVA).eol_at) == ("unknown", None)


def test_what_bedrock_does_not_tell_stays_as_it_was_known():
    before = model(NOVA)
    sync([summary(inputModalities=["TEXT"])])
    after = model(NOVA)
    assert after.capabilities == {**before.capabilities, "vision": False}
    assert after.context_tokens == before.context_tokens


def test_a_new_model_has_unknown_limits_and_a_new_profile_those_of_its_model():
    new = "amazon.nova-9-pro-v1:0"
    found = sync([summary(new), summary()], [profile(f"ca.{NOVA}"), profile(f"au.{NOVA}")])
    assert set(found.added) == {new, f"au.{NOVA}"}
    assert model(new).context_tokens is None
    assert "tools" not in model(new).capabilities
    assert model(new).service == "bedrock-nova"
    assert model(f"au.{NOVA}").context_tokens == model(NOVA).context_tokens


def test_models_that_write_no_text_and_profiles_of_our_own_are_left_out():
    sync(
        [summary(), summary("amazon.nova-canvas-v1:0", outputModalities=["IMAGE"])],
        [profile("abc123", type="APPLICATION")],
    )
    assert not CatalogueModel.objects.filter(model_id__contains="canvas").exists()
    assert not CatalogueModel.objects.filter(model_id="abc123").exists()


def test_a_model_that_no_service_of_ours_calls_is_known_but_not_routed():
    sync([summary("maker.other-v1:0")])
    assert model("maker.other-v1:0") not in CatalogueModel.objects.routable()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (AVAILABLE, "known"),
        ({**AVAILABLE, "authorizationStatus": "NOT_AUTHORIZED"}, "denied"),
        ({**AVAILABLE, "agreementAvailability": {"status": "PENDING"}}, "unknown"),
        ({**AVAILABLE, "regionAvailability": "SOMETHING_NEW"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_model_is_onboarded_when_all_four_states_are_good(answer, expected):
    sync([summary()], [profile(f"us.{NOVA}")], {NOVA: answer})
    assert model(NOVA).onboarding == model(f"us.{NOVA}").onboarding == expected


def test_an_unchanged_listing_changes_nothing():
    listed = [summary(), summary(HAIKU, inferenceTypesSupported=["INFERENCE_PROFILE"])]
    sync(listed, [profile(f"us.{HAIKU}")])
    found = sync(listed, [profile(f"us.{HAIKU}")], at=AT + timedelta(days=1))
    assert found == catalogue.Synced(added=(), changed=(), gone=())
    assert model(NOVA).synced_at == AT + timedelta(days=1)
