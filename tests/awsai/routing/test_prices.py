from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, connections, transaction

from awsai import prices, pricing
from awsai.models import PriceRate, PriceVersion
from awsai.models.prices import PriceFrozen
from awsai.ports import Usage
from awsai.services import SERVICES
from incidentops.access.models import AuditEntry

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


def group(**fields: Any) -> dict[str, Any]:
    return {
        "service": "bedrock-claude",
        "sku": "maker.model",
        "scope": "geo",
        "regions": ["*"],
        "unit_size": 1_000_000,
        "effective_from": "2026-11-01",
        "confidence": "third_party",
        "source_url": "https://example.com/prices",
        "amounts": {"input": "3", "output": "15"},
        **fields,
    }


def file_of(tmp_path, *groups: dict[str, Any]):
    document = {
        "source": "a test",
        "fetched_at": "2026-11-22T00:00:00Z",
        "currency": "USD",
        "rates": list(groups),
    }
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def active(tmp_path) -> PriceVersion:
    """A small list in force, in place of the shipped one."""
    PriceVersion.objects.all().update(status="draft")
    PriceVersion.objects.all().delete()
    version = prices.load(file_of(tmp_path, group()))
    assert version is not None
    return version


def rate_of(version: PriceVersion, meter: str = "input") -> PriceRate:
    return version.rates.get(meter=meter)


def cost(usage: Usage, model: str = "us.maker.model", service: str = "bedrock-claude"):
    listed = prices.in_force()
    assert listed is not None
    return pricing.cost(
        usage, service=service, model=model, region="us-east-1", at=AT, rates=listed
    )


# --- The shipped list --------------------------------------------------------------------------


def test_an_installation_starts_with_the_shipped_list_in_force():
    version = PriceVersion.objects.get()
    assert version.status == "active"
    assert version.approved_by == "release"
    assert (
        cost(
            Usage(tokens={"input": 1_000_000}), "global.anthropic.claude-haiku-4-5-20251001-v1:0"
        ).nano_usd
        == 10**9
    )


def test_the_shipped_list_is_loaded_once():
    assert prices.load() is None
    assert PriceVersion.objects.count() == 1


def test_every_shipped_rate_belongs_to_a_service_and_passes_validation():
    names = {service.name for service in SERVICES}
    rates = list(PriceRate.objects.select_related("version"))
    assert {rate.service for rate in rates} <= names
    for rate in rates:
        rate.clean_fields()
        assert rate.source_url.startswith("https://")


def test_a_shipped_price_of_a_geography_is_a_tenth_dearer_for_the_models_that_have_it():
    pairs = 0
    for rate in PriceRate.objects.filter(scope="geo"):
        same = {name: getattr(rate, name) for name in ("sku", "meter", "tier", "min_input_tokens")}
        for base in PriceRate.objects.filter(scope="global", **same):
            assert rate.amount == base.amount * Decimal("1.1")
            pairs += 1
    assert pairs > 50


def test_a_price_that_sources_disagree_on_makes_the_cost_an_estimate():
    model = "global.anthropic.claude-sonnet-5-5"
    assert cost(Usage(tokens={"input": 1}), model).confidence == "third_party"
    assert cost(Usage(tokens={"cache_read": 1}), model).confidence == "estimated"


def test_a_shipped_model_without_a_price_for_a_meter_has_an_unknown_cost():
    found = cost(Usage(tokens={"cache_write_5m": 1}), "us.amazon.nova-pro-v1:0", "bedrock-nova")
    assert found.nano_usd is None
    assert "cache_write_5m" in found.reason


def test_other_services_are_priced_by_their_units():
    sentiment = cost(Usage(units={"chars100": 3}), "", "comprehend")
    assert (sentiment.nano_usd, sentiment.confidence) == (300_000, "verified")
    tables = cost(Usage(units={"page.tables": 2}), "", "textract")
    assert (tables.nano_usd, tables.confidence) == (30_000_000, "estimated")
    chat = cost(Usage(units={"chat_unit": 2}), "", "q-business")
    assert chat.nano_usd == 13_333_333


