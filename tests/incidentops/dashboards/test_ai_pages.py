"""What the pages show of the AI services, as the server renders it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from agents.models import AgentRun, AgentState, Evidence, Phase, PhaseRun, Response, ResponseState
from awsai import ledger, routes
from awsai.ledger import Attempt, Cost
from awsai.models import AwsCall
from awsai.ports import Usage
from awsai.router import Level, Request, Residency
from incidentops.incidents.models import Incident
from incidentops.realtime import events, topics
from incidentops.realtime.models import OutboxEvent
from tests.factories import make_incident, make_user

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SENTENCE = "The deploy of checkout made it slow."
WORDS = {
    "kind": "hypotheses",
    "sentences": [{"text": SENTENCE, "evidence": ["e1"]}],
    "dropped": 0,
    "provider": "emulator",
    "model": "amazon.nova-pro-v1:0",
    "call": 4,
    "decision": None,
    "notes": ["The guard found pii:EMAIL in the evidence."],
}


def record(incident: Incident, **fields: Any) -> AwsCall:
    given: dict[str, Any] = {
        "service": "bedrock-nova",
        "operation": "Converse",
        "provider": "emulator",
        "outcome": "succeeded",
        "started_at": AT,
        "latency_ms": 420,
        "cost": Cost(billed=0, list_price=3_000_250),
        "usage": Usage(tokens={"input": 1234, "output": 20}),
        "incident_number": incident.number,
        "agent": "diagnosis",
    }
    return ledger.record(**(given | fields))


def record_local(incident: Incident) -> AwsCall:
    cost = Cost(billed=0, list_price=0)
    return record(incident, service="local", operation="answer", provider="local", cost=cost)


def record_aws(incident: Incident, cost: int | None) -> AwsCall:
    return record(incident, provider="aws", cost=Cost(billed=cost, list_price=cost))


def make_finding(incident: Incident, *, agent: str = "diagnosis", **data: Any) -> Response:
    response, _ = Response.objects.get_or_create(
        incident=incident, defaults={"state": ResponseState.ESCALATED, "urgency": 1}
    )
    phase_run = PhaseRun.objects.create(response=response, phase=Phase(agent))
    finding = {"agent": agent, "summary": "Found.", "claims": [], "data": data, "unknown": []}
    AgentRun.objects.create(
        response=response,
        phase_run=phase_run,
        agent=agent,
        phase=agent,
        fence=1,
        state=AgentState.COMPLETED,
        finding=finding,
        started_at=AT,
        finished_at=AT,
    )
    return response


def make_evidence(response: Response, id_: str, **fields: Any) -> Evidence:
    given = {
        "agent": "diagnosis",
        "family": "history",
        "title": "A runbook",
        "source": "local",
        "data": {},
    }
    return Evidence.objects.create(pk=id_, response=response, **(given | fields))


def make_route(incident: Incident) -> int:
    return routes.decide(
        Request(task="hypotheses", severity="high", input_tokens=900, max_tokens=500),
        regions=["us-east-1"],
        residency=Residency(),
        level=Level.CHEAPEST,
        incident=incident.number,
    ).kept()


def text_of(path: str) -> str:
    """The page's markup with its white space folded."""
    client = Client()
    client.force_login(make_user("viewer"))
    answer = client.get(path)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.content.decode())


def section(incident: Incident, slug: str) -> str:
    text = text_of(f"/incidents/{incident.number}/")
    return text.partition(f'id="{slug}"')[2].partition("</section>")[0]


def transparency(incident: Incident) -> str:
    return text_of(f"/transparency?incident={incident.number}")


# --- Words ---------------------------------------------------------------------------------------


def test_words_are_shown_with_their_citations_author_and_notes() -> None:
    incident = make_incident()
    make_evidence(make_finding(incident, words=WORDS), "e1", kind="text")
    shown = section(incident, "findings")
    assert f'{SENTENCE} <a class="cite" href="#evidence-e1">E1</a>' in shown
    assert "Hypotheses in words" in shown
    assert "Emulator</span>" in shown
    assert "amazon.nova-pro-v1:0" in shown
    assert "The guard found pii:EMAIL in the evidence." in shown
    assert f'href="/transparency?incident={incident.number}#call-4"' in shown
    assert "dropped" not in shown


