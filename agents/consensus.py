"""Signed-ballot quorum certificates: Byzantine-tolerant weighted voting with abort.

Each of n voters scores every frozen candidate and signs its scores. A voter *endorses* a candidate
that it scores at least `THRESHOLD` and at least as high as doing nothing. A candidate is decided
when both hold: at least floor((n + f) / 2) + 1 distinct voters endorse it, and their weight exceeds
(W + w_F) / 2. Any two such quorums share an honest voter, and of any quorum all but f are honest:
with n = 5 and f = 1 four must endorse, so one liar always needs three honest voters beside it.

What cannot be undone needs more: its endorsers must rest on evidence of `FAMILIES` families, and
still do when any f of them are left out, for a liar can claim whatever it likes.

Quarantined voters do not count, but the quorum does not shrink with them.

Source: Castro & Liskov, Practical Byzantine Fault Tolerance, OSDI 1999 (quorum intersection); the
weighted form follows from w_i <= w_F.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agents.case import NO_ACTION

THRESHOLD = 0.5
FAULTS = 1
WEIGHT_CAP = 1.0
FAMILIES = 2
_DECIMALS = 6


class InvalidBallot(ValueError):
    """The scores cannot stand on a ballot; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Voter:
    """`public_key` is the raw Ed25519 key in hexadecimal."""

    name: str
    public_key: str
    weight: float = WEIGHT_CAP
    is_quarantined: bool = False


