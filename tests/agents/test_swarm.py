from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connections
from django.db.models import F
from django.db.models.functions import Now
from django.utils.timezone import now

from agents import claims, swarm
from agents.models import (
    Agent,
    AgentRun,
    AgentState,
    Phase,
    PhaseRun,
    PhaseState,
    Response,
    ResponseState,
)
from incidentops.incidents import lifecycle
from incidentops.incidents.events import IncidentOpened
from incidentops.incidents.models import Alert, Incident, Severity, Status, TimelineEntry
from incidentops.leases import LeaseLost
from incidentops.notifications.models import Notification
from incidentops.realtime.models import OutboxEvent
from tests.factories import make_alert, make_incident

pytestmark = pytest.mark.django_db


def states(response: Response) -> dict[str, str]:
    return dict(response.phases.values_list("phase", "state"))


def opened(**fields: Any) -> Response:
    response = swarm.begin(make_incident(**fields).number)
    assert response is not None
    return response


def let_leases_end() -> None:
    running = PhaseRun.objects.filter(state=PhaseState.RUNNING)
    running.update(lease_until=claims.from_now(-swarm.SHIFT))


def make_everything_due() -> None:
    PhaseRun.objects.filter(state=PhaseState.PENDING, due_at__isnull=False).update(due_at=Now())


def events(kind: str) -> list[dict[str, Any]]:
    return [event.data for event in OutboxEvent.objects.filter(type=kind).order_by("pk")]


def test_a_decided_action_ends_escalated_with_the_plan_because_nothing_can_execute_it(fakes):
    response = opened(title="Checkout leaks")

    assert swarm.advance() == 5

    response.refresh_from_db()
    assert response.state == ResponseState.ESCALATED
    assert "restart checkout" in response.reason
    assert response.finished_at is not None
    assert states(response) == {
        "detection": "done",
        "diagnosis": "done",
        "prediction": "done",
        "consensus": "done",
        "resolution": "skipped",
        "verification": "skipped",
        "communication": "done",
    }
    assert response.phases.get(phase="resolution").reason == response.reason
    assert response.decision.outcome == "decided"


def test_people_are_told_why_the_response_was_escalated(fakes):
    response = opened()

    swarm.advance()

    response.refresh_from_db()
    (notification,) = Notification.objects.all()
    assert notification.state == Notification.State.SENT
    assert response.reason in notification.body
    assert response.reason in str(mail.outbox[0].body)
    (sent,) = events("communication.sent")
    assert sent["state"] == "sent"


def test_what_cannot_be_undone_is_not_decided_on_evidence_of_one_family(fakes):
    fakes.families = ("alerts",)
    response = opened()
    swarm.advance()

    response.refresh_from_db()
    assert response.state == ResponseState.ESCALATED
    assert response.decision.outcome == "aborted"
    assert "5 of 5 agents endorse restart" in response.decision.reason
    assert "needs evidence of 2 families" in response.decision.reason
    assert "they rest on alerts" in response.decision.reason


def test_doing_nothing_about_a_firing_incident_is_escalated(fakes):
    fakes.scores = dict.fromkeys(
        ["detection", "diagnosis", "prediction", "resolution", "communication"],
        lambda case, proposal: 0.9 if proposal.action == "NO_ACTION" else 0.1,
    )
    response = opened()
    make_alert(incident=response.incident)

    swarm.advance()

    response.refresh_from_db()
    assert response.state == ResponseState.ESCALATED
    assert "1 of its alerts still fire" in response.reason
    assert states(response)["verification"] == "skipped"


@pytest.mark.parametrize(
    ("recovered", "state"), [(True, "complete"), (None, "complete"), (False, "escalated")]
)
def test_doing_nothing_after_recovery_completes_unless_telemetry_contradicts(
    fakes, recovered, state
):
    for agent in Agent:
        fakes.scores[agent] = lambda case, proposal: float(proposal.action == "NO_ACTION")
    fakes.recovered = recovered
    response = opened()
    make_alert(incident=response.incident, status=Alert.Status.RESOLVED)

    assert swarm.advance() == 6

    response.refresh_from_db()
    assert response.state == state
    assert states(response)["resolution"] == "skipped"
    assert states(response)["verification"] == "done"
    assert response.phases.get(phase="resolution").reason == "There is nothing to do."


def test_without_agreement_a_person_is_called(fakes):
    fakes.scores = {
        agent: lambda case, proposal: 0.9 if proposal.action == "restart" else 0.1
        for agent in ("detection", "diagnosis", "prediction")
    } | {
        agent: lambda case, proposal: 0.1 if proposal.action == "restart" else 0.4
        for agent in ("resolution", "communication")
    }
    response = opened()

    swarm.advance()

    response.refresh_from_db()
    assert response.state == ResponseState.ESCALATED
    assert "no decision" in response.reason
    assert response.decision.outcome == "aborted"
    assert response.decision.round == 1


