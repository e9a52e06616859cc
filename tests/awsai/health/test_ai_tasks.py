from __future__ import annotations

import uuid
from datetime import date, timedelta
from io import StringIO
from typing import Any

import pytest
from celery import current_app
from django.conf import settings as configured
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from awsai import prices, refresh, routes, tasks
from awsai.models import AwsCall, AwsCallPayload, CatalogueModel, PriceVersion
from awsai.ports import CallFailed
from awsai.router import Level, Request, Residency
from tests.awsai.health.emulated import running_emulator

pytestmark = pytest.mark.django_db
NOVA_LITE = "amazon.nova-lite-v1:0"


def run(command: str) -> str:
    out = StringIO()
    call_command(command, stdout=out)
    return out.getvalue()


# --- Beat --------------------------------------------------------------------------------------


def test_beat_asks_for_tasks_that_there_are():
    current_app.loader.import_default_modules()
    ours = {
        entry["task"]
        for entry in configured.CELERY_BEAT_SCHEDULE.values()
        if entry["task"].startswith("awsai.")
    }
    assert ours == {f"awsai.tasks.{name}" for name in TASKS}
    assert ours <= set(current_app.tasks)


TASKS = (
    "publish_health",
    "reconcile",
    "read_attachments",
    "converse",
    "forget_memories",
    "forget_payloads",
    "sync_catalogue",
    "refresh_prices",
)


@pytest.mark.parametrize("name", TASKS)
def test_tasks_may_run_twice(name):
    for _ in range(2):
        getattr(tasks, name)()
    assert not AwsCall.objects.exists()


def test_only_payloads_past_their_time_are_forgotten():
    for hours in (-1, 1):
        AwsCallPayload.objects.create(
            intent=uuid.uuid4(), sealed=b"x", expires_at=now() + timedelta(hours=hours)
        )
    tasks.forget_payloads()
    assert AwsCallPayload.objects.get().expires_at > now()


# --- The catalogue -----------------------------------------------------------------------------


def test_nobody_is_asked_by_an_installation_that_is_local():
    for command in ("sync_catalogue", "refresh_prices"):
        with pytest.raises(CommandError, match="IOP_AWSAI is local"):
            run(command)


def test_a_sync_takes_in_what_bedrock_lists(emulator):
    CatalogueModel.objects.filter(base_id=NOVA_LITE).delete()
    told = run("sync_catalogue")
    model = CatalogueModel.objects.get(model_id=NOVA_LITE)
    assert (model.regions, model.onboarding, model.source) == (
        ["us-east-1"],
        "known",
        "Amazon Bedrock",
    )
    assert f"  {NOVA_LITE}\n" in told
    assert {entry.operation for entry in emulator.log.entries()} == {
        "ListFoundationModels",
        "ListInferenceProfiles",
        "GetFoundationModelAvailability",
    }


def test_a_model_the_account_may_not_call_is_known_as_such(settings, monkeypatch):
    with running_emulator(settings, monkeypatch, not_onboarded=[NOVA_LITE]):
        tasks.sync_catalogue()
    denied = CatalogueModel.objects.filter(onboarding="denied")
    # Premier has reached its end, so no region has it.
    assert {model.base_id for model in denied} == {NOVA_LITE, "amazon.nova-premier-v1:0"}


def test_an_availability_that_is_not_told_does_not_spoil_the_sync(emulator):
    code = {"code": "ValidationException", "status": 400}
    emulator.inject("error", operation="GetFoundationModelAvailability", **code)
    refresh.sync_catalogue()
    assert CatalogueModel.objects.filter(onboarding="known").exists()
    assert CatalogueModel.objects.filter(onboarding="unknown", source="Amazon Bedrock").exists()


def test_a_listing_that_does_not_come_changes_nothing(emulator):
    before = list(CatalogueModel.objects.order_by("pk").values())
    emulator.inject(
        "error", operation="ListFoundationModels", code="AccessDeniedException", status=403
    )
    with pytest.raises(CommandError, match="AccessDenied"):
        run("sync_catalogue")
    assert list(CatalogueModel.objects.order_by("pk").values()) == before


def test_without_a_home_region_nothing_is_synced(emulator, settings):
    settings.AWS_REGION = ""
    with pytest.raises(CallFailed, match="IOP_AWS_REGION"):
        refresh.sync_catalogue()
    assert emulator.log.entries() == []


def test_models_can_still_be_chosen_after_a_sync(emulator):
    tasks.sync_catalogue()
    route = routes.decide(
        Request(task="summary", severity="medium", input_tokens=100, max_tokens=100),
        regions=["us-east-1"],
        residency=Residency(reach="global", region="us-east-1"),
        level=Level.NORMAL,
    )
    assert not route.choice.cascade[0].is_local


# --- Prices ------------------------------------------------------------------------------------


def dearer_nova() -> list[dict[str, Any]]:
    """What the emulator is to tell: Nova Lite at a tenth more."""
    return [
        {
            "sku": NOVA_LITE,
            "scope": "in-region",
            "regions": ["us-east-1"],
            "unit_size": 1_000_000,
            "effective_from": "2026-12-01",
            "amounts": {"input": "0.066"},
        }
    ]


def test_new_prices_wait_in_a_draft(settings, monkeypatch):
    active = PriceVersion.objects.get(status="active")
    with running_emulator(settings, monkeypatch, prices=dearer_nova):
        told = run("refresh_prices")
        tasks.refresh_prices()
    draft = PriceVersion.objects.get(status="draft")
    rate = draft.rates.get(
        sku=NOVA_LITE, scope="in-region", meter="input", effective_from=date(2026, 12, 1)
    )
    assert f"{rate.amount.normalize():f}" == "0.066"
    assert f"wait in {draft.label}" in told
    assert PriceVersion.objects.get(status="active") == active
    assert prices.in_force() is not None


def test_prices_that_differ_in_nothing_make_no_draft(emulator):
    assert "Nothing differs" in run("refresh_prices")
    assert not PriceVersion.objects.filter(status="draft").exists()


def test_a_price_list_that_does_not_come_is_said(emulator):
    emulator.inject("error", operation="GetProducts", code="AccessDeniedException", status=403)
    with pytest.raises(CommandError, match="No prices were fetched"):
        run("refresh_prices")