@dataclass(frozen=True, kw_only=True)
class Electorate:
    """Who may vote in an epoch; keys and weights are frozen for it."""

    epoch: int
    voters: tuple[Voter, ...]

    def find(self, name: str) -> Voter | None:
        return next((voter for voter in self.voters if voter.name == name), None)

    def weight_of(self, name: str) -> float:
        """The frozen weight, capped: nothing on a ballot can raise it."""
        voter = self.find(name)
        return 0.0 if voter is None else min(max(voter.weight, 0.0), WEIGHT_CAP)

    @property
    def total_weight(self) -> float:
        return math.fsum(self.weight_of(voter.name) for voter in self.voters)

    @property
    def weight_needed(self) -> float:
        """Endorsing weight must exceed this."""
        return (self.total_weight + WEIGHT_CAP) / 2


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a ballot answers. A ballot for another question never counts here.

    `irreversible` are the candidates that nothing undoes. It follows from their contents, which the
    digests fix, so ballots need not repeat it.
    """

    incident: int
    cycle: int
    round: int
    epoch: int
    candidates: tuple[str, ...]
    no_action: str
    irreversible: frozenset[str] = frozenset()

    @property
    def candidates_digest(self) -> str:
        return hashlib.sha256("\n".join(sorted(self.candidates)).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """One voter's scores of all candidates. `information` is the digest of what it had seen."""

    incident: int
    cycle: int
    round: int
    epoch: int
    candidates_digest: str
    voter: str
    scores: Mapping[str, float]
    reason: str
    families: tuple[str, ...] = ()
    information: str = ""
    signature: str = ""

    @property
    def choice(self) -> str:
        """The candidate scored highest; ties go to the lowest digest."""
        return min(self.scores, key=lambda digest: (-self.scores[digest], digest))

    def endorses(self, candidate: str, no_action: str) -> bool:
        score = self.scores[candidate]
        return score >= THRESHOLD and score >= self.scores[no_action]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How one candidate fared. `score` is the weighted mean over all valid ballots.

    Endorsed by enough voters and weight, one that cannot be undone may still lack `families`.
    """

    candidate: str
    endorsers: tuple[str, ...]
    weight: float
    score: float
    families: tuple[str, ...]
    is_endorsed: bool
    is_decided: bool


@dataclass(frozen=True, kw_only=True)
class Tally:
    """`rejected` holds (voter, reason) of ballots that did not count."""

    choice: str | None
    standings: tuple[Standing, ...]
    voters: tuple[str, ...]
    rejected: tuple[tuple[str, str], ...]
    equivocators: tuple[str, ...]


def quorum(n: int, faults: int = FAULTS) -> int:
    """How many distinct endorsers decide: any two quorums then share more than `faults` voters."""
    return (n + faults) // 2 + 1


def scores_for(question: Question, scores: Mapping[str, float]) -> dict[str, float]:
    """Scores as they stand on a ballot: of every candidate, within [0, 1], six decimals.

    Raises:
        InvalidBallot: a candidate has no score, a score is no candidate's, or is not a number.
    """
    if set(scores) != set(question.candidates):
        raise InvalidBallot("The scores do not cover exactly the frozen candidates.")
    if any(not math.isfinite(score) for score in scores.values()):
        raise InvalidBallot("A score is not a number.")
    return {
        digest: round(min(max(float(score), 0.0), 1.0), _DECIMALS)
        for digest, score in sorted(scores.items())
    }


def canonical(ballot: Ballot) -> bytes:
    """The bytes that are signed: the same on every machine and after any store of floats."""
    return json.dumps(
        {
            "version": 1,
            "incident": ballot.incident,
            "cycle": ballot.cycle,
            "round": ballot.round,
            "epoch": ballot.epoch,
            "candidates": ballot.candidates_digest,
            "voter": ballot.voter,
            "scores": {digest: f"{score:.{_DECIMALS}f}" for digest, score in ballot.scores.items()},
            "reason": ballot.reason,
            "families": list(ballot.families),
            "information": ballot.information,
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    ).encode()


def sign(ballot: Ballot, key: Ed25519PrivateKey) -> str:
    return key.sign(canonical(ballot)).hex()


def has_valid_signature(ballot: Ballot, public_key: str) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(bytes.fromhex(ballot.signature), canonical(ballot))
    except (InvalidSignature, ValueError):
        return False
    return True


def objection(question: Question, electorate: Electorate, ballot: Ballot) -> str:
    """Why this ballot does not count, or nothing."""
    voter = electorate.find(ballot.voter)
    asked = (question.incident, question.cycle, question.round, question.epoch)
    answered = (ballot.incident, ballot.cycle, ballot.round, ballot.epoch)
    if voter is None:
        return "not a voter of this epoch"
    if voter.is_quarantined:
        return "the voter is quarantined"
    if asked != answered or electorate.epoch != question.epoch:
        return "cast for another incident, cycle, round or epoch"
    if ballot.candidates_digest != question.candidates_digest:
        return "cast for another set of candidates"
    if set(ballot.scores) != set(question.candidates):
        return "does not score exactly the candidates"
    if not all(0.0 <= score <= 1.0 for score in ballot.scores.values()):
        return "a score is outside [0, 1]"
    if any(round(score, _DECIMALS) != score for score in ballot.scores.values()):
        return "a score has more decimals than are signed"
    if not has_valid_signature(ballot, voter.public_key):
        return "the signature is not the voter's"
    return ""


def one_each(ballots: Iterable[Ballot]) -> tuple[dict[str, Ballot], tuple[str, ...]]:
    """The ballot of each voter that signed one, and the voters that signed several.

    Repetitions of one ballot are one ballot. Whoever signed different ones is not heard at all, so
    the order of arrival cannot matter.
    """
    by_voter: dict[str, dict[bytes, Ballot]] = {}
    for ballot in ballots:
        by_voter.setdefault(ballot.voter, {})[canonical(ballot)] = ballot
    single = {
        name: next(iter(signed.values()))
        for name, signed in sorted(by_voter.items())
        if len(signed) == 1
    }
    return single, tuple(sorted(set(by_voter) - set(single)))


def tally(question: Question, electorate: Electorate, ballots: Iterable[Ballot]) -> Tally:
    """Count. The outcome depends on the set of ballots alone, not on their order or number."""
    valid: list[Ballot] = []
    rejected: set[tuple[str, str]] = set()
    for ballot in ballots:
        if why := objection(question, electorate, ballot):
            rejected.add((ballot.voter, why))
        else:
            valid.append(ballot)
    counted, equivocators = one_each(valid)
    standings = tuple(
        _standing(candidate, question, electorate, counted)
        for candidate in sorted(question.candidates)
    )
    decided = [standing for standing in standings if standing.is_decided]
    best = min(decided, key=lambda s: (-s.score, s.candidate), default=None)
    return Tally(
        choice=best.candidate if best else None,
        standings=standings,
        voters=tuple(counted),
        rejected=tuple(sorted(rejected)),
        equivocators=equivocators,
    )


def _standing(
    candidate: str, question: Question, electorate: Electorate, counted: Mapping[str, Ballot]
) -> Standing:
    endorsers = tuple(
        name for name, ballot in counted.items() if ballot.endorses(candidate, question.no_action)
    )
    weight = math.fsum(electorate.weight_of(name) for name in endorsers)
    heard = math.fsum(electorate.weight_of(name) for name in counted)
    score = math.fsum(
        electorate.weight_of(name) * ballot.scores[candidate] for name, ballot in counted.items()
    )
    is_endorsed = (
        len(endorsers) >= quorum(len(electorate.voters)) and weight > electorate.weight_needed
    )
    evidence = [frozenset(filter(None, counted[name].families)) for name in endorsers]
    return Standing(
        candidate=candidate,
        endorsers=endorsers,
        weight=weight,
        score=round(score / heard, _DECIMALS) if heard else 0.0,
        families=tuple(sorted(frozenset[str]().union(*evidence))),
        is_endorsed=is_endorsed,
        is_decided=is_endorsed and (candidate not in question.irreversible or is_broad(evidence)),
    )


def is_broad(evidence: Sequence[frozenset[str]]) -> bool:
    """Whether the endorsers' families are enough for what cannot be undone, whoever of them lies."""
    kept = max(len(evidence) - FAULTS, 0)
    return all(
        len(frozenset[str]().union(*honest)) >= FAMILIES for honest in combinations(evidence, kept)
    )


