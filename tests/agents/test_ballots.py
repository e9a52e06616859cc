from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils.timezone import now

from agents import claims, consensus, keys, swarm, voting
from agents.case import NO_ACTION, Claim, EvidenceItem, Finding, Opinion, Proposal
from agents.findings import as_json, ground, plain
from agents.models import Agent, Ballot, Decision, Equivocation, Response, VoterKey
from incidentops.access.models import AuditEntry
from tests.factories import make_alert, make_incident
from tests.narrowing import known

pytestmark = pytest.mark.django_db


def opened() -> Response:
    response = swarm.begin(make_incident().number)
    assert response is not None
    return response


def asking(response: Response) -> consensus.Question:
    voting.freeze(response, (Proposal(action="restart", target="checkout"),), {})
    return voting.question(response, voting.candidates_of(response), 1)


def opinion(asked: consensus.Question, score: float) -> Opinion:
    return Opinion(scores=dict.fromkeys(asked.candidates, score), reason="I looked.")


def test_doing_nothing_is_always_a_candidate():
    response = opened()

    asked = asking(response)

    assert len(asked.candidates) == 2
    assert asked.no_action in asked.candidates


def cast(response, asked, ballot):
    return voting.cast(response, asked, ballot, voting.electorate(asked.epoch))


def test_the_first_ballot_of_a_voter_stands_and_the_same_again_changes_nothing():
    response = opened()
    asked = asking(response)
    ballot = voting.signed(asked, "detection", opinion(asked, 0.8), seen="x")

    first = cast(response, asked, ballot)

    assert cast(response, asked, ballot) == first
    assert Ballot.objects.count() == 1
    assert not Equivocation.objects.exists()


def test_a_second_different_ballot_is_kept_as_proof_and_the_voter_leaves_the_next_epoch():
    response = opened()
    asked = asking(response)
    cast(response, asked, voting.signed(asked, "detection", opinion(asked, 0.8), seen="x"))

    cast(response, asked, voting.signed(asked, "detection", opinion(asked, 0.1), seen="x"))

    assert set(Ballot.objects.get().scores.values()) == {0.8}
    proof = Equivocation.objects.get()
    assert proof.first["signature"] != proof.second["signature"]
    assert all(not voter.is_quarantined for voter in voting.electorate(asked.epoch).voters)
    following = voting.current_electorate()
    assert following.epoch == asked.epoch + 1
    assert [v.name for v in following.voters if v.is_quarantined] == ["detection"]
    assert AuditEntry.objects.filter(action="voter.quarantined").count() == 1


def test_a_ballot_that_would_not_count_is_refused():
    response = opened()
    asked = asking(response)
    ballot = voting.signed(asked, "detection", opinion(asked, 0.8), seen="x")

    with pytest.raises(voting.Refused, match="signature"):
        cast(response, asked, replace(ballot, reason="changed"))
    assert not Ballot.objects.exists()


def test_keys_are_the_same_after_a_restart_and_differ_between_voters_and_epochs():
    made = {keys.public_key(agent, epoch) for agent in Agent for epoch in (1, 2)}

    assert len(made) == 10
    assert keys.public_key("detection", 1) == keys.public_key("detection", 1)


def test_a_new_secret_key_opens_a_new_epoch_and_old_certificates_still_verify(settings, fakes):
    response = opened()
    swarm.advance()
    settings.SECRET_KEY = "another key " + "y" * 40

    members = voting.current_electorate()

    assert members.epoch == 2
    assert VoterKey.objects.count() == 10
    call_command("verify_decision", response.incident_id, stdout=StringIO())


def test_a_retry_of_consensus_reuses_the_stored_ballots(fakes):
    response = opened()
    while (claim := claims.take()) and claim.phase != "consensus":
        swarm.work(claim)
    assert claim is not None
    asked_before: list[str] = []

    def crash(name: str, case: object) -> None:
        asked_before.append(name)
        if name == "prediction.assess":
            raise KeyboardInterrupt

    fakes.during = crash
    with pytest.raises(KeyboardInterrupt):
        swarm.work(claim)
    stored = set(response.ballots.values_list("voter", "signature"))
    assert {voter for voter, _ in stored} == {"detection", "diagnosis"}
    asked_before.clear()
    fakes.during = lambda name, case: asked_before.append(name)
    claims.hold(claim).update(lease_until=claims.from_now(-swarm.SHIFT))
    swarm.reap()

    swarm.advance()

    assert stored < set(response.ballots.values_list("voter", "signature"))
    assert "detection.assess" not in asked_before
    assert "resolution.propose" not in asked_before
    assert response.ballots.count() == 5


def test_a_worker_that_lost_its_lease_casts_no_ballot(fakes):
    response = opened()
    while (claim := claims.take()) and claim.phase != "consensus":
        swarm.work(claim)
    assert claim is not None

    def lose(name: str, case: object) -> None:
        if name == "diagnosis.assess":
            claims.hold(claim).update(lease_until=claims.from_now(-swarm.SHIFT))
            swarm.reap()

    fakes.during = lose

    assert not swarm.work(claim)
    assert set(response.ballots.values_list("voter", flat=True)) == {"detection"}
    assert not Decision.objects.exists()


def is_somebody_waiting() -> bool:
    """Whether a transaction of this database waits for a lock."""
    with connection.cursor() as cursor:
        # Else a transaction sees the same activity however often it looks.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


