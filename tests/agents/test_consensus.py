from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import event, given, settings
from hypothesis import strategies as st

from agents import consensus
from agents.case import NO_ACTION, Proposal
from agents.consensus import Ballot, Electorate, Question, Voter

NAMES = ("communication", "detection", "diagnosis", "prediction", "resolution")
KEYS = {
    name: Ed25519PrivateKey.from_private_bytes(bytes([place + 1]) * 32)
    for place, name in enumerate(NAMES)
}
THIEF = Ed25519PrivateKey.from_private_bytes(b"t" * 32)
CANDIDATES = ("aaaa", "bbbb", "none")
QUESTION = Question(incident=12, cycle=1, round=1, epoch=3, candidates=CANDIDATES, no_action="none")
ELECTORATE = Electorate(
    epoch=3,
    voters=tuple(
        Voter(name=name, public_key=KEYS[name].public_key().public_bytes_raw().hex())
        for name in NAMES
    ),
)


def ballot(
    voter: str,
    scores: dict[str, float],
    *,
    asked: Question = QUESTION,
    key: Ed25519PrivateKey | None = None,
    reason: str = "",
    families: tuple[str, ...] = (),
) -> Ballot:
    blank = Ballot(
        incident=asked.incident,
        cycle=asked.cycle,
        round=asked.round,
        epoch=asked.epoch,
        candidates_digest=asked.candidates_digest,
        voter=voter,
        scores=scores,
        reason=reason,
        families=families,
    )
    return replace(blank, signature=consensus.sign(blank, key or KEYS[voter]))


def votes(*preferred: str) -> list[Ballot]:
    """One ballot each, in the order of names, for the candidate named."""
    return [
        ballot(name, {c: 0.9 if c == choice else 0.1 for c in CANDIDATES})
        for name, choice in zip(NAMES, preferred, strict=False)
    ]


def decided(ballots: list[Ballot], electorate: Electorate = ELECTORATE) -> str | None:
    return consensus.tally(QUESTION, electorate, ballots).choice


def test_four_of_five_decide_and_three_do_not():
    assert decided(votes("aaaa", "aaaa", "aaaa", "aaaa", "bbbb")) == "aaaa"
    assert decided(votes("aaaa", "aaaa", "aaaa", "bbbb", "bbbb")) is None
    assert decided(votes("aaaa", "aaaa", "aaaa")) is None


@pytest.mark.parametrize(("n", "needed"), [(4, 3), (5, 4), (6, 4), (7, 5)])
def test_the_quorum_follows_from_the_number_of_voters(n, needed):
    assert consensus.quorum(n) == needed


def test_a_candidate_worse_than_doing_nothing_is_not_endorsed():
    ballots = [ballot(name, {"aaaa": 0.6, "bbbb": 0.0, "none": 0.7}) for name in NAMES]

    assert decided(ballots) == "none"


def test_of_several_decided_candidates_the_highest_score_wins_and_ties_go_by_digest():
    scores = {"aaaa": 0.7, "bbbb": 0.9, "none": 0.1}
    assert decided([ballot(name, scores) for name in NAMES]) == "bbbb"
    scores = {"aaaa": 0.9, "bbbb": 0.9, "none": 0.1}
    assert decided([ballot(name, scores) for name in NAMES]) == "aaaa"


def test_a_quarantined_voter_is_not_heard_and_the_quorum_stays():
    voters = (replace(ELECTORATE.voters[0], is_quarantined=True), *ELECTORATE.voters[1:])
    smaller = replace(ELECTORATE, voters=voters)

    assert decided(votes(*["aaaa"] * 5), smaller) == "aaaa"
    assert decided(votes("aaaa", "aaaa", "aaaa", "aaaa", "bbbb"), smaller) is None


def test_weights_are_capped_and_must_exceed_half_of_all_and_a_fault():
    voters = tuple(
        replace(voter, weight=weight)
        for voter, weight in zip(ELECTORATE.voters, (99.0, 0.2, 0.2, 0.2, 1.0), strict=True)
    )
    uneven = replace(ELECTORATE, voters=voters)

    assert uneven.total_weight == pytest.approx(2.6)
    assert uneven.weight_needed == pytest.approx(1.8)
    assert decided(votes("aaaa", "aaaa", "aaaa", "aaaa", "bbbb"), uneven) is None
    assert decided(votes("bbbb", "aaaa", "aaaa", "aaaa", "aaaa"), uneven) is None
    assert decided(votes("aaaa", "bbbb", "aaaa", "aaaa", "aaaa"), uneven) == "aaaa"