def test_another_round_is_held_only_when_there_is_something_new_to_know(fakes):
    response = opened()
    make_alert(incident=response.incident)

    def disagree(case: Any, proposal: Any) -> float:
        if len(case.alerts) > 1:
            return 0.9 if proposal.action == "restart" else 0.1
        return 0.1 if proposal.action == "restart" else 0.3

    for agent in Agent:
        fakes.scores[agent] = disagree

    def news(name: str, case: Any) -> None:
        if name == "communication.assess" and len(case.alerts) == 1:
            make_alert(incident=response.incident)

    fakes.during = news

    swarm.advance()

    response.refresh_from_db()
    assert response.decision.outcome == "decided"
    assert response.decision.round == 2
    assert response.ballots.count() == 10


def test_beginning_twice_gives_the_same_response(fakes):
    first = opened()

    assert swarm.begin(first.incident_id) == first
    assert Response.objects.count() == 1
    assert first.phases.count() == 7


def test_a_reopened_incident_gets_another_cycle_and_the_running_one_ends(fakes):
    first = opened()

    second = swarm.begin(first.incident_id, opening=1)

    assert second is not None
    assert second.cycle == 2
    assert swarm.begin(first.incident_id, opening=1) == second
    first.refresh_from_db()
    assert first.state == ResponseState.COMPLETE
    assert "superseded" in first.reason


def test_a_merged_incident_ends_its_response_and_the_work_in_progress_is_thrown_away(fakes):
    response = opened()
    claim = claims.take()
    assert claim is not None

    swarm.end(response.incident_id, "merged into #99", version=2)
    assert not swarm.work(claim)

    response.refresh_from_db()
    assert response.state == ResponseState.COMPLETE
    assert response.reason == "merged into #99"
    assert set(states(response).values()) == {"skipped"}
    assert not AgentRun.objects.filter(state=AgentState.COMPLETED).exists()
    assert swarm.advance() == 0


def test_no_response_is_begun_for_an_incident_that_was_merged_meanwhile(fakes):
    into = make_incident()
    incident = make_incident(status=Status.MERGED, merged_into=into)

    assert swarm.begin(incident.number) is None


def test_urgent_incidents_go_first_whatever_came_before(fakes):
    late = opened(severity=Severity.LOW)
    urgent = opened(severity=Severity.CRITICAL)

    taken = [claims.take(), claims.take()]

    assert [claim and claim.response.pk for claim in taken] == [urgent.pk, late.pk]


def test_a_phase_that_was_begun_goes_before_those_that_never_were(fakes):
    lost = opened()
    assert claims.take() is not None
    let_leases_end()
    swarm.reap()
    never_begun = opened()
    # As after a second loss, which has to wait.
    never_begun.phases.filter(due_at__isnull=False).update(
        due_at=claims.from_now(-timedelta(seconds=1))
    )

    taken = [claims.take(), claims.take()]

    assert [claim and claim.response.pk for claim in taken] == [lost.pk, never_begun.pk]


def test_a_raised_severity_moves_the_work_forward(fakes):
    first, second = opened(severity=Severity.MEDIUM), opened(severity=Severity.MEDIUM)
    Incident.objects.filter(pk=second.incident_id).update(severity=Severity.CRITICAL)

    swarm.set_urgency(second.incident_id)

    claim = claims.take()
    assert claim is not None
    assert claim.response.pk == second.pk
    assert first.urgency == Severity.MEDIUM.rank


def test_a_phase_is_claimed_by_one_worker_only(fakes):
    opened()

    assert claims.take() is not None
    assert claims.take() is None


def test_a_worker_that_lost_its_lease_cannot_commit(fakes):
    response = opened()
    claim = claims.take()
    assert claim is not None
    let_leases_end()
    swarm.reap()
    second = claims.take()
    assert second is not None

    assert not swarm.work(claim)
    assert swarm.work(second)

    assert second.fence == claim.fence + 1
    done = TimelineEntry.objects.filter(incident=response.incident_id, kind="phase.done")
    assert done.count() == 1
    runs = AgentRun.objects.filter(response=response, phase="detection").order_by("fence")
    assert [run.state for run in runs] == [AgentState.TIMEOUT, AgentState.COMPLETED]
    assert runs[0].error == "The worker was lost."