def test_dropped_sentences_are_counted() -> None:
    incident = make_incident()
    make_finding(incident, words=WORDS | {"dropped": 1})
    shown = section(incident, "findings")
    assert "1 sentence that cited no known evidence was dropped." in shown


def test_words_say_why_they_were_routed_as_they_were() -> None:
    incident = make_incident()
    decision = make_route(incident)
    make_finding(incident, words=WORDS | {"decision": decision})
    shown = section(incident, "findings")
    assert f"Route {decision}</a>: The budget is nearly used up: only the cheapest." in shown


def test_missing_words_are_shown_as_missing() -> None:
    incident = make_incident()
    missing = {"kind": "summary", "sentences": [], "missing": "The guard forbids it.", "notes": []}
    make_finding(incident, words=missing)
    shown = section(incident, "findings")
    assert "Nothing was written: The guard forbids it." in shown
    assert "How this came about" not in shown


def test_words_are_never_markup() -> None:
    incident = make_incident()
    sentence = {"text": "<img src=x onerror=alert(1)>", "evidence": []}
    make_finding(incident, words=WORDS | {"sentences": [sentence]})
    assert "<img src=x" not in text_of(f"/incidents/{incident.number}/")


@pytest.mark.parametrize(
    ("tone", "expected"),
    [
        ({"label": "mixed", "scores": {}, "provider": "aws"}, '<span class="tag">mixed</span>'),
        (None, "How the update sounds is not known."),
    ],
)
def test_the_tone_of_an_update_is_shown_or_unknown(tone: Any, expected: str) -> None:
    incident = make_incident()
    make_finding(incident, agent="communication", tone=tone)
    assert expected in section(incident, "findings")


def test_an_excerpt_links_to_paths_of_this_installation_alone() -> None:
    incident = make_incident()
    response = make_finding(incident)
    for number, uri in enumerate(["/incidents/3/", "https://wiki.example/x", "//evil.example/"]):
        rows = [{"text": f"Roll back first, says {number}.", "uri": uri}]
        make_evidence(response, f"e{number}", kind="excerpt", data={"rows": rows})
    shown = section(incident, "evidence")
    assert all(f"Roll back first, says {number}." in shown for number in range(3))
    assert '<a href="/incidents/3/">/incidents/3/</a>' in shown
    assert "From https://wiki.example/x" in shown
    assert 'href="//' not in shown
    assert 'href="https' not in shown


# --- Costs ---------------------------------------------------------------------------------------


def test_an_incident_about_which_nobody_was_asked_says_so() -> None:
    assert "No AI service has been asked about this incident" in section(make_incident(), "cost")


def test_local_calls_are_no_calls_of_aws() -> None:
    incident = make_incident()
    record_local(incident)
    shown = section(incident, "cost")
    assert "Local provider</span>" in shown
    assert "no AWS service was asked" in shown
    assert "List price" not in shown
    assert f'href="/transparency?incident={incident.number}"' in shown


def test_the_emulator_bills_nothing_and_has_a_list_price() -> None:
    incident = make_incident()
    record(incident)
    record(incident, outcome="throttled", cost=Cost(billed=0, list_price=1_000))
    shown = section(incident, "cost")
    assert "Emulator</span>" in shown
    assert '<span class="num">1</span> without success' in shown
    assert '<dt>Billed</dt><dd class="num">$0.00</dd>' in shown
    assert '<dt>List price</dt><dd class="num">$0.00300125</dd>' in shown
    assert "bills nothing" in shown


def test_calls_of_aws_are_billed() -> None:
    incident = make_incident()
    record_aws(incident, 350)
    record_local(incident)
    shown = section(incident, "cost")
    assert '<dt>Billed</dt><dd class="num">$0.00000035</dd>' in shown
    assert "Asked of AWS" in shown
    assert "no AWS service was asked" in shown


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([None], "price not known"),
        ([None, 2_000_000], "$0.002 and 1 call whose price is not known"),
        ([None, None, 0], "$0.00 and 2 calls whose price is not known"),
    ],
)
def test_an_unknown_price_is_never_nothing(costs: list[int | None], expected: str) -> None:
    incident = make_incident()
    for cost in costs:
        record_aws(incident, cost)
    assert f'<dt>Billed</dt><dd class="num">{expected}</dd>' in section(incident, "cost")
    assert "price not known" in transparency(incident)