FINAL = replace(QUESTION, irreversible=frozenset({"aaaa"}))
FOR = {"aaaa": 0.9, "bbbb": 0.6, "none": 0.1}


@pytest.mark.parametrize(
    ("families", "choice"),
    [
        # Nothing undoes aaaa; bbbb is endorsed by all as well, and can be undone.
        ([("alerts",)] * 5, "bbbb"),
        ([()] * 5, "bbbb"),
        ([("", "alerts")] * 5, "bbbb"),
        ([("alerts", "metrics")] * 5, "aaaa"),
        ([("alerts",)] * 3 + [("metrics",)] * 2, "aaaa"),
        # One voter alone must not be the second family: it may be the liar.
        ([("alerts",)] * 4 + [("metrics", "logs", "topology")], "bbbb"),
    ],
)
def test_what_cannot_be_undone_needs_evidence_of_two_families(families, choice):
    ballots = [ballot(name, FOR, families=seen) for name, seen in zip(NAMES, families, strict=True)]

    assert consensus.tally(FINAL, ELECTORATE, ballots).choice == choice
    assert consensus.tally(QUESTION, ELECTORATE, ballots).choice == "aaaa"


def test_evidence_of_who_does_not_endorse_does_not_count():
    ballots = [ballot(name, FOR, families=("alerts",)) for name in NAMES[:4]]
    against = ballot(NAMES[4], {"aaaa": 0.1, "bbbb": 0.1, "none": 0.9}, families=("metrics",))

    assert consensus.tally(FINAL, ELECTORATE, [*ballots, against]).choice == "bbbb"


def test_only_an_action_without_an_inverse_is_irreversible():
    contents: dict[str, dict[str, Any]] = {
        "aaaa": {"action": "restart", "inverse": None},
        "bbbb": {"action": "scale_out", "inverse": {"action": "scale_in"}},
        "cccc": {"action": "clear_cache"},
        "none": {"action": NO_ACTION, "inverse": None},
    }

    assert consensus.irreversible(contents) == {"aaaa", "cccc"}


def test_whoever_signs_two_ballots_is_heard_in_neither():
    ballots = votes("aaaa", "aaaa", "aaaa", "aaaa", "aaaa")[:4]
    second = ballot("communication", {"aaaa": 0.1, "bbbb": 0.9, "none": 0.0})

    result = consensus.tally(QUESTION, ELECTORATE, [*ballots, second])

    assert result.choice is None
    assert result.equivocators == ("communication",)


@pytest.mark.parametrize(
    "change",
    [
        {"incident": 13},
        {"cycle": 2},
        {"round": 2},
        {"epoch": 4},
        {"candidates_digest": "f" * 64},
        {"scores": {"aaaa": 1.0, "bbbb": 0.0, "none": 0.0, "root": 1.0}},
        {"scores": {"aaaa": 1.0}},
        {"scores": {"aaaa": 7.0, "bbbb": 0.0, "none": 0.0}},
        {"scores": {"aaaa": float("nan"), "bbbb": 0.0, "none": 0.0}},
        {"voter": "mallory"},
        {"signature": ""},
        {"signature": "zz"},
        {"reason": "changed after signing"},
    ],
)
def test_a_ballot_for_another_question_or_with_another_hand_does_not_count(change):
    ballots = votes("aaaa", "aaaa", "aaaa", "aaaa")
    changed = replace(ballots[0], **change)
    if not {"signature", "reason"} & set(change) and change.get("voter") is None:
        changed = replace(changed, signature=consensus.sign(changed, KEYS[changed.voter]))

    result = consensus.tally(QUESTION, ELECTORATE, [changed, *ballots[1:]])

    assert result.choice is None
    assert len(result.rejected) == 1