def test_what_a_dead_process_of_this_machine_held_is_taken_back_before_its_lease_ends(fakes):
    opened()
    claim = claims.take()
    assert claim is not None
    ask = "from incidentops.leases import holder; print(holder())"
    dead = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    swarm.reap()
    assert claims.hold(claim).exists(), "we are alive"

    claims.hold(claim).update(lease_owner=dead.stdout.strip())
    swarm.reap()

    second = claims.take()
    assert second is not None
    assert second.fence == claim.fence + 1
    assert not swarm.work(claim)


def test_a_zombie_whose_phase_nobody_took_again_cannot_commit_either(fakes):
    opened()
    claim = claims.take()
    assert claim is not None
    let_leases_end()
    swarm.reap()

    assert not swarm.work(claim)


def test_a_renewed_lease_is_refused_once_the_fence_has_moved(fakes):
    opened()
    claim = claims.take()
    assert claim is not None
    claims.renew(claim)
    PhaseRun.objects.filter(pk=claim.phase_run.pk).update(fence=F("fence") + 1)

    with pytest.raises(LeaseLost):
        claims.renew(claim)


def test_a_specialist_that_raises_is_shown_and_the_response_goes_on(fakes):
    fakes.broken = {"diagnosis.investigate"}
    response = opened()

    swarm.advance()

    response.refresh_from_db()
    run = response.runs.get(phase="diagnosis")
    assert run.state == AgentState.ERROR
    assert run.error == "ValueError: diagnosis.investigate is broken"
    assert run.finding is None
    assert states(response)["diagnosis"] == "done"
    assert response.state == ResponseState.ESCALATED


def test_an_agent_that_cannot_assess_abstains_visibly(fakes):
    fakes.broken = {"prediction.assess", "prediction.outlook"}
    response = opened()

    swarm.advance()

    assert set(response.ballots.values_list("voter", flat=True)) == {
        "detection",
        "diagnosis",
        "resolution",
        "communication",
    }
    run = response.runs.get(phase="consensus", agent="prediction")
    assert run.state == AgentState.ERROR
    assert "Abstained" in run.error
    response.refresh_from_db()
    assert response.decision.outcome == "decided"
    assert "1 abstained: prediction" in response.decision.reason
    assert {row.outlook["unknown"] for row in response.candidates.all()} == {
        "ValueError: prediction.outlook is broken"
    }


def test_a_response_keeps_its_update_back_while_its_incident_is_snoozed(fakes, settings):
    settings.EMAIL_RECIPIENTS = ["ann@example.org"]
    response = opened()
    until = now() + timedelta(hours=1)
    lifecycle.snooze(response.incident, until=until, by="ada")
    swarm.advance()

    assert states(response)["communication"] == "done"
    assert mail.outbox == []
    assert {row.held_until for row in Notification.objects.all()} == {until}
    entry = response.incident.timeline.filter(detail__phase="communication").latest("pk")
    assert "Snoozed: 1 message waits until" in entry.text


def test_when_the_communication_agent_fails_people_get_the_bare_facts(fakes):
    fakes.broken = {"communication.investigate"}
    response = opened(title="Checkout leaks password=hunter2")

    swarm.advance()

    response.refresh_from_db()
    (notification,) = Notification.objects.all()
    assert "Checkout leaks password={PASSWORD}" in notification.subject
    assert "hunter2" not in notification.body
    assert response.reason in notification.body


def test_an_exercise_delivers_nothing_to_people(fakes):
    response = opened(origin=Incident.Origin.GAMEDAY)

    swarm.advance()

    assert states(response)["communication"] == "done"
    assert not Notification.objects.exists()


def poison(response: Response) -> int:
    """Let the response's due phase fail until it is given up; how many attempts that took."""
    attempts = 0
    while claim := claims.take():
        attempts += 1
        swarm._give_back(claim, "MemoryError: killed")
        make_everything_due()
        if claim.phase is Phase.COMMUNICATION:
            break
        if response.phases.filter(state=PhaseState.FAILED).exists():
            break
    return attempts


def test_a_phase_that_fails_five_times_is_dead_and_people_are_told(fakes):
    response = opened()

    assert poison(response) == 5
    swarm.advance()

    response.refresh_from_db()
    assert response.state == ResponseState.FAILED
    assert states(response)["detection"] == "failed"
    assert states(response)["consensus"] == "skipped"
    assert states(response)["communication"] == "done"
    assert "Phase detection failed 5 times: MemoryError: killed" in response.reason
    assert response.reason in Notification.objects.get().body
    assert response.finished_at is not None


