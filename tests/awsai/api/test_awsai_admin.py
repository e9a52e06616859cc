from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from awsai import budgets, knowledge, ledger, prices, routes
from awsai.ledger import Attempt, Result
from awsai.models import (
    AwsCall,
    AwsCallIntent,
    Budget,
    CatalogueModel,
    Conversation,
    Knowledge,
    KnowledgeKind,
    MemoryEntry,
    Outcome,
    PriceRate,
    PriceVersion,
    RouteDecision,
    RouteOutcome,
    RouteWeights,
)
from awsai.models.budgets import BudgetScope
from awsai.models.routes import OutcomeKind
from awsai.router import Level, Request, Residency
from incidentops.access.models import AuditEntry
from tests.awsai.health.ledger_rows import make_call
from tests.factories import make_incident

pytestmark = pytest.mark.django_db
NOVA_LITE = "amazon.nova-lite-v1:0"
MODELS = (
    AwsCall,
    AwsCallIntent,
    Budget,
    CatalogueModel,
    Conversation,
    Knowledge,
    MemoryEntry,
    PriceRate,
    PriceVersion,
    RouteDecision,
    RouteOutcome,
    RouteWeights,
)


def url(model: type[Model], page: str, *args: Any) -> str:
    return reverse(f"admin:awsai_{model._meta.model_name}_{page}", args=args)


def act(client: Client, model: type[Model], action: str, *rows: Model, **more: str) -> Any:
    data = {"action": action, "_selected_action": [row.pk for row in rows], **more}
    return client.post(url(model, "changelist"), data, follow=True)


def decide() -> RouteDecision:
    route = routes.decide(
        Request(task="summary", severity="medium", input_tokens=100, max_tokens=100),
        regions=["us-east-1"],
        residency=Residency(reach="global", region="us-east-1"),
        level=Level.NORMAL,
    )
    return RouteDecision.objects.get(pk=route.kept())


def one_of_each() -> dict[type[Model], Model]:
    decision = decide()
    routes.report_outcome(
        decision.pk, model=decision.chosen, kind=OutcomeKind.SCHEMA_VALID, is_good=True
    )
    make_call(
        route_decision=decision.pk,
        attempts=[Attempt(number=1, http_status=None, error="ReadTimeoutError", latency_ms=9)],
    )
    ledger.intend(service="comprehend", operation="DetectSentiment", provider="aws")
    budgets.set_limit(BudgetScope.DAY, 5, by="ada")
    knowledge.learn(KnowledgeKind.RUNBOOK, "pool", title="Pool", text="Restart the pooler.")
    MemoryEntry.objects.create(memory_id="m", session_id="s", at=now())
    Conversation.objects.create(incident=make_incident(), cycle=0, memory_id="m")
    return {model: model._default_manager.latest("pk") for model in MODELS}


def last_audit() -> tuple[str, str, str]:
    entry = AuditEntry.objects.latest("sequence")
    return entry.actor, entry.action, entry.target


# --- Reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_staff_can_list_search_and_read_what_they_cannot_rewrite(staff, model):
    row = one_of_each()[model]
    client = staff()
    assert client.get(url(model, "changelist"), {"q": "1"}).status_code == 200
    page = client.get(url(model, "change", row.pk))
    assert page.status_code == 200
    assert b'name="_save"' not in page.content
    assert client.post(url(model, "change", row.pk), {}).status_code == 403


@pytest.mark.parametrize("model", sorted(set(MODELS) - {Knowledge}, key=str))
def test_nothing_but_knowledge_can_be_deleted(staff, model):
    row = one_of_each()[model]
    assert staff().post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("model", MODELS)
def test_auditors_see_everything_and_change_nothing(staff, model):
    row = one_of_each()[model]
    client = staff("auditor")
    assert client.get(url(model, "change", row.pk)).status_code == 200
    assert client.get(url(model, "add")).status_code == 403
    assert client.post(url(model, "add"), {}).status_code == 403


def test_a_call_leads_to_its_attempts_and_its_route(staff):
    rows = one_of_each()
    call, decision = rows[AwsCall], rows[RouteDecision]
    page = staff().get(url(AwsCall, "change", call.pk)).content.decode()
    assert "ReadTimeoutError" in page
    assert f'href="{url(RouteDecision, "change", decision.pk)}"' in page