def irreversible(contents: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """The digests of the candidates that act and that no step undoes."""
    return frozenset(
        digest
        for digest, content in contents.items()
        if content.get("action") != NO_ACTION and not content.get("inverse")
    )


# --- Certificates ------------------------------------------------------------------------------


def certificate(
    question: Question,
    electorate: Electorate,
    ballots: Iterable[Ballot],
    contents: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Everything needed to check the decision without the database. `contents` are by digest."""
    ballots = sorted(ballots, key=lambda ballot: (ballot.voter, ballot.signature))
    result = tally(question, electorate, ballots)
    return {
        "version": 1,
        "question": {
            "incident": question.incident,
            "cycle": question.cycle,
            "round": question.round,
            "epoch": question.epoch,
            "candidates": {digest: dict(contents[digest]) for digest in question.candidates},
            "candidates_digest": question.candidates_digest,
            "no_action": question.no_action,
        },
        "rule": {
            "threshold": THRESHOLD,
            "faults": FAULTS,
            "quorum": quorum(len(electorate.voters)),
            "weight_cap": WEIGHT_CAP,
            "weight_needed": electorate.weight_needed,
            "families_when_irreversible": FAMILIES,
        },
        "voters": voters_json(electorate),
        "ballots": [ballot_json(ballot) for ballot in ballots],
        "standings": _standings_json(result),
        "choice": result.choice,
    }


def voters_json(electorate: Electorate) -> list[dict[str, Any]]:
    return [
        {
            "voter": voter.name,
            "public_key": voter.public_key,
            "weight": voter.weight,
            "quarantined": voter.is_quarantined,
        }
        for voter in electorate.voters
    ]


def _standings_json(result: Tally) -> list[dict[str, Any]]:
    return [
        {
            "candidate": standing.candidate,
            "endorsers": list(standing.endorsers),
            "weight": standing.weight,
            "score": standing.score,
            "decided": standing.is_decided,
        }
        for standing in result.standings
    ]


def ballot_json(ballot: Ballot) -> dict[str, Any]:
    return {
        "incident": ballot.incident,
        "cycle": ballot.cycle,
        "round": ballot.round,
        "epoch": ballot.epoch,
        "candidates_digest": ballot.candidates_digest,
        "voter": ballot.voter,
        "scores": dict(ballot.scores),
        "reason": ballot.reason,
        "families": list(ballot.families),
        "information": ballot.information,
        "signature": ballot.signature,
    }


def ballot_from(data: Mapping[str, Any]) -> Ballot:
    return Ballot(
        incident=int(data["incident"]),
        cycle=int(data["cycle"]),
        round=int(data["round"]),
        epoch=int(data["epoch"]),
        candidates_digest=str(data["candidates_digest"]),
        voter=str(data["voter"]),
        scores={str(digest): float(score) for digest, score in data["scores"].items()},
        reason=str(data["reason"]),
        families=tuple(data["families"]),
        information=str(data["information"]),
        signature=str(data["signature"]),
    )


def faults_of(proof: Mapping[str, Any]) -> list[str]:
    """What is wrong with a certificate, in sentences; an empty list when it holds.

    Recomputes digests, signatures and the count by this module's own rule, whatever the
    certificate says of its thresholds.
    """
    try:
        question, electorate, ballots = _read(proof)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"The certificate cannot be read: {error!r}."]
    found = [
        f"Candidate {digest[:12]} does not match its content."
        for digest, content in proof["question"]["candidates"].items()
        if content_digest(content) != digest
    ]
    if proof["question"]["candidates"].get(question.no_action, {}).get("action") != NO_ACTION:
        found.append("Doing nothing is not among the candidates.")
        return found
    if question.candidates_digest != proof["question"]["candidates_digest"]:
        found.append("The digest of the candidates is wrong.")
    found.extend(
        f"The ballot of {ballot.voter} does not count: {why}."
        for ballot in ballots
        if (why := objection(question, electorate, ballot))
    )
    result = tally(question, electorate, ballots)
    if _standings_json(result) != proof.get("standings"):
        found.append("The standings are not those of the ballots.")
    if result.choice != proof.get("choice"):
        claimed = proof.get("choice")
        found.append(f"The ballots decide {result.choice}, the certificate says {claimed}.")
    return found


def content_digest(content: Mapping[str, Any]) -> str:
    """As `Proposal.digest`, from the stored content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _read(proof: Mapping[str, Any]) -> tuple[Question, Electorate, list[Ballot]]:
    asked = proof["question"]
    if not all(isinstance(content, Mapping) for content in asked["candidates"].values()):
        raise TypeError("a candidate is no object")
    question = Question(
        incident=asked["incident"],
        cycle=asked["cycle"],
        round=asked["round"],
        epoch=asked["epoch"],
        candidates=tuple(sorted(asked["candidates"])),
        no_action=asked["no_action"],
        irreversible=irreversible(asked["candidates"]),
    )
    electorate = Electorate(
        epoch=asked["epoch"],
        voters=tuple(
            Voter(
                name=voter["voter"],
                public_key=voter["public_key"],
                weight=float(voter["weight"]),
                is_quarantined=bool(voter["quarantined"]),
            )
            for voter in proof["voters"]
        ),
    )
    if len({voter.name for voter in electorate.voters}) != len(electorate.voters):
        raise ValueError("a voter is listed twice")
    return question, electorate, [ballot_from(ballot) for ballot in proof["ballots"]]