def test_a_later_file_waits_as_a_draft(active, tmp_path):
    draft = prices.load(file_of(tmp_path, group(amounts={"input": "4"})))
    assert draft is not None
    assert draft.is_draft
    assert cost(Usage(tokens={"input": 1000})).nano_usd == 3_000_000


def test_a_file_whose_rates_overlap_is_refused(tmp_path):
    with pytest.raises(prices.OverlappingRates, match="input"):
        prices.load(file_of(tmp_path, group(), group(effective_from="2026-11-05")))


# --- Rows that bill never change ---------------------------------------------------------------


def test_a_rate_in_force_cannot_be_changed_in_any_way(active):
    rate = rate_of(active)
    rate.amount = Decimal(1)
    with pytest.raises(PriceFrozen):
        rate.save()
    with pytest.raises(PriceFrozen):
        rate.delete()
    with pytest.raises(PriceFrozen):
        active.rates.update(amount=1)
    with pytest.raises(PriceFrozen):
        active.rates.all().delete()
    with pytest.raises(PriceFrozen):
        active.delete()
    with pytest.raises(PriceFrozen):
        PriceRate.objects.bulk_create([PriceRate(version=active)])
    with pytest.raises(ValidationError, match="draft"):
        rate.full_clean()
    assert rate_of(active).amount == 3


def test_a_draft_that_became_active_meanwhile_cannot_be_changed(active):
    draft = prices.clone_to_draft(by="ann")
    rate = rate_of(draft)
    prices.activate(draft, by="ann")
    rate.amount = Decimal(1)
    with pytest.raises(PriceFrozen):
        rate.save()


def test_a_rate_that_holds_on_the_same_day_as_another_does_not_validate(active):
    draft = prices.clone_to_draft(by="ann")
    rate = rate_of(draft)
    rate.effective_to = date(2026, 11, 20)
    rate.full_clean()
    rate.save()
    rate.pk = None
    rate.effective_from, rate.effective_to = date(2026, 11, 20), None
    rate.full_clean()
    rate.effective_from = date(2026, 11, 19)
    with pytest.raises(ValidationError, match="same name"):
        rate.full_clean()


def test_overlapping_rates_that_bypassed_validation_never_come_into_force(active):
    draft = prices.clone_to_draft(by="ann")
    rate = rate_of(draft)
    rate.pk, rate.effective_from = None, date(2026, 11, 5)
    rate.save(force_insert=True)
    with pytest.raises(prices.OverlappingRates, match=r"maker\.model input"):
        prices.activate(draft, by="ann")


@pytest.mark.parametrize(
    "wrong",
    [{"amount": -1}, {"unit_size": 0}, {"currency": "EUR"}, {"effective_to": date(2026, 1, 1)}],
)
def test_the_database_refuses_a_rate_that_cannot_be(active, wrong):
    draft = prices.clone_to_draft(by="ann")
    with pytest.raises(IntegrityError), transaction.atomic():
        draft.rates.update(**wrong)


def test_the_database_refuses_a_second_list_in_force(active):
    draft = prices.clone_to_draft(by="ann")
    with pytest.raises(IntegrityError), transaction.atomic():
        PriceVersion.objects.filter(pk=draft.pk).update(status="active")


# --- Editing -----------------------------------------------------------------------------------


def edited(amount: str, **fields: Any) -> PriceVersion:
    draft = prices.clone_to_draft(by="ann", note="new price")
    rate = rate_of(draft)
    rate.amount = Decimal(amount)
    for name, value in fields.items():
        setattr(rate, name, value)
    rate.save()
    return draft