def test_a_route_shows_its_candidates_and_why_they_were_rejected(staff):
    decision = decide()
    page = staff().get(url(RouteDecision, "change", decision.pk)).content.decode()
    rejected = next(one for one in decision.candidates if one["rejected"])
    assert decision.chosen in page
    assert f"<td>{rejected['model']}</td>" in page


def test_only_calls_without_a_row_are_listed_as_open(staff):
    opened = ledger.intend(service="comprehend", operation="DetectEntities", provider="aws")
    ledger.intend(service="comprehend", operation="DetectSentiment", provider="aws").settle(
        Result(outcome=Outcome.SUCCEEDED)
    )
    page = staff().get(url(AwsCallIntent, "changelist")).content.decode()
    assert str(opened.intent.pk) in page
    assert "DetectSentiment" not in page


# --- Limits and weights ------------------------------------------------------------------------


def test_adding_a_budget_sets_the_limit(staff):
    client = staff()
    for limit in (10, 20):
        answer = client.post(
            url(Budget, "add"), {"scope": "incident", "limit_nano_usd": limit, "note": "agreed"}
        )
        assert answer.status_code == 302
    assert budgets.limits() == {"incident": 20}
    assert Budget.objects.count() == 2
    assert last_audit() == ("root", "budget.set", "budget:incident")
    page = client.get(url(Budget, "change", Budget.objects.latest("pk").pk)).content.decode()
    assert "root" in page


def test_a_negative_limit_is_refused_by_its_field(staff):
    page = staff().post(url(Budget, "add"), {"scope": "day", "limit_nano_usd": -1})
    assert page.status_code == 200
    assert not Budget.objects.exists()


def test_adding_weights_changes_what_the_router_weighs_by(staff):
    asked = {
        "severity": "low",
        "usd_per_second": "0.5",
        "usd_per_failure": "3",
        "source": "as agreed",
    }
    assert staff().post(url(RouteWeights, "add"), asked).status_code == 302
    assert routes.weights("low").usd_per_failure == 3
    assert last_audit() == ("root", "route.weigh", "severity:low")


def test_a_severity_nobody_knows_has_no_weights(staff):
    asked = {"severity": "odd", "usd_per_second": "1", "usd_per_failure": "1", "source": "x"}
    assert staff().post(url(RouteWeights, "add"), asked).status_code == 200
    assert not RouteWeights.objects.filter(severity="odd").exists()


# --- Prices ------------------------------------------------------------------------------------


def active() -> PriceVersion:
    return PriceVersion.objects.get(status="active")


def rate_of(version: PriceVersion) -> PriceRate:
    return version.rates.get(
        sku=NOVA_LITE, meter="input", scope="in-region", tier="default", region="us-east-1"
    )


def edit(client: Client, rate: PriceRate, **changes: str) -> Any:
    names = (
        *("service", "region", "scope", "sku", "meter", "tier", "min_input_tokens", "unit_size"),
        *("amount", "currency", "effective_from", "confidence", "source_url", "note"),
    )
    return client.post(
        url(PriceRate, "change", rate.pk), {name: getattr(rate, name) for name in names} | changes
    )


def confirm(client: Client, draft: PriceVersion, **more: str) -> Any:
    page = act(client, PriceVersion, "activate", draft).content.decode()
    found = re.search(r'name="shown" value="(\w+)"', page)
    assert found
    return act(client, PriceVersion, "activate", draft, shown=found[1], **more)


def test_the_list_in_force_is_cloned_edited_shown_and_activated(staff):
    client, before = staff(), active()
    act(client, PriceVersion, "clone", before)
    draft = PriceVersion.objects.get(status="draft")
    assert edit(client, rate_of(draft), amount="0.066").status_code == 302
    assert last_audit() == ("root", "price.edit", f"price:{draft.label}")
    page = act(client, PriceVersion, "activate", draft).content.decode()
    assert "0.06 USD per 1000000 -&gt; 0.066 USD per 1000000" in page
    assert 'name="confirmed"' not in page
    assert active() == before
    confirm(client, draft)
    assert active() == draft
    assert last_audit() == ("root", "price.activate", f"price:{draft.label}")


def test_a_large_change_needs_a_tick(staff):
    client, before = staff(), active()
    draft = prices.clone_to_draft(by="ada")
    edit(client, rate_of(draft), amount="0.6")
    page = confirm(client, draft).content.decode()
    assert "by more than a fifth" in page
    assert "Tick that you have looked" in page
    assert active() == before
    confirm(client, draft, confirmed="on")
    assert active() == draft


