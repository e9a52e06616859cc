"""The rows behind a consensus: electorates, frozen candidates, ballots, equivocations."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from django.db import transaction
from django.utils.timezone import now

from agents import consensus, keys, streams
from agents.case import NO_ACTION, Case, Opinion, Proposal
from agents.findings import plain
from agents.models import Agent, Ballot, Candidate, Equivocation, Response, VoterKey
from incidentops.access import audit


class Refused(Exception):
    """A ballot that cannot be taken; the message says why."""


# --- Who votes ---------------------------------------------------------------------------------


def current_electorate() -> consensus.Electorate:
    """The newest epoch, opened now when there is none or when the secret key has changed since.

    All weights are equal: they will follow each voter's calibration once verified outcomes exist.
    """
    newest = VoterKey.objects.order_by("-epoch").values_list("epoch", flat=True).first()
    if newest is None:
        return _open_epoch(1, quarantined=())
    members = electorate(newest)
    if all(voter.public_key == keys.public_key(voter.name, newest) for voter in members.voters):
        return members
    return _open_epoch(newest + 1, quarantined=_quarantined(members))


def electorate(epoch: int) -> consensus.Electorate:
    return consensus.Electorate(
        epoch=epoch,
        voters=tuple(
            consensus.Voter(
                name=row.voter,
                public_key=row.public_key,
                weight=row.weight,
                is_quarantined=row.quarantined_at is not None,
            )
            for row in VoterKey.objects.filter(epoch=epoch).order_by("voter")
        ),
    )


def quarantine(voter: str) -> None:
    """Hear this voter no more, from the next epoch on."""
    members = current_electorate()
    if voter in _quarantined(members):
        return
    since = members.epoch
    # Somebody else may open the next epoch at the same time, for another voter.
    while voter not in _quarantined(members):
        members = _open_epoch(members.epoch + 1, quarantined=(*_quarantined(members), voter))
    audit.record(
        "voter.quarantined", actor="swarm", target=f"voter:{voter}", detail={"from": since}
    )


def _quarantined(members: consensus.Electorate) -> tuple[str, ...]:
    return tuple(voter.name for voter in members.voters if voter.is_quarantined)


def _open_epoch(epoch: int, *, quarantined: tuple[str, ...]) -> consensus.Electorate:
    VoterKey.objects.bulk_create(
        [
            VoterKey(
                epoch=epoch,
                voter=agent,
                public_key=keys.public_key(agent, epoch),
                weight=consensus.WEIGHT_CAP,
                quarantined_at=now() if agent in quarantined else None,
            )
            for agent in Agent
        ],
        # Two workers may open the same epoch: the rows of the first stand.
        ignore_conflicts=True,
    )
    return electorate(epoch)


# --- What is voted on --------------------------------------------------------------------------


def freeze(
    response: Response, proposals: Iterable[Proposal], outlook: dict[str, dict[str, Any]]
) -> None:
    """Fix the candidates and the epoch of this response, in the caller's transaction.

    Doing nothing is always a candidate.
    """
    by_digest = {proposal.digest: proposal for proposal in proposals}
    if not any(proposal.action == NO_ACTION for proposal in by_digest.values()):
        nothing = Proposal(action=NO_ACTION, rationale="Change nothing.")
        by_digest[nothing.digest] = nothing
    Candidate.objects.bulk_create(
        Candidate(
            response=response,
            digest=digest,
            action=proposal.action,
            target=proposal.target,
            content=json.loads(json.dumps(asdict(proposal), default=str)),
            outlook=plain(outlook.get(digest, {})),
        )
        for digest, proposal in by_digest.items()
    )
    response.epoch = current_electorate().epoch
    response.save(update_fields=["epoch"])


def candidates_of(response: Response) -> list[Candidate]:
    return list(response.candidates.order_by("digest"))


def proposals_of(candidates: Iterable[Candidate]) -> tuple[Proposal, ...]:
    """The frozen proposals as values, in digest order."""
    return tuple(_proposal(candidate.content) for candidate in candidates)


def _proposal(content: dict[str, Any]) -> Proposal:
    listed = {name: tuple(content[name]) for name in ("preconditions", "evidence")}
    return Proposal(**{**content, **listed})


def question(response: Response, candidates: list[Candidate], round_: int) -> consensus.Question:
    assert response.epoch is not None
    return consensus.Question(
        incident=response.incident_id,
        cycle=response.cycle,
        round=round_,
        epoch=response.epoch,
        candidates=tuple(candidate.digest for candidate in candidates),
        no_action=next(row.digest for row in candidates if row.action == NO_ACTION),
        irreversible=consensus.irreversible({row.digest: row.content for row in candidates}),
    )


# --- Ballots -----------------------------------------------------------------------------------


def information(case: Case) -> str:
    """A digest of what opinions rest on, apart from the passing of time.

    Ballots cast again on the same information would say the same: only when it differs is another
    round worth holding.
    """
    known = {
        "incident": [case.incident.status, case.incident.severity],
        "alerts": sorted([alert.fingerprint, alert.status] for alert in case.alerts),
        "changes": sorted(change.id for change in case.changes),
        "services": sorted([s.name, sorted(s.depends_on)] for s in case.services),
        "findings": {agent: finding.summary for agent, finding in sorted(case.findings.items())},
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def signed(
    asked: consensus.Question, voter: str, opinion: Opinion, *, seen: str
) -> consensus.Ballot:
    """The opinion as the voter's ballot.

    Raises:
        InvalidBallot: its scores cannot stand on one.
    """
    ballot = consensus.Ballot(
        incident=asked.incident,
        cycle=asked.cycle,
        round=asked.round,
        epoch=asked.epoch,
        candidates_digest=asked.candidates_digest,
        voter=voter,
        scores=consensus.scores_for(asked, opinion.scores),
        reason=plain(opinion.reason),
        families=tuple(sorted(set(opinion.families))),
        information=seen,
    )
    key = keys.private_key(voter, asked.epoch)
    return replace(ballot, signature=consensus.sign(ballot, key))


def cast(
    response: Response,
    asked: consensus.Question,
    ballot: consensus.Ballot,
    members: consensus.Electorate,
) -> Ballot:
    """Store a ballot. The first of a voter in a round stands; the same again changes nothing.

    A different one with a valid signature proves equivocation: it is kept as evidence and the voter
    is quarantined from the next epoch.

    Raises:
        Refused: it would not count.
    """
    if why := consensus.objection(asked, members, ballot):
        raise Refused(why)
    with transaction.atomic(savepoint=False):
        row = response.ballots.filter(round=ballot.round, voter=ballot.voter).first()
        if row is None:
            # Two at once would violate the table's constraint: only the holder of a fence casts.
            row = Ballot.objects.create(
                response=response,
                round=ballot.round,
                voter=ballot.voter,
                epoch=ballot.epoch,
                candidates_digest=ballot.candidates_digest,
                choice=ballot.choice,
                scores=dict(ballot.scores),
                reason=ballot.reason,
                families=list(ballot.families),
                information=ballot.information,
                signature=ballot.signature,
            )
            streams.ballot_cast(response, row)
        elif consensus.canonical(as_value(response, row)) != consensus.canonical(ballot):
            Equivocation.objects.create(
                response=response,
                round=ballot.round,
                voter=ballot.voter,
                first=consensus.ballot_json(as_value(response, row)),
                second=consensus.ballot_json(ballot),
            )
            quarantine(ballot.voter)
    return row


def ballots_of(response: Response, round_: int) -> dict[str, consensus.Ballot]:
    """The stored ballots of a round by voter."""
    return {row.voter: as_value(response, row) for row in response.ballots.filter(round=round_)}


def as_value(response: Response, row: Ballot) -> consensus.Ballot:
    return consensus.Ballot(
        incident=response.incident_id,
        cycle=response.cycle,
        round=row.round,
        epoch=row.epoch,
        candidates_digest=row.candidates_digest,
        voter=row.voter,
        scores=row.scores,
        reason=row.reason,
        families=tuple(row.families),
        information=row.information,
        signature=row.signature,
    )
