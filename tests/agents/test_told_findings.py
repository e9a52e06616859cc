"""What the agents found is told to whoever is asked about an incident."""

from __future__ import annotations

from typing import Any

import pytest

from agents.models import AgentRun, Decision, PhaseRun, Response
from incidentops.incidents import briefing
from tests.factories import make_incident

pytestmark = pytest.mark.django_db


def make_response(cycle: int = 1, **fields: Any) -> Response:
    return Response.objects.create(
        **{"incident": make_incident(), "cycle": cycle, "urgency": 1, **fields}
    )


def make_run(
    response: Response, *, fence: int = 1, phase: str = "diagnosis", **finding: Any
) -> AgentRun:
    phase_run, _ = PhaseRun.objects.get_or_create(response=response, phase=phase)
    return AgentRun.objects.create(
        response=response,
        phase_run=phase_run,
        agent="diagnosis",
        phase=phase,
        fence=fence,
        state="completed",
        provider="local",
        finding=finding or None,
    )


def told(response: Response) -> dict[str, briefing.Fact]:
    facts = briefing.facts(response.incident)
    return {fact.id: fact for fact in facts if fact.id.startswith(("finding-", "decision"))}


def test_the_last_finding_of_an_agent_is_told_in_words_that_people_ask_by():
    response = make_response()
    make_run(response, summary="Unsure.")
    run = make_run(
        response, fence=2, summary="First suspect: checkout.", claims=[{"text": "It was deployed."}]
    )
    make_run(response, fence=3)
    (fact,) = told(response).values()
    assert fact.id == f"finding-{run.pk}"
    assert fact.text == "The likely cause: First suspect: checkout.\nIt was deployed."
    assert (fact.source, fact.lasts) == ("finding of diagnosis", True)
    assert fact.uri == f"/incidents/{response.incident_id}/#findings"


def test_only_the_latest_response_is_told_with_its_decision():
    first = make_response()
    make_run(first, summary="Of the first response.")
    second = make_response(2, incident=first.incident)
    assert told(second) == {}
    Decision.objects.create(
        response=second, outcome="aborted", round=1, reason="Nobody agreed.", certificate={}
    )
    make_run(second, phase="consensus", summary="Of the second response.")
    facts = told(second)
    assert facts.pop("decision").text == "The agents' decision: Nobody agreed."
    (fact,) = facts.values()
    assert "Of the second response." in fact.text
    assert fact.source == "finding of diagnosis in consensus"


def test_an_incident_without_a_response_tells_of_none():
    assert not [one for one in briefing.facts(make_incident()) if one.id.startswith("finding-")]
