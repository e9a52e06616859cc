"""Tell people what is known, what is not, and what they must do."""

from __future__ import annotations

from agents.case import NO_ACTION, Case, Claim, EvidenceItem, Finding, Opinion, Proposal
from agents.specialists import surroundings
from agents.specialists.judgement import RISK, abstention, opinion, touched
from agents.specialists.wording import cleaned, clock, counted, listed, quoted

AGENT = "communication"
RESPONDERS, STAKEHOLDERS = "responders", "stakeholders"
MOST_CLAIMS = 6
MOST_UNKNOWN = 8
# Findings by name; every response has the first three.
ORDER = ("detection", "diagnosis", "prediction", "verification")
SEVERITY = {"critical": 1.0, "high": 0.75, "medium": 0.45, "low": 0.2}
MANY_DEPENDENTS = 5


def investigate(case: Case) -> Finding:
    """Write the updates from the other agents' findings and the decision, and nothing else.

    `data` has the responders' `subject`, `body` and `audience`, and all `updates` in that form.
    """
    evidence, claims = _known(case)
    updates = [
        {"audience": RESPONDERS, "subject": _subject(case), "body": _for_responders(case, claims)},
        {"audience": STAKEHOLDERS, "subject": _subject(case), "body": _for_stakeholders(case)},
    ]
    people_must = _people_must(case)
    return Finding(
        agent=AGENT,
        summary=f"Update for responders and stakeholders: {_standing(case)} {people_must}".strip(),
        claims=tuple(claims),
        evidence=tuple(evidence),
        data={**updates[0], "updates": updates, "people_must": people_must},
        unknown=_unknown(case),
    )


def assess(case: Case, proposals: tuple[Proposal, ...]) -> Opinion:
    """Impact on people: the more of them suffer, the more a safe action is worth."""
    if case.alerts and not any(alert.status == "firing" for alert in case.alerts):
        return opinion(
            proposals,
            lambda _: -1.0,
            reason="Monitoring reports nothing firing, so nobody is known to suffer.",
            families=("alerts",),
        )
    if not surroundings.is_graph_known(case):
        return abstention(proposals, "Who depends on what is affected is unknown to me.")
    affected = surroundings.involved(case)
    reached = surroundings.dependents(case, affected)
    severity = SEVERITY.get(case.incident.severity, 0.45)
    impact = 0.6 * severity + 0.4 * min(1.0, len(reached) / MANY_DEPENDENTS)
    concerned = {*affected, *reached, *_beneath(case, affected)}

    def speaks_for(proposal: Proposal) -> float:
        if not touched(proposal) & concerned:
            return -0.5
        return 1.4 * impact - 0.5 - RISK.get(proposal.risk, RISK["high"])

    return opinion(
        proposals,
        speaks_for,
        reason=f"The incident is {case.incident.severity} and "
        f"reaches {counted(len(reached), 'service')} beyond {listed(affected)}.",
        families=("alerts", "topology") if case.alerts else ("topology",),
    )


def _beneath(case: Case, services: tuple[str, ...]) -> set[str]:
    graph = surroundings.callees(case)
    return {callee for service in services for callee in graph.get(service, ())}


def _known(case: Case) -> tuple[list[EvidenceItem], list[Claim]]:
    """The other agents' claims that rest on evidence at hand, and that evidence."""
    items: dict[str, EvidenceItem] = {}
    claims = []
    for agent in ORDER:
        finding = case.findings.get(agent)
        if finding is None:
            continue
        its = {item.id(case.response_id): item for item in finding.evidence}
        supported = [c for c in finding.claims if c.evidence and set(c.evidence) <= its.keys()]
        for claim in supported[:MOST_CLAIMS]:
            items |= {id_: its[id_] for id_ in claim.evidence}
            claims.append(
                Claim(
                    text=cleaned(claim.text, 600),
                    evidence=claim.evidence,
                    confidence=claim.confidence,
                )
            )
    return list(items.values()), claims


def _unknown(case: Case) -> tuple[str, ...]:
    said = [
        cleaned(sentence, 400)
        for agent in ORDER
        if (finding := case.findings.get(agent))
        for sentence in finding.unknown
    ]
    absent = [agent for agent in ORDER[:3] if agent not in case.findings]
    said += [f"The {agent} agent has no finding." for agent in absent]
    return tuple(dict.fromkeys(said))


