"""What each phase does between its claim and its commit.

A phase asks its specialists and returns an `Outcome`; it commits nothing but ballots and states of
agents. `swarm` commits the outcome in one transaction, or throws it away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction
from django.utils.timezone import now

from agents import cases, consensus, dictation, roster, streams, voting
from agents.case import NO_ACTION, Case, Finding, Proposal
from agents.claims import Claim, locked, renew
from agents.findings import Grounded, ground
from agents.models import (
    Agent,
    AgentRun,
    AgentState,
    Candidate,
    Evidence,
    Phase,
    Response,
    ResponseState,
)
from agents.specialists.wording import cleaned
from incidentops.incidents.models import Incident
from incidentops.leases import Heartbeat
from incidentops.notifications import delivery
from incidentops.notifications.models import Notification

log = logging.getLogger(__name__)

MAX_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Report:
    """What became of one agent's run: a finding or an error, in `state`."""

    agent: Agent
    state: AgentState
    grounded: Grounded | None = None
    error: str = ""

    @property
    def finding(self) -> Finding | None:
        return self.grounded.finding if self.grounded else None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the ballots came to: `choice` is the decided candidate, None when they decided none."""

    round: int
    choice: str | None
    reason: str
    certificate: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`summary` is the sentence for the timeline."""

    summary: str
    reports: tuple[Report, ...] = ()
    verdict: Verdict | None = None
    sent: list[Notification] = field(default_factory=list)


def run(claim: Claim, heartbeat: Heartbeat) -> Outcome:
    """Do the work of the claimed phase.

    Raises:
        LeaseLost: another worker has it now.
    """
    return _PHASES[claim.phase](claim, heartbeat)


# --- Asking specialists ------------------------------------------------------------------------


def _investigate(claim: Claim, heartbeat: Heartbeat) -> Outcome:
    (agent,) = claim.runs
    report = _ask(claim, Agent(agent), cases.load(claim.response), _investigation(agent))
    heartbeat.check()
    return Outcome(summary=_summary(report), reports=(report,))


def _confirm(claim: Claim, heartbeat: Heartbeat) -> Outcome:
    case = cases.load(claim.response)
    report = _ask(
        claim, Agent.DETECTION, case, lambda case: roster.detection().confirm_recovery(case)
    )
    heartbeat.check()
    return Outcome(summary=_summary(report), reports=(report,))


def _investigation(agent: str) -> Callable[[Case], Finding]:
    # Found when it is asked, so that a specialist that cannot be loaded fails like any other.
    return lambda case: roster.specialist(agent).investigate(case)


def _ask(claim: Claim, agent: Agent, case: Case, question: Callable[[Case], Finding]) -> Report:
    """One agent's finding, or the error that stands in its place."""
    report_state(claim, agent, AgentState.ANALYZING)
    try:
        finding = question(case)
    except SoftTimeLimitExceeded:
        return Report(agent=agent, state=AgentState.TIMEOUT, error="It did not finish in time.")
    except Exception as error:
        # Whatever a specialist does wrong, the response goes on and shows it.
        log.exception("%s failed in %s", agent, claim.phase_run)
        return Report(agent=agent, state=AgentState.ERROR, error=_brief(error))
    finding = _in_words(claim, case, finding)
    known = Evidence.objects.filter(response=claim.response).values_list("pk", flat=True)
    grounded = ground(finding, response_id=claim.response.pk, known=set(known))
    return Report(agent=agent, state=AgentState.COMPLETED, grounded=grounded)


def _in_words(claim: Claim, case: Case, finding: Finding) -> Finding:
    """The finding as a provider puts it, shown while it is written; as it was when none can."""
    writer = roster.writer()
    if not writer.is_writer(finding.agent):
        return finding
    report_state(claim, Agent(finding.agent), AgentState.PROCESSING)
    try:
        return writer.worded(case, finding, on_piece=dictation.Dictation(claim, finding.agent))
    except Exception:
        # Whatever goes wrong with the words, what was found stands without them.
        log.exception("%s could not be put into words", claim.phase_run)
        return finding


def report_state(claim: Claim, agent: Agent, state: AgentState) -> None:
    """Show where an agent is, at once and on its own."""
    run_ = claim.runs[agent]
    run_.state = state
    with transaction.atomic():
        if AgentRun.objects.filter(pk=run_.pk, finished_at=None).update(state=state):
            streams.agents_changed(claim.response, [run_])


def _summary(report: Report) -> str:
    if report.finding is None:
        return f"The {report.agent} agent failed: {report.error}"
    return report.finding.summary


# --- Consensus ---------------------------------------------------------------------------------