def test_a_score_changed_behind_the_signed_decimals_does_not_count():
    ballots = [ballot(name, {"aaaa": 0.5, "bbbb": 0.1, "none": 0.5}) for name in NAMES[:4]]
    assert decided(ballots) == "aaaa"
    scores = {**ballots[0].scores, "aaaa": 0.4999999}
    changed = replace(ballots[0], scores=scores)

    result = consensus.tally(QUESTION, ELECTORATE, [changed, *ballots[1:]])

    assert consensus.canonical(changed) == consensus.canonical(ballots[0])
    assert result.rejected == (("communication", "a score has more decimals than are signed"),)


def test_scores_that_are_no_numbers_never_reach_a_ballot():
    with pytest.raises(consensus.InvalidBallot):
        consensus.scores_for(QUESTION, {"aaaa": float("nan"), "bbbb": 0.0, "none": 0.0})
    with pytest.raises(consensus.InvalidBallot):
        consensus.scores_for(QUESTION, {"aaaa": 1.0})
    assert consensus.scores_for(QUESTION, {"aaaa": 7, "bbbb": -1, "none": 1 / 3}) == {
        "aaaa": 1.0,
        "bbbb": 0.0,
        "none": 0.333333,
    }


# --- Invariants --------------------------------------------------------------------------------

score = st.floats(0, 1).map(lambda value: round(value, 6))
honest_scores = st.fixed_dictionaries(dict.fromkeys(CANDIDATES, score))
other_questions = st.sampled_from(
    [
        replace(QUESTION, incident=13),
        replace(QUESTION, cycle=2),
        replace(QUESTION, round=2),
        replace(QUESTION, epoch=4),
        replace(QUESTION, candidates=("aaaa", "none")),
    ]
)


@st.composite
def attacks(draw: st.DrawFn) -> tuple[str, list[Ballot], list[Ballot]]:
    """One liar; what the others honestly cast; and all that reaches the count, in any order."""
    liar = draw(st.sampled_from(NAMES))
    honest = [
        ballot(name, draw(honest_scores)) for name in NAMES if name != liar and draw(st.booleans())
    ]
    lies = [
        ballot(liar, draw(honest_scores), reason=str(place))
        for place in range(draw(st.integers(0, 3)))
    ]
    forged = [
        ballot(draw(st.sampled_from(NAMES)), draw(honest_scores), key=THIEF)
        for _ in range(draw(st.integers(0, 3)))
    ]
    replayed = [
        ballot(draw(st.sampled_from(NAMES)), draw(honest_scores), asked=draw(other_questions))
        for _ in range(draw(st.integers(0, 3)))
    ]
    again = draw(st.lists(st.sampled_from(honest), max_size=4)) if honest else []
    arriving = draw(st.permutations([*honest, *lies, *forged, *replayed, *again]))
    return liar, honest, list(arriving)


@settings(max_examples=150, deadline=None)
@given(attacks())
def test_one_liar_cannot_decide_what_fewer_than_three_honest_agents_endorse(attack):
    _, honest, arriving = attack

    choice = decided(arriving)

    assert choice is None or choice in CANDIDATES
    if choice is not None:
        assert sum(one.endorses(choice, "none") for one in honest) >= 3


# Agents mostly agree and mostly look at the same: else hardly any attack would come to a decision.
wants_it = st.just({"aaaa": 0.9, "bbbb": 0.2, "none": 0.1})
seen_families = st.sampled_from([("alerts",), ("alerts",), ("alerts",), ("alerts", "logs"), ()])


@st.composite
def agreements(draw: st.DrawFn) -> tuple[list[Ballot], list[Ballot]]:
    """What honest agents cast who mostly agree, and that beside the ballots of a liar who agrees."""
    liar = draw(st.sampled_from(NAMES))
    others = [name for name in NAMES if name != liar]
    doubter = draw(st.sampled_from([*others, None, None]))
    honest = [
        ballot(
            name, draw(honest_scores if name == doubter else wants_it), families=draw(seen_families)
        )
        for name in others
    ]
    lie = ballot(liar, draw(wants_it), families=draw(st.sampled_from([("metrics", "logs"), ()])))
    return honest, list(draw(st.permutations([*honest, *draw(st.sampled_from([[lie], []]))])))