def _subject(case: Case) -> str:
    incident = case.incident
    return cleaned(
        f"[{incident.severity}] Incident #{incident.number} {_state(case)}: {incident.title}", 200
    )


def _state(case: Case) -> str:
    if case.incident.status in ("resolved", "closed"):
        return "resolved"
    if _is_closing(case):
        return "response complete"
    return {
        "awaiting_approval": "waits for approval",
        "escalated": "needs people",
        "failed": "needs people",
    }.get(case.state, "update")


def _is_closing(case: Case) -> bool:
    """Whether nothing follows: who writes after a decision that calls nobody, writes last."""
    return case.state == "complete" or (case.state == "running" and case.decision is not None)


def _standing(case: Case) -> str:
    firing = sum(1 for alert in case.alerts if alert.status == "firing")
    where = listed(surroundings.involved(case)) or "no named service"
    return (
        f"Incident #{case.incident.number} ({case.incident.severity}) on {where}: "
        f"{firing} of {counted(len(case.alerts), 'alert')} firing as of {clock(case.at)}."
    )


def _for_responders(case: Case, claims: list[Claim]) -> str:
    known = [f"- {claim.text} [{', '.join(claim.evidence)}]" for claim in claims]
    unknown = _unknown(case)
    more = len(unknown) - MOST_UNKNOWN
    return "\n".join(
        [
            _standing(case),
            f"Reported as {quoted(case.incident.title)}.",
            "",
            "What is known (with the ids of the evidence):",
            *(known or ["- Nothing beyond the alerts themselves."]),
            "",
            "What is unknown:",
            *([f"- {one}" for one in unknown[:MOST_UNKNOWN]] or ["- Nothing was left open."]),
            *([f"- and {more} more on the incident's page"] if more > 0 else []),
            "",
            "What the agents decided:",
            f"- {_decided(case)}",
            "",
            "What happens next:",
            f"- {_people_must(case)}",
        ]
    )


def _for_stakeholders(case: Case) -> str:
    prediction = case.findings.get("prediction")
    reached = prediction.data.get("blast_radius") if prediction else None
    if reached is None:
        reach = "Which other services are reached is unknown."
    elif reached:
        reach = f"Services that depend on it: {listed(str(name) for name in reached)}."
    else:
        reach = "No other service in the inventory depends on it."
    began = case.incident.impact_start
    since = (
        f"Impact began at {clock(began)}."
        if began
        else f"Monitoring saw it at {clock(case.incident.detected_at)}; when impact began is unknown."
    )
    return "\n".join([_standing(case), since, reach, "", f"Next: {_people_must(case)}"])


def _plan(proposal: Proposal) -> str:
    if proposal.action == NO_ACTION:
        return "to take no action"
    with_ = ", ".join(f"{name} {value}" for name, value in sorted(proposal.parameters.items()))
    return f"{proposal.action} on {listed([proposal.target])}{f' ({with_})' if with_ else ''}"


def _decided(case: Case) -> str:
    decision = case.decision
    if decision is None:
        return "Nothing yet."
    if decision.proposal is None:
        return f"No decision: {cleaned(decision.reason, 400)}"
    voices = f"{len(decision.endorsers)} of {decision.ballots} agents endorse it"
    rationale = cleaned(decision.proposal.rationale, 400)
    return f"{_plan(decision.proposal)}; {voices}. {rationale}".strip()


def _people_must(case: Case) -> str:
    """The one thing to do, from the state of the response."""
    decision = case.decision
    plan = decision.proposal if decision else None
    if case.incident.status in ("resolved", "closed"):
        return "Nothing needs to be done; the incident is resolved."
    if case.state == "awaiting_approval" and plan:
        return f"People must approve or reject: {_plan(plan)}. Nothing runs before."
    if case.state == "failed":
        return "The response failed; people must take over."
    if case.state == "escalated":
        if plan is None:
            return "People must take over: the agents could not agree on an action."
        if plan.action == NO_ACTION:
            return "People must take over: the agents found no action worth its risk."
        steps = " ".join(plan.preconditions)
        return (
            f"People must act: {_plan(plan)} is recommended and was not executed. {steps}".strip()
        )
    if _is_closing(case):
        return "The response is complete; nothing more is planned."
    return "The response goes on; another update follows when it needs people or ends."
