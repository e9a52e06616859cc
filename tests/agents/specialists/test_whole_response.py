"""The five real specialists through a whole response, from rows to the update people get."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import mail
from django.utils.timezone import now

from agents import swarm
from agents.models import AgentRun, AgentState, Evidence, Response, ResponseState
from tests.agents.specialists.storefront import stock
from tests.factories import make_alert, make_incident

pytestmark = pytest.mark.django_db


def a_bad_deploy() -> Response:
    stock()
    incident = make_incident(
        title="Checkout fails",
        service="checkout",
        severity="critical",
        detected_at=now() - timedelta(minutes=18),
    )
    make_alert(incident=incident, service="checkout", at=now() - timedelta(minutes=18))
    response = swarm.begin(incident.number)
    assert response is not None
    return response


def test_a_bad_deploy_ends_with_its_rollback_recommended_to_people():
    response = a_bad_deploy()

    swarm.advance()

    response.refresh_from_db()
    assert response.state == ResponseState.ESCALATED
    assert response.decision.outcome == "decided"
    chosen = response.candidates.get(digest=response.decision.choice)
    assert (chosen.action, chosen.target) == ("rollback_deploy", "checkout")
    runs = AgentRun.objects.filter(response=response)
    assert set(runs.values_list("state", flat=True)) == {AgentState.COMPLETED}
    findings = [run.finding for run in runs if run.finding]
    assert {finding["agent"] for finding in findings} >= {"detection", "diagnosis", "prediction"}
    assert all(finding["dropped_claims"] == 0 for finding in findings)
    stored = set(Evidence.objects.filter(response=response).values_list("pk", flat=True))
    assert set(chosen.content["evidence"]) <= stored


def test_people_get_the_update_the_communication_agent_wrote():
    a_bad_deploy()

    swarm.advance()

    (message, *_) = [one for one in mail.outbox if "What is known" in str(one.body)]
    assert "rollback_deploy on checkout" in str(message.body)
    assert "was not executed" in str(message.body)
    assert "checkout 2.4.0" in str(message.body)


def test_an_alert_nobody_knows_anything_about_is_left_to_people():
    incident = make_incident(title="Something", service="stranger")
    make_alert(incident=incident, service="stranger")
    response = swarm.begin(incident.number)
    assert response is not None

    swarm.advance()

    response.refresh_from_db()
    assert response.state == ResponseState.ESCALATED
    chosen = response.candidates.get(digest=response.decision.choice)
    assert chosen.action == "NO_ACTION"


def test_the_closing_update_tells_the_recovery_and_promises_no_other():
    incident = make_incident(title="Checkout fails", service="checkout")
    make_alert(incident=incident, service="checkout", status="resolved")
    response = swarm.begin(incident.number)
    assert response is not None

    swarm.advance()

    response.refresh_from_db()
    assert response.state == ResponseState.COMPLETE
    (message, *_) = [one for one in mail.outbox if "What is known" in str(one.body)]
    told = str(message.body)
    assert "The disturbance is over" in told
    assert "The response is complete; nothing more is planned." in told
    assert "another update follows" not in told