@settings(max_examples=300, deadline=None)
@given(agreements())
def test_nothing_irreversible_is_decided_unless_honest_endorsers_have_two_families(agreement):
    honest, arriving = agreement

    choice = consensus.tally(FINAL, ELECTORATE, arriving).choice
    event(f"decided {choice}")
    if choice == "aaaa":
        endorsing = [one for one in honest if one.endorses("aaaa", "none")]
        assert len({family for one in endorsing for family in one.families}) >= 2
        assert choice == decided(arriving), "the rule only ever takes away"


@settings(max_examples=60, deadline=None)
@given(attacks(), st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_changes_the_count(attack, order):
    _, _, arriving = attack
    shuffled = [*arriving, *arriving]
    order.shuffle(shuffled)

    assert consensus.tally(QUESTION, ELECTORATE, shuffled) == consensus.tally(
        QUESTION, ELECTORATE, arriving
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(honest_scores, min_size=5, max_size=5))
def test_two_quorums_of_one_round_cannot_decide_differently_by_hiding_a_ballot(scores):
    """Whatever ballot a verifier misses, it decides the same or nothing decided beside it."""
    everything = [ballot(name, one) for name, one in zip(NAMES, scores, strict=True)]
    whole = consensus.tally(QUESTION, ELECTORATE, everything)
    able = {standing.candidate for standing in whole.standings if standing.is_decided}
    for hidden in range(5):
        part = decided(everything[:hidden] + everything[hidden + 1 :])
        assert part is None or part in able


# --- Schedules and mutants ---------------------------------------------------------------------


def schedule(seed: int) -> tuple[list[Ballot], list[Ballot]]:
    """What honest agents cast and what arrives, with one liar at its worst."""
    rng = random.Random(seed)
    liar = rng.choice(NAMES)
    target = rng.choice(CANDIDATES)
    loved = {c: 1.0 if c == target else 0.0 for c in CANDIDATES}
    strategy = rng.choice(["repeat", "forge", "replay", "equivocate", "plain"])
    # Old ballots matter most where new ones are missing.
    turnout = 0.3 if strategy == "replay" else 0.9
    honest = []
    for name in NAMES:
        if name != liar and rng.random() < turnout:
            scores = (
                loved
                if rng.random() < 0.5
                else {c: round(rng.random(), 6) for c in CANDIDATES if c != target} | {target: 0.1}
            )
            honest.append(ballot(name, scores))
    arriving = [*honest, ballot(liar, loved)]
    if strategy == "repeat":
        arriving += [ballot(liar, loved)] * 4
    elif strategy == "forge":
        arriving += [ballot(name, loved, key=THIEF) for name in NAMES]
    elif strategy == "replay":
        other = replace(QUESTION, round=2)
        arriving += [ballot(name, loved, asked=other) for name in NAMES]
    elif strategy == "equivocate":
        arriving.append(ballot(liar, loved, reason="again"))
    rng.shuffle(arriving)
    return honest, arriving


@pytest.fixture(scope="module")
def schedules() -> list[tuple[list[Ballot], list[Ballot]]]:
    return [schedule(seed) for seed in range(2000)]


def is_violated(honest: list[Ballot], arriving: list[Ballot]) -> bool:
    """Something was decided against the honest, or endorsers weigh more than they may."""
    result = consensus.tally(QUESTION, ELECTORATE, arriving)
    endorsers = sum(
        result.choice is not None and one.endorses(result.choice, "none") for one in honest
    )
    if result.choice is not None and endorsers < 3:
        return True
    return any(
        standing.weight > len(standing.endorsers) * consensus.WEIGHT_CAP
        for standing in result.standings
    )


def test_in_two_thousand_adversarial_schedules_a_liar_never_prevails(schedules):
    assert not any(is_violated(honest, arriving) for honest, arriving in schedules)
    choices = {decided(arriving) for _, arriving in schedules[:200]}
    assert choices == {*CANDIDATES, None}


def _three(n: int, faults: int = 1) -> int:
    return 3


def _repeated(ballots: list[Ballot]) -> tuple[dict[str, Ballot], tuple[str, ...]]:
    return {f"{one.voter} {place}": one for place, one in enumerate(ballots)}, ()


def _believes(candidate: Ballot, public_key: str) -> bool:
    return True


def _any_question(question: Question, electorate: Electorate, one: Ballot) -> str:
    known = electorate.find(one.voter)
    if known is None or set(one.scores) != set(question.candidates):
        return "unreadable"
    return "" if consensus.has_valid_signature(one, known.public_key) else "forged"


def _own_weight(electorate: Electorate, name: str) -> float:
    return 5.0 if name in NAMES else 0.0


@pytest.mark.parametrize(
    ("where", "name", "mutant"),
    [
        (consensus, "quorum", _three),
        (consensus, "one_each", _repeated),
        (consensus, "has_valid_signature", _believes),
        (consensus, "objection", _any_question),
        (Electorate, "weight_of", _own_weight),
    ],
    ids=["2f+1", "count duplicates", "skip signatures", "accept replays", "self-weight"],
)
def test_every_weakened_rule_is_caught(
    schedules, monkeypatch, where: object, name: str, mutant: Callable[..., object]
):
    monkeypatch.setattr(where, name, mutant)
    if name == "quorum":
        # The weight rule alone would still hold: a mutant weakens the rule as a whole.
        monkeypatch.setattr(Electorate, "weight_needed", 2.5)
    if name == "one_each":
        monkeypatch.setattr(
            Electorate, "weight_of", lambda self, name: 1.0 if name.split()[0] in NAMES else 0.0
        )

    assert any(is_violated(honest, arriving) for honest, arriving in schedules)


# --- Certificates ------------------------------------------------------------------------------


def proof() -> dict[str, object]:
    restart = Proposal(action="restart", target="checkout")
    nothing = Proposal(action=NO_ACTION)
    contents = {
        proposal.digest: {**copy.deepcopy(proposal.__dict__), "preconditions": [], "evidence": []}
        for proposal in (restart, nothing)
    }
    asked = replace(
        QUESTION,
        candidates=tuple(sorted(contents)),
        no_action=nothing.digest,
        irreversible=consensus.irreversible(contents),
    )
    assert asked.irreversible == {restart.digest}
    ballots = [
        ballot(
            name,
            {restart.digest: 0.9, nothing.digest: 0.2},
            asked=asked,
            families=("alerts", "metrics"),
        )
        for name in NAMES
    ]
    return consensus.certificate(asked, ELECTORATE, ballots, contents)


def test_a_certificate_is_checked_without_anything_else():
    assert consensus.faults_of(proof()) == []


def _on_alerts_alone(proof: dict[str, Any]) -> None:
    """As if everybody had rested on one family, and signed so."""
    for place, stored in enumerate(proof["ballots"]):
        narrow = replace(consensus.ballot_from(stored), families=("alerts",))
        signed = replace(narrow, signature=consensus.sign(narrow, KEYS[narrow.voter]))
        proof["ballots"][place] = consensus.ballot_json(signed)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda p: p["ballots"][0]["scores"].update(dict.fromkeys(p["ballots"][0]["scores"], 0.5)), "signature"),
        (lambda p: p["ballots"][0].update(reason="other"), "signature"),
        (lambda p: p["ballots"].pop() and p["ballots"].pop(), "decide None"),
        (lambda p: _on_alerts_alone(p), "decide None"),
        (lambda p: p.update(choice=p["question"]["no_action"]), "decide"),
        (lambda p: p["question"]["candidates"][p["choice"]].update(target="bank"), "content"),
        (lambda p: p["question"].update(round=2), "another incident"),
        (lambda p: p["voters"].pop(), "not a voter"),
        (lambda p: p["voters"].append(p["voters"][0]), "read"),
        (lambda p: p["question"].update(no_action="gone"), "Doing nothing"),
        (lambda p: p["question"].update(no_action=p["choice"]), "Doing nothing"),
        (lambda p: p["standings"][0].update(endorsers=["mallory"]), "standings"),
        (lambda p: p.pop("question"), "read"),
        (lambda p: p.pop("standings"), "standings"),
        (lambda p: p["question"]["candidates"].update({p["choice"]: "restart"}), "read"),
    ],
)  # fmt: skip
def test_a_changed_certificate_is_found_out(spoil, complaint):
    changed = proof()
    spoil(changed)

    assert any(complaint in fault for fault in consensus.faults_of(changed))
