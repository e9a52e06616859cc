from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils.timezone import now

from awsai import budgets, gateway, prices, routes
from awsai.gateway import Asker
from awsai.models import Budget, CatalogueModel, PriceRate, PriceVersion
from awsai.models.routes import OutcomeKind
from awsai.ports import Passage, Question, Usage
from awsai.router import Level, Request, Residency
from incidentops.access.models import AuditEntry
from tests.awsai.health.ledger_rows import make_call

pytestmark = pytest.mark.django_db
JSON = "application/json"


def is_problem(answer: Any, status: int, *fields: str) -> bool:
    return (
        answer.status_code == status
        and answer.headers["Content-Type"] == "application/problem+json"
        and set(answer.json().get("errors", {})) == set(fields)
    )


# --- Prices ------------------------------------------------------------------------------------


def test_the_list_in_force_is_told_whole_and_can_be_recomputed_from(api):
    rows = api("viewer").get("/api/v1/awsai/prices/").json()
    active = PriceVersion.objects.get(status="active")
    assert len(rows) == active.rates.count() > 100
    assert {row["version"] for row in rows} == {active.label}
    nova = [row for row in rows if row["sku"] == "amazon.nova-lite-v1:0"]
    (row,) = [
        row
        for row in nova
        if (row["meter"], row["scope"], row["tier"]) == ("input", "in-region", "default")
    ]
    assert (row["amount_usd"], row["unit_size"], row["min_input_tokens"]) == ("0.06", 1_000_000, 0)
    assert row["source"]
    assert row["confidence"] in ("verified", "third_party", "estimated")
    assert row["region"] == "us-east-1"


def test_amounts_are_written_out_in_full(api):
    draft = prices.clone_to_draft(by="ada")
    PriceRate.objects.filter(
        version=draft, sku="amazon.nova-lite-v1:0", meter="input", tier="default"
    ).update(amount=Decimal("0.0000000007"))
    prices.activate(draft, by="ada", confirmed=True)
    rows = api("viewer").get(
        "/api/v1/awsai/prices/?sku=amazon.nova-lite-v1:0&meter=input&tier=default"
    )
    assert {row["amount_usd"] for row in rows.json()} == {"0.0000000007"}


def test_drafts_and_retired_lists_are_not_prices(api):
    PriceVersion.objects.filter(status="active").update(status="retired")
    assert api("viewer").get("/api/v1/awsai/prices/").json() == []


# --- Budgets -----------------------------------------------------------------------------------


def test_every_scope_is_listed_and_one_without_a_limit_says_null(api):
    rows = api("viewer").get("/api/v1/awsai/budgets/").json()
    assert [row["scope"] for row in rows] == ["day", "incident", "run", "critical"]
    assert {row["limit_nano_usd"] for row in rows} == {None}
    assert [row["spent_nano_usd"] for row in rows] == [0, None, None, 0]


def test_setting_a_limit_is_audited_and_the_one_before_stays(api):
    client = api("admin")
    client.put("/api/v1/awsai/budgets/", {"scope": "day", "limit_nano_usd": 5_000}, JSON)
    asked = {"scope": "day", "limit_nano_usd": 7_000, "note": "as agreed"}
    answer = client.put("/api/v1/awsai/budgets/", asked, JSON)
    assert answer.status_code == 200
    assert answer.json()["limit_nano_usd"] == 7_000
    assert [row["limit_nano_usd"] for row in answer.json()["history"]] == [7_000, 5_000]
    assert budgets.limits() == {"day": 7_000}
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.action, entry.target) == ("budget.set", "budget:day")
    assert entry.actor == answer.json()["history"][0]["set_by"]


def test_what_is_spent_and_reserved_today_is_shown(api):
    first, second = (
        budgets.Claim(amount=300, day=now().date()),
        budgets.Claim(amount=50, day=now().date(), incident=7),
    )
    held, _ = budgets.reserve([first, second])
    assert isinstance(held, budgets.Reservation)
    budgets.settle([(held, 100)])
    day = api("viewer").get("/api/v1/awsai/budgets/").json()[0]
    assert (day["spent_nano_usd"], day["reserved_nano_usd"]) == (100, 50)


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({}, ("scope", "limit_nano_usd")),
        ({"scope": "year", "limit_nano_usd": 1}, ("scope",)),
        ({"scope": "day", "limit_nano_usd": -1}, ("limit_nano_usd",)),
        ({"scope": "day", "limit_nano_usd": 10**19}, ("limit_nano_usd",)),
        ({"scope": "day", "limit_nano_usd": 1, "note": "x" * 201}, ("note",)),
    ],
)
def test_a_wrong_limit_is_refused_by_its_field(api, asked, fields):
    assert is_problem(api("admin").put("/api/v1/awsai/budgets/", asked, JSON), 400, *fields)
    assert not Budget.objects.exists()


def test_limits_are_for_administrators(api):
    asked = {"scope": "day", "limit_nano_usd": 1}
    assert is_problem(api("approver").put("/api/v1/awsai/budgets/", asked, JSON), 403)


# --- Routes ------------------------------------------------------------------------------------


def decide(incident: int | None) -> int:
    route = routes.decide(
        Request(task="summary", severity="medium", input_tokens=100, max_tokens=100),
        regions=["us-east-1"],
        residency=Residency(reach="global", region="us-east-1"),
        level=Level.NORMAL,
        incident=incident,
        run="run:3",
    )
    return route.kept()