def _consense(claim: Claim, heartbeat: Heartbeat) -> Outcome:
    """Candidates, opinions, ballots, and round after round while there is something new to say."""
    case = cases.load(claim.response)
    plan = _ask(claim, Agent.RESOLUTION, case, _investigation(Agent.RESOLUTION))
    candidates = voting.candidates_of(claim.response) or freeze(claim, case)
    proposals = voting.proposals_of(candidates)
    round_ = max(claim.response.ballots.values_list("round", flat=True), default=1)
    while True:
        heartbeat.check()
        asked = voting.question(claim.response, candidates, round_)
        members = voting.electorate(asked.epoch)
        seen = voting.information(case)
        errors = _collect(claim, case, asked, members, proposals, seen)
        cast = voting.ballots_of(claim.response, round_)
        result = consensus.tally(asked, members, cast.values())
        if result.choice is not None or round_ == MAX_ROUNDS:
            break
        case = cases.load(claim.response)
        fresh = voting.information(case)
        if all(ballot.information == fresh for ballot in cast.values()):
            break
        round_ += 1
    contents = {candidate.digest: candidate.content for candidate in candidates}
    verdict = Verdict(
        round=round_,
        choice=result.choice,
        reason=_why(result, candidates, members, errors),
        certificate=consensus.certificate(asked, members, cast.values(), contents),
    )
    reports = tuple(
        _vote_report(agent, cast.get(agent), errors.get(agent, ""), plan) for agent in Agent
    )
    return Outcome(summary=verdict.reason, reports=reports, verdict=verdict)


def freeze(claim: Claim, case: Case) -> list[Candidate]:
    """Have the candidates proposed and fix them, with what each would lead to."""
    try:
        proposals = tuple(roster.resolution().propose(case))
    except Exception as error:
        # Whatever goes wrong there, doing nothing can still be voted on.
        log.exception("resolution could not propose in %s", claim.phase_run)
        why = f"Nothing could be proposed: {_brief(error)}"
        proposals = (Proposal(action=NO_ACTION, rationale=why),)
    report_state(claim, Agent.PREDICTION, AgentState.ANALYZING)
    try:
        outlook = roster.prediction().outlook(case, proposals)
    except Exception as error:
        # The others can vote without an outlook, and see why there is none.
        log.exception("prediction could not look ahead in %s", claim.phase_run)
        outlook = {proposal.digest: {"unknown": _brief(error)} for proposal in proposals}
    with transaction.atomic():
        response = locked(claim.response.pk)
        # Renewing locks the claimed row, so only the holder of the fence can freeze.
        renew(claim)
        voting.freeze(response, proposals, outlook)
        claim.response.epoch = response.epoch
    return voting.candidates_of(claim.response)


def _collect(
    claim: Claim,
    case: Case,
    asked: consensus.Question,
    members: consensus.Electorate,
    proposals: tuple[Proposal, ...],
    seen: str,
) -> dict[Agent, str]:
    """Have every agent that has not voted in this round cast its ballot; who cannot, and why."""
    stored = voting.ballots_of(claim.response, asked.round)
    errors: dict[Agent, str] = {}
    for agent in Agent:
        if agent not in stored:
            error = vote(claim, agent, case, asked, members, proposals, seen)
            errors |= {agent: error} if error else {}
    return errors


def vote(
    claim: Claim,
    agent: Agent,
    case: Case,
    asked: consensus.Question,
    members: consensus.Electorate,
    proposals: tuple[Proposal, ...],
    seen: str,
) -> str:
    """Have one agent judge the proposals and cast its ballot; why it could not, "" when it could."""
    try:
        opinion = roster.specialist(agent).assess(case, proposals)
        ballot = voting.signed(asked, agent, opinion, seen=seen)
    except Exception as error:
        # An agent that cannot judge abstains; the quorum decides whether that is too many.
        log.exception("%s abstains in %s", agent, claim.phase_run)
        return _brief(error)
    with transaction.atomic():
        # Before its phase, as all do: the ballot's foreign key will lock it anyway.
        locked(claim.response.pk)
        # Only the holder of the fence may cast: a worker that lost its lease would make an honest
        # agent look like an equivocator.
        renew(claim)
        try:
            voting.cast(claim.response, asked, ballot, members)
        except voting.Refused as refusal:
            return f"The ballot was refused: {refusal}"
        run_ = claim.runs[agent]
        run_.state = AgentState.PROCESSING
        run_.save(update_fields=["state"])
        streams.agents_changed(claim.response, [run_])
    return ""


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".replace("\x00", "")[:500]


def _vote_report(agent: Agent, ballot: consensus.Ballot | None, error: str, plan: Report) -> Report:
    """What an agent said is on its ballot; the run also holds the finding behind the proposals."""
    grounded = plan.grounded if agent is Agent.RESOLUTION else None
    if ballot is not None:
        error = plan.error if agent is Agent.RESOLUTION else ""
        return Report(agent=agent, state=AgentState.COMPLETED, grounded=grounded, error=error)
    return Report(
        agent=agent,
        state=AgentState.ERROR,
        grounded=grounded,
        error=f"Abstained. {error}".strip(),
    )