def test_a_draft_that_changed_after_it_was_shown_is_shown_again(staff):
    client, before = staff(), active()
    draft = prices.clone_to_draft(by="ada")
    page = act(client, PriceVersion, "activate", draft, shown="of another time", confirmed="on")
    assert "has changed since" in page.content.decode()
    assert active() == before


def test_only_drafts_are_activated_and_only_the_list_in_force_is_cloned(staff):
    client = staff()
    draft = prices.clone_to_draft(by="ada")
    assert "Select one draft" in act(client, PriceVersion, "activate", active()).content.decode()
    assert "Select the list in force" in act(client, PriceVersion, "clone", draft).content.decode()
    assert PriceVersion.objects.filter(status="draft").count() == 1


def test_rates_are_added_to_drafts_and_taken_from_them_alone(staff):
    client = staff()
    billing = rate_of(active())
    assert edit(client, billing, amount="1").status_code == 403
    assert client.post(url(PriceRate, "delete", billing.pk), {"post": "yes"}).status_code == 403
    page = client.get(url(PriceRate, "add")).content.decode()
    assert active().label not in page
    draft = prices.clone_to_draft(by="ada")
    gone = rate_of(draft)
    assert client.post(url(PriceRate, "delete", gone.pk), {"post": "yes"}).status_code == 302
    assert not PriceRate.objects.filter(pk=gone.pk).exists()
    assert last_audit() == ("root", "price.delete", f"price:{draft.label}")
    billing.refresh_from_db()
    assert billing.amount == Decimal("0.06")


def test_two_rates_of_one_name_cannot_hold_on_one_day(staff):
    draft = prices.clone_to_draft(by="ada")
    rate = rate_of(draft)
    other = draft.rates.get(
        sku=NOVA_LITE, meter="output", scope="in-region", tier="default", region="us-east-1"
    )
    page = edit(staff(), other, meter=rate.meter, effective_from="2020-01-01")
    assert page.status_code == 200
    assert "Another rate of the same name" in page.content.decode()


# --- Models and knowledge ----------------------------------------------------------------------


def test_a_sync_on_request_is_done_and_audited(staff, emulator):
    model = CatalogueModel.objects.get(model_id=NOVA_LITE)
    page = act(staff(), CatalogueModel, "sync", model).content.decode()
    assert "no longer listed" in page
    model.refresh_from_db()
    assert model.onboarding == "known"
    assert last_audit() == ("root", "catalogue.sync", "catalogue")


def test_a_sync_that_fails_says_why(staff, emulator):
    emulator.inject(
        "error", operation="ListFoundationModels", code="AccessDeniedException", status=403
    )
    page = act(staff(), CatalogueModel, "sync", CatalogueModel.objects.latest("pk"))
    assert "The catalogue was not synced" in page.content.decode()


def test_no_sync_is_offered_where_nobody_can_be_asked(staff):
    page = staff().get(url(CatalogueModel, "changelist")).content.decode()
    assert "Sync the whole catalogue" not in page


def test_knowledge_is_added_found_and_forgotten(staff):
    client = staff()
    asked = {"kind": "runbook", "ref": "pool", "title": "Pool", "text": "Restart the pooler."}
    assert client.post(url(Knowledge, "add"), asked).status_code == 302
    assert len(knowledge.search("pooler", 5)) == 1
    assert last_audit() == ("root", "knowledge.learn", "knowledge:runbook:pool")
    row = Knowledge.objects.get()
    assert client.post(url(Knowledge, "delete", row.pk), {"post": "yes"}).status_code == 302
    assert knowledge.search("pooler", 5) == ()
    assert last_audit() == ("root", "knowledge.forget", "knowledge:runbook:pool")


def test_many_documents_are_forgotten_at_once_and_each_is_audited(staff):
    rows = [
        knowledge.learn(KnowledgeKind.PAGE, ref, title=ref, text=f"the word {ref}") for ref in "ab"
    ]
    act(staff(), Knowledge, "delete_selected", *rows, post="yes")
    assert not Knowledge.objects.exists()
    assert AuditEntry.objects.filter(action="knowledge.forget").count() == 2
    assert knowledge.search("word", 5) == ()