def test_an_edit_is_a_draft_that_comes_into_force_and_retires_the_list_before(active):
    draft = edited("3.3")
    assert cost(Usage(tokens={"input": 1000})).nano_usd == 3_000_000
    found = prices.activate(draft, by="ann", at=AT)
    (change,) = found.changes
    assert change.before is not None
    assert change.after is not None
    assert (change.before.amount, change.after.amount) == (Decimal(3), Decimal("3.3"))
    assert "3 USD per 1000000 -> 3.3 USD" in str(change)
    active.refresh_from_db()
    draft.refresh_from_db()
    assert (active.status, draft.status, draft.approved_by) == ("retired", "active", "ann")
    after = cost(Usage(tokens={"input": 1000}))
    assert (after.nano_usd, after.version) == (3_300_000, draft.label)
    entry = AuditEntry.objects.get(action="price.activate")
    assert entry.actor == "ann"
    assert entry.detail["retired"] == active.label
    assert entry.detail["count"] == 1


def test_a_change_of_more_than_a_fifth_needs_a_person_who_confirms_it(active):
    prices.activate(edited("3.6"), by="ann")
    draft = edited("4.4")
    with pytest.raises(prices.NeedsConfirmation, match="more than a fifth") as caught:
        prices.activate(draft, by="ann")
    assert len(caught.value.reasons) == 1
    draft.refresh_from_db()
    assert draft.is_draft
    prices.activate(draft, by="ann", confirmed=True)
    assert rate_of(PriceVersion.objects.get(status="active")).amount == Decimal("4.4")


def test_a_price_that_was_nothing_does_not_rise_unseen(active):
    prices.activate(edited("0"), by="ann", confirmed=True)
    with pytest.raises(prices.NeedsConfirmation):
        prices.activate(edited("0.01"), by="ann")


def test_a_unit_that_was_never_seen_needs_a_person_even_at_the_same_price(active):
    with pytest.raises(prices.NeedsConfirmation, match="never priced per 1000"):
        prices.activate(edited("0.003", unit_size=1000), by="ann")


def test_what_is_no_draft_cannot_be_activated(active):
    with pytest.raises(prices.NotADraft):
        prices.activate(active, by="ann")


def test_a_rate_that_goes_or_comes_is_in_the_diff(active):
    draft = prices.clone_to_draft(by="ann")
    rate_of(draft, "output").delete()
    new = rate_of(draft)
    new.pk, new.meter = None, "cache_read"
    new.save(force_insert=True)
    changes = {str(change).split(":")[0]: change for change in prices.diff(draft).changes}
    assert changes["maker.model output geo * default"].after is None
    assert changes["maker.model cache_read geo * default"].before is None
    assert len(changes) == 2


def test_an_unchanged_clone_changes_nothing(active):
    draft = prices.clone_to_draft(by="ann")
    assert prices.diff(draft) == prices.Diff(changes=(), reasons=())
    assert draft.sha256 == active.sha256


def test_two_edits_of_one_list_are_told_apart_in_the_ledger(active):
    one, two = edited("3.1"), edited("3.2")
    assert one.sha256 == two.sha256
    assert len({active.label, one.label, two.label}) == 3


def test_a_draft_can_be_thrown_away(active):
    prices.clone_to_draft(by="ann").delete()
    assert PriceVersion.objects.get() == active
    assert PriceRate.objects.count() == 2


@pytest.mark.skipif(connection.vendor != "postgresql", reason="row locks")
@pytest.mark.django_db(transaction=True)
def test_a_rate_saved_while_its_draft_is_activated_waits_and_is_refused():
    draft = prices.clone_to_draft(by="ann")
    rate = draft.rates.earliest("pk")

    def save() -> str:
        try:
            rate.save()
        except PriceFrozen:
            return "refused"
        finally:
            connections.close_all()
        return "saved"

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            prices.activate(draft, by="ann")
            saving = pool.submit(save)
            while not _waits_for_a_lock():
                assert not saving.done()
        assert saving.result(timeout=10) == "refused"


def _waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])