def _why(
    result: consensus.Tally,
    candidates: list[Candidate],
    members: consensus.Electorate,
    errors: dict[Agent, str],
) -> str:
    needed, n = consensus.quorum(len(members.voters)), len(members.voters)
    names = {candidate.digest: str(candidate) for candidate in candidates}
    silent = f" {len(errors)} abstained: {', '.join(sorted(errors))}." if errors else ""
    if result.choice is not None:
        standing = next(s for s in result.standings if s.candidate == result.choice)
        return f"{len(standing.endorsers)} of {n} agents endorse {names[result.choice]}.{silent}"
    best = max(result.standings, key=lambda s: (s.is_endorsed, len(s.endorsers), s.score))
    if best.is_endorsed:
        return (
            f"{len(best.endorsers)} of {n} agents endorse {names[best.candidate]}, but what cannot "
            f"be undone needs evidence of {consensus.FAMILIES} families, whichever of them errs; "
            f"they rest on {', '.join(best.families) or 'none'}.{silent}"
        )
    return (
        f"No candidate was endorsed by {needed} of {n} agents; the most, {len(best.endorsers)}, "
        f"endorse {names[best.candidate]}.{silent}"
    )


# --- Communication -----------------------------------------------------------------------------


def _communicate(claim: Claim, heartbeat: Heartbeat) -> Outcome:
    """Write the update and hand it over. When the agent fails, people get the bare facts."""
    case = cases.load(claim.response)
    report = _ask(claim, Agent.COMMUNICATION, case, _investigation(Agent.COMMUNICATION))
    heartbeat.check()
    updates = _updates(claim, report)
    subject = updates[0]["subject"]
    if claim.incident.origin == Incident.Origin.GAMEDAY:
        summary = f"An exercise: nothing was delivered. {subject}"
        return Outcome(summary=summary, reports=(report,))
    held_until = _quiet_until(claim.incident)
    sent = [
        notification
        for place, update in enumerate(updates)
        for notification in delivery.send(
            key=_key(claim.response, update["audience"] if place else ""),
            incident_number=claim.incident.number,
            provider=report.finding.provider if report.finding else "local",
            held_until=held_until,
            **update,
        )
    ]
    return Outcome(summary=_delivered(sent, subject), reports=(report,), sent=sent)


def _quiet_until(incident: Incident) -> datetime | None:
    """The end of the incident's snooze, as it stands now."""
    until = Incident.objects.values_list("snoozed_until", flat=True).get(pk=incident.pk)
    return until if until and until > now() else None


def _key(response: Response, audience: str) -> str:
    """The same for every attempt; a person's requeue is a new message."""
    parts = [f"response:{response.pk}:communication", audience]
    parts += [str(response.requeues)] if response.requeues else []
    return ":".join(part for part in parts if part)


def _updates(claim: Claim, report: Report) -> list[dict[str, str]]:
    """What each audience is told, never without the reason why people are called."""
    response = Response.objects.get(pk=claim.response.pk)
    data = report.finding.data if report.finding else {}
    bare = {
        "audience": "operators",
        "subject": cleaned(f"Incident #{claim.incident.number}: {claim.incident.title}", 300),
        "body": f"{cleaned(str(claim.incident), 300)}\n\n"
        f"The communication agent failed: {report.error}",
    }
    written = data.get("updates") or ([data] if "body" in data else [bare])
    return [
        {
            "audience": str(update["audience"]),
            "subject": str(update["subject"]),
            "body": _with_reason(str(update["body"]), outcome_of(response)),
        }
        for update in written
    ]


def _with_reason(body: str, reason: str) -> str:
    return body if reason in body else f"{body}\n\n{reason}"


def outcome_of(response: Response) -> str:
    """Why people are called, in the response's own words; empty when they are not."""
    if response.state == ResponseState.ESCALATED:
        return f"Escalated to people: {response.reason}"
    if response.state == ResponseState.FAILED:
        return f"The response failed: {response.reason}"
    return response.reason


def _delivered(sent: list[Notification], subject: str) -> str:
    if not sent:
        return f"Nobody is configured to be told: {subject}"
    if held_until := sent[0].held_until:
        until = f"{held_until:%Y-%m-%d %H:%M} UTC"
        waiting = "1 message waits" if len(sent) == 1 else f"{len(sent)} messages wait"
        return f"Snoozed: {waiting} until {until}: {subject}"
    failed = sum(notification.state == Notification.State.FAILED for notification in sent)
    told = f"{len(sent) - failed} of {len(sent)} recipients were told"
    return f"{told}: {subject}"


_PHASES: dict[Phase, Callable[[Claim, Heartbeat], Outcome]] = {
    Phase.DETECTION: _investigate,
    Phase.DIAGNOSIS: _investigate,
    Phase.PREDICTION: _investigate,
    Phase.CONSENSUS: _consense,
    Phase.VERIFICATION: _confirm,
    Phase.COMMUNICATION: _communicate,
}