def test_a_person_revives_a_dead_phase_and_people_are_told_the_new_end(fakes):
    response = opened()
    poison(response)
    swarm.advance()

    swarm.requeue(response.incident_id, by="ada")
    swarm.advance()

    response.refresh_from_db()
    assert response.state == ResponseState.ESCALATED
    assert states(response)["detection"] == "done"
    assert states(response)["communication"] == "done"
    assert Notification.objects.count() == 2


def test_reviving_one_of_the_parallel_phases_joins_as_if_it_had_not_died(fakes):
    response = opened()
    detection = claims.take()
    assert detection is not None
    assert swarm.work(detection)
    poison(response)
    assert "failed" in (states(response)["diagnosis"], states(response)["prediction"])
    swarm.advance()

    swarm.requeue(response.incident_id, by="ada")
    swarm.advance()

    response.refresh_from_db()
    assert response.state == ResponseState.ESCALATED
    assert states(response)["diagnosis"] == states(response)["prediction"] == "done"


def test_reviving_a_dead_message_keeps_the_escalation(fakes):
    response = opened()
    while (claim := claims.take()) and claim.phase is not Phase.COMMUNICATION:
        swarm.work(claim)
    assert claim is not None
    for _ in range(claims.MAX_ATTEMPTS):
        swarm._give_back(claim, "OperationalError: away")
        make_everything_due()
        claim = claims.take() or claim
    response.refresh_from_db()
    assert response.state == ResponseState.FAILED

    swarm.requeue(response.incident_id, by="ada")
    swarm.advance()

    response.refresh_from_db()
    assert response.state == ResponseState.ESCALATED
    assert "restart checkout" in response.reason


def test_a_living_response_cannot_be_requeued(fakes):
    response = opened()

    with pytest.raises(swarm.NotDead):
        swarm.requeue(response.incident_id, by="ada")


def test_failed_attempts_wait_longer_each_time_and_spread_without_chance():
    waits = [claims.backoff(attempts, key=7).total_seconds() for attempts in range(1, 6)]

    assert waits[0] == 0
    assert all(1 <= later / earlier <= 2.6 for earlier, later in itertools.pairwise(waits[1:]))
    assert claims.backoff(3, key=7) == claims.backoff(3, key=7)
    assert len({claims.backoff(3, key=key) for key in range(50)}) > 40


def test_every_agent_state_of_a_run_is_streamed_in_order(fakes):
    opened()

    swarm.advance()

    seen: dict[int, list[str]] = {}
    for data in events("agent.state"):
        seen.setdefault(data["run"], []).append(data["state"])
    detection = AgentRun.objects.get(phase="detection")
    assert seen[detection.pk] == ["initializing", "analyzing", "completed"]


def test_versions_of_a_response_only_grow(fakes):
    opened()

    swarm.advance()

    versions = [event.version for event in OutboxEvent.objects.filter(type="phase.changed")]
    assert versions == sorted(versions)
    assert len(set(versions)) == len(versions)


def test_opening_an_incident_begins_its_response(fakes, django_capture_on_commit_callbacks):
    from agents import receivers
    from incidentops.realtime.events import rebuild

    incident = lifecycle.open_incident(title="By hand", severity="high", by="ada")
    row = OutboxEvent.objects.get(type="incident.opened")
    event = rebuild(row.type, row.data, row.version)
    assert isinstance(event, IncidentOpened)

    receivers.begin(event)

    assert Response.objects.get().incident == incident


@pytest.mark.django_db(transaction=True)
def test_many_workers_commit_every_phase_once(fakes):
    for _ in range(6):
        opened()
    failures: list[BaseException] = []

    def shift() -> None:
        try:
            while Response.objects.filter(finished_at=None).exists():
                swarm.advance()
        except BaseException as error:  # noqa: BLE001  # handed to the test's own thread
            failures.append(error)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=shift) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)

    assert not failures
    assert Response.objects.filter(state=ResponseState.ESCALATED).count() == 6
    assert TimelineEntry.objects.filter(kind="phase.done").count() == 6 * 5
    assert PhaseRun.objects.filter(attempts__gt=1).count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_long_phase_keeps_its_lease(fakes, settings):
    settings.LEASE = swarm.SHIFT / 100  # 0.3 s
    opened()
    renewed: Callable[[], bool] = lambda: PhaseRun.objects.filter(  # noqa: E731  # read in a loop
        state=PhaseState.RUNNING, lease_until__gt=F("started_at") + settings.LEASE * 2
    ).exists()

    def wait(name: str, case: Any) -> None:
        if name == "detection.investigate":
            while not renewed():
                swarm.reap()

    fakes.during = wait
    claim = claims.take()
    assert claim is not None

    assert swarm.work(claim)
    assert claim.fence == 1