def test_a_route_is_told_with_its_candidates_reasons_and_outcomes(api):
    decision = decide(7)
    decide(8)
    client = api("auditor")
    (row,) = client.get("/api/v1/awsai/routes/?incident=7").json()["results"]
    chosen = row["candidates"][0]
    assert (row["id"], row["incident"], row["run"], row["task"]) == (
        decision,
        7,
        "run:3",
        "summary",
    )
    assert (chosen["model"], chosen["order"]) == (row["chosen"], 1)
    assert any(one["rejected"] for one in row["candidates"])
    assert row["reason"]
    assert row["outcomes"] == []
    routes.report_outcome(
        decision, model=row["chosen"], kind=OutcomeKind.SCHEMA_VALID, is_good=False
    )
    (row,) = client.get("/api/v1/awsai/routes/?incident=7").json()["results"]
    (outcome,) = row["outcomes"]
    assert (outcome["model"], outcome["kind"], outcome["is_good"]) == (
        row["chosen"],
        "schema_valid",
        False,
    )


def test_outcomes_are_read_at_once_for_all_routes(api, django_assert_max_num_queries):
    for incident in range(5):
        decide(incident)
    client = api("auditor")
    with django_assert_max_num_queries(6):
        assert len(client.get("/api/v1/awsai/routes/").json()["results"]) == 5


def test_routes_without_an_incident_are_for_auditors_and_filters_are_checked(api):
    about, other = decide(7), decide(None)

    def seen(role: str) -> set[int]:
        rows = api(role).get("/api/v1/awsai/routes/").json()["results"]
        return {row["id"] for row in rows}

    assert seen("responder") == {about}
    assert seen("auditor") == {about, other}
    assert is_problem(api("auditor").get("/api/v1/awsai/routes/?incident=x"), 400, "incident")


def test_a_question_can_be_followed_from_its_route_to_its_calls(api, emulator):
    question = Question(
        task="summary", instruction="Sum up", passages=(Passage(id="a", text="the pool is full"),)
    )
    reply = gateway.ask(question, asker=Asker(incident=7, agent="diagnosis", run_ref="run:3"))
    client = api("auditor")
    (route,) = client.get("/api/v1/awsai/routes/?incident=7").json()["results"]
    calls = client.get("/api/v1/awsai/calls/?incident=7").json()["results"]
    assert route["id"] == reply.decision
    assert reply.decision in {call["route_decision"] for call in calls}


# --- Models ------------------------------------------------------------------------------------


def test_the_catalogue_says_how_long_a_model_lives(api):
    soon, ended = CatalogueModel.objects.order_by("model_id")[:2]
    for model, days in ((soon, 30), (ended, -1)):
        CatalogueModel.objects.filter(pk=model.pk).update(eol_at=now() + timedelta(days=days))
    page = api("viewer").get("/api/v1/awsai/models/?page_size=200").json()["results"]
    rows = {row["model_id"]: row for row in page}
    assert len(rows) == CatalogueModel.objects.count()
    assert rows[soon.model_id]["ending_soon"]
    assert rows[ended.model_id]["lifecycle"] == "eol"
    assert not rows[ended.model_id]["ending_soon"]
    assert {row["onboarding"] for row in page} == {"unknown"}
    assert list(rows) == sorted(rows)


# --- Services and spans ------------------------------------------------------------------------


def test_services_are_told_with_figures_and_standing(api):
    make_call(outcome="timeout", error_code="ModelTimeoutException")
    rows = api("viewer").get("/api/v1/awsai/services/").json()
    assert [row["service"] for row in rows][-1] == "local"
    claude = rows[0]
    assert claude["last_24_hours"] == claude["all_time"]
    assert claude["all_time"]["success_rate"]["value"] == 0
    assert claude["last_error"]["code"] == "ModelTimeoutException"
    assert claude["onboarding"] == {
        "state": "not_used",
        "reason": "IOP_AWSAI is local: nobody at AWS is asked.",
        "missing": [],
    }


def test_a_call_is_told_in_the_words_of_opentelemetry(api):
    call = make_call(
        operation="ConverseStream",
        usage=Usage(tokens={"input": 10, "output": 2, "cache_read": 5, "cache_write_5m": 3}),
        model_requested="us.m",
        model_invoked="us.m",
        request_id="r1",
        stop_reason="end_turn",
        first_token_ms=120,
        agent="diagnosis",
        region="us-east-1",
    )
    client = api("auditor")
    span = client.get(f"/api/v1/awsai/calls/{call.sequence}/otel/").json()
    assert (span["name"], span["kind"], span["duration_ms"]) == ("chat us.m", "CLIENT", 400)
    assert (
        span["attributes"].items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "aws.bedrock",
            "gen_ai.agent.name": "diagnosis",
            "gen_ai.request.model": "us.m",
            "gen_ai.request.stream": True,
            "gen_ai.response.model": "us.m",
            "gen_ai.response.time_to_first_chunk": 0.12,
            "gen_ai.usage.input_tokens": 18,
            "gen_ai.usage.output_tokens": 2,
            "gen_ai.usage.cache_read.input_tokens": 5,
            "gen_ai.usage.cache_creation.input_tokens": 3,
            "aws.request_id": "r1",
            "cloud.region": "us-east-1",
            "incidentops.provider": "emulator",
            "incidentops.cost.list_price_nano_usd": 3_000,
        }.items()
    )
    assert span["attributes"]["gen_ai.response.finish_reasons"] == ["end_turn"]
    assert "error.type" not in span["attributes"]
    assert client.get("/api/v1/awsai/calls/99/otel/").status_code == 404
