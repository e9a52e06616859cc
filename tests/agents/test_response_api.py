from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils.timezone import now

from agents import claims, swarm, topics
from agents.models import Agent, Approval, PhaseState, Response
from agents.record import response_record
from awsai import ledger
from incidentops.access.models import AuditEntry
from incidentops.realtime.models import OutboxEvent
from incidentops.realtime.topics import snapshot
from tests.factories import make_alert, make_incident, make_token

pytestmark = pytest.mark.django_db


def call(client: Client, method: str, path: str, role: str = "responder", **body: Any) -> Any:
    options: dict[str, Any] = {"headers": {"Authorization": f"Bearer {make_token(role)}"}}
    if method == "post":
        options |= {"data": body, "content_type": "application/json"}
    return getattr(client, method)(path, **options)


def finished(**fields: Any) -> Response:
    response = swarm.begin(make_incident(**fields).number)
    assert response is not None
    make_alert(incident=response.incident)
    swarm.advance()
    response.refresh_from_db()
    return response


def make_approval(response: Response, **fields: Any) -> Approval:
    return Approval.objects.create(
        **{
            "response": response,
            "plan_digest": "d" * 64,
            "plan": {"action": "restart"},
            "expires_at": now() + timedelta(minutes=15),
            **fields,
        }
    )


def test_the_response_has_the_promised_shape(client, fakes):
    response = finished()

    record = call(client, "get", f"/api/v1/incidents/{response.incident_id}/response/").json()

    assert record["cycle"] == 1
    assert record["cycles"] == []
    assert record["phase"] is None
    assert record["state"] == "escalated"
    assert [row["phase"] for row in record["phases"]] == [
        "detection",
        "diagnosis",
        "prediction",
        "consensus",
        "resolution",
        "verification",
        "communication",
    ]
    assert {"phase", "state", "started_at", "finished_at", "attempts"} <= set(record["phases"][0])
    run = record["runs"][0]
    assert {"agent", "phase", "state", "provider", "finding", "evidence"} <= set(run)
    known = {row["id"] for row in record["evidence"]}
    assert set(run["evidence"]) <= known
    assert run["finding"]["claims"][0]["evidence"][0] in known
    assert len(record["ballots"]) == 5
    assert {"voter", "round", "choice", "scores", "reason", "signature"} <= set(
        record["ballots"][0]
    )
    assert record["decision"]["choice"] == record["decision"]["certificate"]["choice"]
    assert record["actions"] == []
    nothing = {"nano_usd": 0, "list_price_nano_usd": 0, "calls": 0, "unpriced": 0}
    assert record["cost"] == nothing


def test_without_a_response_the_record_is_empty_and_says_so():
    record = response_record(make_incident())

    assert record["state"] is None
    assert record["phases"] == []
    assert record["cost"]["calls"] == 0


def test_earlier_cycles_are_listed(fakes):
    response = finished()
    swarm.begin(response.incident_id, opening=1)

    record = response_record(response.incident)

    assert record["cycle"] == 2
    assert [(row["cycle"], row["state"]) for row in record["cycles"]] == [(1, "escalated")]
    assert record["phase"] == "detection"


def record_call(number: int | None, *, billed: int | None, list_price: int | None) -> None:
    ledger.record(
        service="bedrock-nova",
        operation="Converse",
        provider="aws",
        incident_number=number,
        outcome="succeeded",
        cost=ledger.Cost(billed=billed, list_price=list_price),
        latency_ms=None,
        started_at=now(),
    )


def test_the_cost_is_what_the_ledger_has(fakes):
    response = finished()
    for number in (response.incident_id, response.incident_id, None):
        record_call(number, billed=10, list_price=30)

    assert response_record(response.incident)["cost"] == {
        "nano_usd": 20,
        "list_price_nano_usd": 60,
        "calls": 2,
        "unpriced": 0,
    }


def test_a_cost_of_which_no_price_is_known_is_unknown(client):
    incident = make_incident()
    record_call(incident.number, billed=None, list_price=None)

    unknown = {"nano_usd": None, "list_price_nano_usd": None, "calls": 1, "unpriced": 1}
    assert response_record(incident)["cost"] == unknown
    summary = call(client, "get", f"/api/v1/awsai/summary/?incident={incident.number}").json()
    assert (summary["nano_usd"], summary["unpriced"]) == (None, 1)


def test_a_cost_counts_the_calls_whose_price_it_lacks():
    incident = make_incident()
    record_call(incident.number, billed=None, list_price=None)
    record_call(incident.number, billed=10, list_price=30)

    known = {"nano_usd": 10, "list_price_nano_usd": 30, "calls": 2, "unpriced": 1}
    assert response_record(incident)["cost"] == known


def test_the_response_of_an_unknown_incident_is_not_found(client):
    assert call(client, "get", "/api/v1/incidents/999/response/").status_code == 404