@pytest.mark.postgres
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_casting_a_ballot_and_ending_the_response_do_not_lock_each_other_out(fakes, caplog):
    response = opened()
    while (claim := claims.take()) and claim.phase != "consensus":
        swarm.work(claim)
    assert claim is not None
    has_locked = threading.Event()

    def end() -> None:
        with transaction.atomic():
            claims.locked(response.pk)
            has_locked.set()
            while not is_somebody_waiting():
                pass
            swarm.end(response.incident_id, "merged into #2", version=2)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        ending: list[Future[None]] = []

        def meet(name: str, case: object) -> None:
            if name == "detection.assess":
                ending.append(pool.submit(end))
                has_locked.wait()

        fakes.during = meet
        assert not swarm.work(claim)
        ending[0].result()

    response.refresh_from_db()
    assert response.state == "complete"
    assert "deadlock" not in caplog.text


@pytest.mark.postgres
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_two_voters_that_are_quarantined_at_once_are_both_heard_no_more():
    voting.current_electorate()

    def quarantine_another() -> None:
        with transaction.atomic():
            voting.quarantine("diagnosis")
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            voting.quarantine("detection")
            other = pool.submit(quarantine_another)
            while not is_somebody_waiting():
                pass
        other.result()

    members = voting.current_electorate()
    silent = {voter.name for voter in members.voters if voter.is_quarantined}
    assert silent == {"detection", "diagnosis"}


def test_the_decision_of_an_incident_verifies_offline(fakes):
    response = opened()
    swarm.advance()
    out = StringIO()

    call_command("verify_decision", response.incident_id, stdout=out)

    assert "5 ballots verified" in out.getvalue()


def tamper(response: Response, where: str) -> None:
    """Change one stored thing and nothing that was derived from it."""
    ballot = response.ballots.filter(voter="detection")
    restart = response.candidates.filter(action="restart")
    match where:
        case "signature":
            ballot.update(signature="00")
        case "scores":
            ballot.update(scores=dict.fromkeys(ballot.get().scores, 0.0))
        case "reason":
            ballot.update(reason="I was never asked.")
        case "choice of a ballot":
            ballot.update(choice=response.candidates.get(action=NO_ACTION).digest)
        case "decision":
            Decision.objects.update(choice=response.candidates.get(action=NO_ACTION).digest)
        case "outcome":
            Decision.objects.update(outcome=Decision.Outcome.ABORTED)
        case "candidate":
            restart.delete()
        case "content":
            restart.update(content={**restart.get().content, "target": "bank"})
        case "weight":
            VoterKey.objects.filter(voter="detection").update(weight=0.5)
        case "quarantine":
            VoterKey.objects.filter(voter="detection").update(quarantined_at=now())
        case "missing":
            Decision.objects.all().delete()


@pytest.mark.parametrize(
    "where",
    [
        "signature",
        "scores",
        "reason",
        "choice of a ballot",
        "decision",
        "outcome",
        "candidate",
        "content",
        "weight",
        "quarantine",
        "missing",
    ],
)
def test_verification_names_what_was_tampered_with(fakes, where):
    response = opened()
    swarm.advance()
    call_command("verify_decision", response.incident_id, stdout=StringIO())
    tamper(response, where)

    with pytest.raises(CommandError):
        call_command("verify_decision", response.incident_id, stdout=StringIO())


def test_verification_finds_a_decision_on_too_narrow_evidence(fakes, monkeypatch):
    fakes.families = ("alerts",)
    with monkeypatch.context() as lax:
        lax.setattr(consensus, "is_broad", lambda evidence: True)
        response = opened()
        swarm.advance()
    assert Decision.objects.get(response=response).outcome == Decision.Outcome.DECIDED

    with pytest.raises(CommandError, match="standings are not those"):
        call_command("verify_decision", response.incident_id, stdout=StringIO())


def test_verification_reads_the_ballots_of_earlier_rounds(fakes):
    response = opened()
    fakes.scores = {agent: lambda case, proposal: 0.1 for agent in Agent}

    def learn(name: str, case: object) -> None:
        if name == "resolution.assess":
            make_alert(incident=response.incident)

    fakes.during = learn
    swarm.advance()
    assert set(response.ballots.values_list("round", flat=True)) == {1, 2, 3}
    response.ballots.filter(round=1, voter="detection").update(reason="I was never asked.")

    with pytest.raises(CommandError, match="ballot of detection in round 1"):
        call_command("verify_decision", response.incident_id, stdout=StringIO())


def test_claims_without_known_evidence_are_dropped_and_counted():
    seen = EvidenceItem(family="logs", kind="log_templates", title="t", source="s", data={})
    finding = Finding(
        agent="diagnosis",
        summary="s",
        evidence=(seen,),
        claims=(
            Claim(text="shown", evidence=(seen.id(1),)),
            Claim(text="stored", evidence=("earlier",)),
            Claim(text="invented", evidence=("no-such-id",)),
            Claim(text="half invented", evidence=(seen.id(1), "no-such-id")),
            Claim(text="bare", evidence=()),
        ),
    )

    grounded = ground(finding, response_id=1, known={"earlier"})

    assert [claim.text for claim in grounded.finding.claims] == ["shown", "stored"]
    assert as_json(grounded)["dropped_claims"] == 3


def test_dropped_claims_are_visible_in_the_run(fakes):
    fakes.extra_claims = (Claim(text="The moon did it.", evidence=("invented",)),)
    response = opened()

    swarm.advance()

    finding = known(response.runs.get(phase="diagnosis").finding)
    assert finding["dropped_claims"] == 1
    assert [claim["text"] for claim in finding["claims"]] == ["diagnosis saw it."]


def test_what_a_database_cannot_hold_becomes_null_or_goes():
    import numpy as np

    assert plain({"a": float("nan"), 1: np.float64(2.5), "b": (np.int64(3), "x\x00y\ud800")}) == {
        "a": None,
        "1": 2.5,
        "b": [3, "xy?"],
    }
