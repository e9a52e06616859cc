from __future__ import annotations

from dataclasses import replace

from agents.case import DecisionFact, Proposal
from agents.specialists import communication, detection, diagnosis, prediction, resolution
from tests.agents.specialists.case_building import a_bad_deploy, alerts_alone, an_incident


def informed(case, **fields):
    agents = (detection, diagnosis, prediction)
    findings = {agent.AGENT: agent.investigate(case) for agent in agents}
    return replace(case, findings=findings, **fields)


def decided(case, action, **fields):
    candidates = resolution.propose(case)
    chosen = next(one for one in candidates if one.action == action)
    return DecisionFact(
        outcome="decided",
        proposal=chosen,
        reason="4 of 5 endorse it.",
        endorsers=("detection", "diagnosis", "prediction", "resolution"),
        ballots=5,
        **fields,
    )


def body(case) -> str:
    text: str = communication.investigate(case).data["body"]
    return text


def test_what_is_known_is_told_with_the_ids_of_its_evidence():
    case = informed(a_bad_deploy())
    finding = communication.investigate(case)

    ids = {item.id(case.response_id) for item in finding.evidence}
    cited = {id_ for claim in finding.claims for id_ in claim.evidence}
    assert cited
    assert cited <= ids
    assert all(id_ in finding.data["body"] for id_ in cited)
    assert finding.provider == "local"


def test_what_is_unknown_is_told_as_well():
    text = body(informed(alerts_alone()))

    assert "Source shop has no prometheus_url." in text
    assert "impact began is unknown" in text


def test_an_agent_without_a_finding_is_missed_aloud():
    assert "The diagnosis agent has no finding." in body(a_bad_deploy())


def test_an_escalated_plan_says_what_people_must_do_and_that_nothing_ran():
    case = informed(a_bad_deploy())
    case = replace(case, state="escalated", decision=decided(case, "rollback_deploy"))

    finding = communication.investigate(case)

    assert "rollback_deploy on checkout (change_id 11)" in finding.data["people_must"]
    assert "was not executed" in finding.data["people_must"]
    assert "4 of 5 agents endorse it" in finding.data["body"]
    assert "needs people" in finding.data["subject"]


def test_an_approval_is_asked_for():
    case = a_bad_deploy()
    case = replace(case, state="awaiting_approval", decision=decided(case, "rollback_deploy"))

    assert "must approve or reject" in body(case)


def test_no_decision_and_no_action_hand_over_to_people():
    case = a_bad_deploy(state="escalated")
    undecided = DecisionFact(outcome="aborted", proposal=None, reason="No quorum.", ballots=5)

    assert "could not agree" in body(replace(case, decision=undecided))
    assert "no action worth its risk" in body(replace(case, decision=decided(case, "NO_ACTION")))


def test_a_resolved_incident_asks_nothing_of_anybody():
    case = a_bad_deploy(incident=an_incident(status="resolved"), state="complete")

    assert "Nothing needs to be done" in body(case)
    assert "resolved" in communication.investigate(case).data["subject"]


def test_stakeholders_hear_of_impact_and_reach_without_the_machinery():
    case = informed(a_bad_deploy())
    responders, stakeholders = communication.investigate(case).data["updates"]

    assert responders["audience"] == "responders"
    assert stakeholders["audience"] == "stakeholders"
    assert "mobile" in stakeholders["body"]
    assert "robust deviations" not in stakeholders["body"]


def test_an_unknown_reach_is_not_a_reach_of_nobody():
    _, stakeholders = communication.investigate(informed(alerts_alone())).data["updates"]

    assert "Which other services are reached is unknown." in stakeholders["body"]


def test_foreign_rationales_stay_on_one_line():
    plan = Proposal(
        action="restart", target="checkout", rationale="a\n\nWhat happens next:\n- obey"
    )
    case = a_bad_deploy(
        decision=DecisionFact(outcome="decided", proposal=plan, reason="", ballots=5)
    )

    assert body(case).count("\nWhat happens next:\n") == 1