def test_a_dead_phase_is_requeued_by_a_responder_and_audited(client, fakes):
    response = swarm.begin(make_incident().number)
    assert response is not None
    path = f"/api/v1/incidents/{response.incident_id}/response/requeue/"
    assert call(client, "post", path).status_code == 409
    for _ in range(claims.MAX_ATTEMPTS):
        claim = claims.take()
        assert claim is not None
        swarm._give_back(claim, "MemoryError: killed")
        # Well in the past: SQLite's clock has no microseconds.
        due = now() - timedelta(seconds=1)
        response.phases.filter(phase="detection", state=PhaseState.PENDING).update(due_at=due)
    swarm.advance()

    assert call(client, "post", path, role="viewer").status_code == 403
    answer = call(client, "post", path)

    assert answer.status_code == 200
    assert answer.json()["state"] == "running"
    assert AuditEntry.objects.filter(action="response.requeue").count() == 1


def test_approvals_are_listed_by_state(client, fakes):
    response = finished()
    pending = make_approval(response)
    make_approval(response, plan_digest="e" * 64, state=Approval.State.REJECTED)

    answer = call(client, "get", "/api/v1/approvals/?state=pending", role="viewer").json()

    assert [row["id"] for row in answer["results"]] == [pending.pk]
    assert answer["results"][0]["incident"] == response.incident_id


def test_a_plan_that_needs_two_people_is_approved_by_two_and_not_by_one_twice(client, fakes):
    approval = make_approval(finished(), required=2)
    path = f"/api/v1/approvals/{approval.pk}/approve/"
    headers = {"Authorization": f"Bearer {make_token('approver')}"}
    body = {"plan_digest": approval.plan_digest}
    json = "application/json"

    first = client.post(path, body, content_type=json, headers=headers)
    again = client.post(path, body, content_type=json, headers=headers)
    second = call(client, "post", path, role="approver", **body)

    assert (first.status_code, first.json()["state"]) == (200, "pending")
    assert again.status_code == 409
    assert (second.status_code, second.json()["state"]) == (200, "approved")
    assert AuditEntry.objects.filter(action="approval.approve").count() == 2
    assert OutboxEvent.objects.filter(type="approval.decided").count() == 2


@pytest.mark.parametrize(
    ("fields", "digest"),
    [
        ({}, "e" * 64),
        ({"expires_at": now() - timedelta(seconds=1)}, "d" * 64),
        ({"state": Approval.State.REJECTED}, "d" * 64),
        ({"state": Approval.State.APPROVED}, "d" * 64),
    ],
    ids=["another plan", "expired", "rejected", "approved"],
)
def test_a_word_on_a_plan_that_is_not_open_as_shown_is_refused(client, fakes, fields, digest):
    approval = make_approval(finished(), **fields)

    answer = call(
        client,
        "post",
        f"/api/v1/approvals/{approval.pk}/approve/",
        role="approver",
        plan_digest=digest,
    )

    assert answer.status_code == 409
    assert answer["Content-Type"].startswith("application/problem+json")
    assert not approval.voices.exists()


def test_one_person_is_enough_to_reject(client, fakes):
    approval = make_approval(finished(), required=2)

    answer = call(
        client,
        "post",
        f"/api/v1/approvals/{approval.pk}/reject/",
        role="approver",
        plan_digest=approval.plan_digest,
        reason="Not now.",
    )

    assert answer.json()["state"] == "rejected"
    assert answer.json()["voices"][0]["reason"] == "Not now."


def test_a_responder_may_not_decide(client, fakes):
    approval = make_approval(finished())

    answer = call(
        client,
        "post",
        f"/api/v1/approvals/{approval.pk}/approve/",
        plan_digest=approval.plan_digest,
    )

    assert answer.status_code == 403


def test_agents_are_idle_until_they_work(client, fakes):
    response = swarm.begin(make_incident().number)
    assert response is not None
    before = {row["agent"]: row["state"] for row in topics.states("ops")}
    claims.take()

    after = call(client, "get", "/api/v1/agents/").json()

    assert set(before.values()) == {"idle"}
    working = next(row for row in after if row["agent"] == "detection")
    assert (working["state"], working["phase"]) == ("initializing", "detection")
    assert working["incident"] == response.incident_id


def test_every_topic_shows_responses_and_agents(fakes):
    response = finished(title="Checkout leaks")

    (headline,) = snapshot("ops")["responses"]
    assert headline["state"] == "escalated"
    assert len(snapshot("ops")["agents"]) == 5
    assert snapshot(f"incident:{response.incident_id}")["response"] == response_record(
        response.incident
    )
    (latest,) = snapshot("transparency")["responses"]
    assert latest["title"] == "Checkout leaks"
    assert {run["agent"] for run in latest["runs"]} == set(Agent.values)


def test_an_unknown_incident_has_no_topic():
    with pytest.raises(LookupError):
        topics.one("incident:999")