# --- Calls and routes ----------------------------------------------------------------------------


def test_every_call_of_an_incident_is_listed_and_no_other() -> None:
    incident = make_incident()
    record(
        incident,
        model_requested="amazon.nova-pro-v1:0",
        first_token_ms=90,
        attempts=[
            Attempt(number=1, http_status=429, error="ThrottlingException", latency_ms=9),
            Attempt(number=2, http_status=None, error="ReadTimeoutError", latency_ms=300),
        ],
        usage=Usage(tokens={"input": 1234, "output": 20, "cache_read": 7}, confidence="estimated"),
        outcome="timeout",
    )
    record(make_incident(), model_requested="amazon.nova-lite-v1:0")
    shown = transparency(incident)
    assert "amazon.nova-pro-v1:0, asked for" in shown
    assert "1,234 in, 20 out, 7 cached" in shown
    assert "estimated</div>" in shown
    assert '<span class="tag bad">timeout</span>' in shown
    assert "429 ThrottlingException, 9 ms" in shown
    assert "no answer ReadTimeoutError, 300 ms" in shown
    assert '<td class="num">420 ms</td> <td class="num">90 ms</td>' in shown
    assert "amazon.nova-lite-v1:0" not in shown


def test_a_call_that_counts_no_tokens_shows_its_units() -> None:
    incident = make_incident()
    usage = Usage(units={"chars100": 3})
    record(incident, service="comprehend", operation="DetectSentiment", usage=usage)
    shown = transparency(incident)
    assert "chars100 3" in shown
    assert "0 in" not in shown


def test_the_list_of_calls_is_bounded_and_says_so(monkeypatch) -> None:
    monkeypatch.setattr("awsai.topics.CALLS_SHOWN", 2)
    incident = make_incident()
    oldest, *newest = [record(incident) for _ in range(3)]
    shown = transparency(incident)
    assert "The newest 2 of 3 calls" in shown
    assert f'id="call-{oldest.sequence}"' not in shown
    assert all(f'id="call-{call.sequence}"' in shown for call in newest)
    assert '<span class="num">3</span> calls' in shown


def test_a_route_shows_whom_it_chose_and_why_not_the_others() -> None:
    incident = make_incident()
    decision = make_route(incident)
    route = topics.snapshot(f"incident:{incident.number}")["ledger"]["routes"][0]
    shown = (
        transparency(incident).partition(f'id="route-{decision}"')[2].partition("</tbody> </t")[0]
    )
    assert route["chosen"] in shown
    assert "cheapest" in shown
    assert len(route["candidates"]) > 2
    for candidate in route["candidates"]:
        assert candidate["model"] in shown
        assert candidate["rejected"] in shown
    assert "budget: only the cheapest" in shown
    assert "latency, failures, quality assumed" in shown


def test_without_routes_the_page_says_so() -> None:
    incident = make_incident()
    make_finding(incident)
    assert "No model has been chosen for this incident yet." in transparency(incident)


def test_the_sums_by_service_are_those_of_all_incidents() -> None:
    incident = make_incident()
    record(incident)
    record(make_incident(), service="comprehend", operation="DetectSentiment")
    shown = transparency(incident).partition('id="ledger-title"')[2].partition("</section>")[0]
    assert "bedrock-nova" in shown
    assert "comprehend" in shown


def test_a_recorded_call_is_told_to_the_topic_of_its_incident() -> None:
    call = record(make_incident())
    record(make_incident(), incident_number=None)
    told = OutboxEvent.objects.get(type="awsai.call")
    assert told.version == call.sequence
    shown = list(topics.route(events.rebuild(told.type, told.data, told.version)))
    assert [name for name, _ in shown] == ["transparency", f"incident:{call.incident_number}"]
