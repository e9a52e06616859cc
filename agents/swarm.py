"""The durable response: begun once, advanced phase by phase, ended whatever is killed.

The database owns all progress. Whoever is awake takes the most urgent due phase, does its work
outside any transaction, and commits everything it found together with what follows from it, if its
fence is still the newest. Rows are locked in one order: the incident, the response, its phases.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import BooleanField, ExpressionWrapper, F, Q, QuerySet, Value
from django.db.models.functions import Now

from agents import streams
from agents.case import NO_ACTION
from agents.claims import (
    MAX_ATTEMPTS,
    Claim,
    backoff,
    from_now,
    hold,
    locked,
    next_of,
    renew,
    take,
    take_in,
)
from agents.findings import as_json, plain
from agents.models import (
    AgentRun,
    AgentState,
    Candidate,
    Decision,
    Evidence,
    Phase,
    PhaseRun,
    PhaseState,
    Response,
    ResponseState,
)
from agents.phases import Outcome, Report, Verdict, run
from agents.wakeups import wake, wake_on_commit
from incidentops.access import audit
from incidentops.incidents import lifecycle, timeline
from incidentops.incidents.models import Alert, Incident, Severity, Status
from incidentops.leases import Heartbeat, LeaseLost, is_gone

log = logging.getLogger(__name__)

ACTOR = "swarm"
# A wake-up works for so long before it passes the rest on, well below the tasks' time limit.
SHIFT = timedelta(seconds=30)
_REAPED_AT_ONCE = 100
# Wake-ups for one phase come 2, 4, 8 ... seconds apart, at most two to this power.
_LONGEST_SILENCE = 8
_PARALLEL = (Phase.DIAGNOSIS, Phase.PREDICTION)
_UNDECIDED = (ResponseState.RUNNING, ResponseState.AWAITING_APPROVAL)
_UNFINISHED = (PhaseState.PENDING, PhaseState.RUNNING, PhaseState.WAITING)


class NotDead(Exception):
    """There is nothing to requeue; the message says why."""


# --- Begin and end -----------------------------------------------------------------------------


def begin(number: int, *, opening: int = 0) -> Response | None:
    """Open the response to an incident, or give the one that was opened before.

    `opening` is the incident's version at the reopening that is answered. None when the incident has
    been merged into another one meanwhile.
    """
    with transaction.atomic():
        incident = lifecycle.lock(Incident(number=number))
        earlier = list(incident.responses.order_by("cycle"))
        if known := next((response for response in earlier if response.opening >= opening), None):
            return known
        if incident.status == Status.MERGED:
            return None
        for response in earlier:
            _end(response, f"superseded: incident {number} was reopened")
        response = Response.objects.create(
            incident=incident,
            cycle=len(earlier) + 1,
            opening=opening,
            urgency=Severity(incident.severity).rank,
        )
        PhaseRun.objects.bulk_create(PhaseRun(response=response, phase=phase) for phase in Phase)
        streams.phases_changed(response, [Phase.DETECTION])
        _unlock(response, [Phase.DETECTION])
        wake_on_commit()
    return response


def end(number: int, reason: str, *, version: int) -> None:
    """End the running response of an incident that is answered elsewhere since this version of it.

    One that answers a later reopening goes on: whoever tells of the merger may do so again after it.
    """
    with transaction.atomic():
        incident = lifecycle.lock(Incident(number=number))
        for response in incident.responses.filter(state__in=_UNDECIDED, opening__lt=version):
            _end(response, reason)


def _end(response: Response, reason: str) -> None:
    """Skip what remains. A worker in the middle of a phase loses its fence, and with it its result."""
    response = locked(response.pk)
    if response.state not in _UNDECIDED:
        return
    AgentRun.objects.filter(response=response, finished_at=None).update(
        state=AgentState.TIMEOUT, error=f"Stopped: {reason}", finished_at=Now()
    )
    response.phases.filter(state=PhaseState.RUNNING).update(fence=F("fence") + 1)
    skipped = _skip(response, list(Phase), reason)
    response.state, response.reason = ResponseState.COMPLETE, reason
    _finished(response)
    streams.phases_changed(response, skipped)
    _tell(response, "response.ended", f"The response ended: {reason}.")


def set_urgency(number: int) -> None:
    """Let running responses go as early as the incident's severity now asks."""
    with transaction.atomic():
        incident = lifecycle.lock(Incident(number=number))
        incident.responses.filter(state=ResponseState.RUNNING).update(
            urgency=Severity(incident.severity).rank
        )


# --- Advance -----------------------------------------------------------------------------------


def advance() -> int:
    """Work on due phases, the most urgent first, until none is due or the shift is over.

    Gives the number of phases taken.
    """
    ends_at, taken = monotonic() + SHIFT.total_seconds(), 0
    claim = _next()
    while claim:
        taken += 1
        claim = _work(claim, until=ends_at).successor
        if claim is None:
            if monotonic() > ends_at:
                wake()
                break
            claim = _next()
    return taken


def _next() -> Claim | None:
    """What to do now; what was lost counts, so that no backlog keeps it waiting for the reaper."""
    _expire_lost()
    return take()


def work(claim: Claim) -> bool:
    """Do a claimed phase and commit it; False when the claim was lost or the phase failed."""
    return _work(claim, until=None).is_committed


@dataclass(frozen=True, kw_only=True)
class _Step:
    """What became of a phase, and the claim of the next one that was taken with its commit."""

    is_committed: bool
    successor: Claim | None = None


_DISCARDED = _Step(is_committed=False)


def _work(claim: Claim, *, until: float | None) -> _Step:
    """As `work`; before `until` (monotonic seconds) it goes on with the response's next phase."""
    try:
        with Heartbeat(partial(renew, claim), of=claim.phase_run) as heartbeat:
            outcome = run(claim, heartbeat)
            heartbeat.check()
        return _finish(claim, outcome, goes_on=until is not None and monotonic() < until)
    except LeaseLost:
        log.warning("Lost the lease of %s: its result is discarded", claim.phase_run)
        return _DISCARDED
    except Exception as error:
        # Whatever it was, the claim has counted it as an attempt; another may succeed.
        log.exception("%s failed in attempt %s", claim.phase_run, claim.phase_run.attempts)
        _give_back(claim, f"{type(error).__name__}: {error}".replace("\x00", "")[:500])
        return _DISCARDED


def _finish(claim: Claim, outcome: Outcome, *, goes_on: bool) -> _Step:
    """Commit a phase with all it found and all that follows, if the claim still stands.

    A worker that goes on claims the next phase in the same transaction, unless another response is
    more urgent.
    """
    began_at = _impact_start(outcome) if claim.phase is Phase.DETECTION else None
    with transaction.atomic():
        if began_at:
            lifecycle.lock(claim.incident)
        response = locked(claim.response.pk)
        if not hold(claim).update(
            state=PhaseState.DONE, finished_at=Now(), lease_until=None, lease_owner=""
        ):
            log.warning("A newer fence holds %s: its result is discarded", claim.phase_run)
            return _DISCARDED
        for report in outcome.reports:
            _keep(claim, response, report)
        timeline.tell(
            response.incident,
            f"phase.{PhaseState.DONE}",
            f"{claim.phase.label}: {outcome.summary}",
            actor=ACTOR,
            detail={"phase": claim.phase, "cycle": response.cycle},
        )
        for notification in outcome.sent:
            streams.communication_sent(response, notification)
        changed = [claim.phase, *_follow(claim, response, outcome)]
        ended = [claim.runs[report.agent] for report in outcome.reports]
        following = next_of(response) if goes_on else None
        successor = (
            take_in(response, following, changed=changed, ended=ended) if following else None
        )
        if successor is None:
            streams.phases_changed(response, changed)
            streams.agents_changed(response, ended)
        if began_at:
            # Last, for it ends with the audit's lock.
            lifecycle.set_impact_start(claim.incident, at=began_at, by="agent:detection")
    return _Step(is_committed=True, successor=successor)


def _impact_start(outcome: Outcome) -> datetime | None:
    """Since when users have suffered, where detection could tell it from telemetry."""
    for report in outcome.reports:
        if report.finding and (began_at := report.finding.data.get("impact_start")):
            return datetime.fromisoformat(began_at)
    return None


def _keep(claim: Claim, response: Response, report: Report) -> None:
    """Store what one agent's run came to."""
    run_ = claim.runs[report.agent]
    run_.state, run_.error = report.state, report.error
    if report.grounded:
        run_.finding = as_json(report.grounded)
        run_.provider = report.grounded.finding.provider
    run_.finished_at = Now()
    run_.save(update_fields=["state", "error", "finding", "provider", "finished_at"])
    if report.grounded:
        _keep_evidence(response, run_, report)


def _keep_evidence(response: Response, run_: AgentRun, report: Report) -> None:
    assert report.grounded is not None
    rows = [
        Evidence(
            id=id_,
            response=response,
            agent=report.agent,
            family=item.family[:16],
            kind=item.kind[:40],
            title=plain(item.title)[:300],
            source=plain(item.source)[:300],
            data=plain(item.data),
            observed_from=item.observed_from,
            observed_to=item.observed_to,
        )
        for id_, item in report.grounded.evidence.items()
    ]
    Evidence.objects.bulk_create(rows, ignore_conflicts=True)
    stored = Evidence.objects.filter(response=response, pk__in=report.grounded.cited)
    ids = {row.pk for row in rows}.union(stored.values_list("pk", flat=True))
    links = AgentRun.evidence.through
    links.objects.bulk_create(links(agentrun_id=run_.pk, evidence_id=id_) for id_ in sorted(ids))
    if report.finding:
        shown = [
            {
                "id": row.pk,
                "agent": row.agent,
                "family": row.family,
                "kind": row.kind,
                "title": row.title,
                "source": row.source,
            }
            for row in rows
        ]
        streams.evidence_added(response, run_, shown)


# --- What follows ------------------------------------------------------------------------------


def _follow(claim: Claim, response: Response, outcome: Outcome) -> list[str]:
    """Unlock, skip or end what comes after this phase; gives the phases it skipped."""
    phase = claim.phase
    if phase is Phase.DETECTION:
        _unlock(response, _PARALLEL)
        # This worker goes on with one of them.
        wake_on_commit()
    elif phase in _PARALLEL:
        # The response is locked, so exactly one of the two sees zero.
        response.parallel_remaining -= 1
        response.save(update_fields=["parallel_remaining"])
        if response.parallel_remaining == 0:
            _unlock(response, [Phase.CONSENSUS])
    elif phase is Phase.CONSENSUS:
        assert outcome.verdict is not None
        return _decide(response, outcome.verdict)
    elif phase is Phase.VERIFICATION:
        _verified(response, outcome)
        _unlock(response, [Phase.COMMUNICATION])
    elif phase is Phase.COMMUNICATION:
        _settle(response)
    return []


def _decide(response: Response, verdict: Verdict) -> list[str]:
    """Record the decision and what it means while no executor can carry out an action."""
    plan = Candidate.objects.filter(response=response, digest=verdict.choice or "").first()
    decision = Decision.objects.create(
        response=response,
        outcome=Decision.Outcome.DECIDED if plan else Decision.Outcome.ABORTED,
        choice=verdict.choice or "",
        round=verdict.round,
        reason=verdict.reason,
        certificate=verdict.certificate,
    )
    if plan and plan.action == NO_ACTION and _is_over(response.incident):
        skipped = _skip(response, [Phase.RESOLUTION], "There is nothing to do.")
        _unlock(response, [Phase.VERIFICATION])
    else:
        response.state = ResponseState.ESCALATED
        response.reason = _call_for_help(response.incident, plan, verdict)
        skipped = _skip(response, [Phase.RESOLUTION, Phase.VERIFICATION], response.reason)
        _unlock(response, [Phase.COMMUNICATION])
        _tell(response, "response.escalated", response.reason)
    streams.decision_made(response, decision, plan.content if plan else None)
    audit.record(
        "decision.made",
        actor=ACTOR,
        target=f"incident:{response.incident_id}",
        detail={
            "cycle": response.cycle,
            "outcome": decision.outcome,
            "choice": decision.choice,
            "candidates": verdict.certificate["question"]["candidates_digest"],
        },
    )
    return skipped


def _call_for_help(incident: Incident, plan: Candidate | None, verdict: Verdict) -> str:
    if plan is None:
        return f"The agents reached no decision. {verdict.reason}"
    if plan.action != NO_ACTION:
        return (
            f"A person must carry out the recommended plan, {plan}: "
            "no executor is configured for it."
        )
    firing = incident.alerts.filter(status=Alert.Status.FIRING).count()
    still = f"{firing} of its alerts still fire" if firing else "the incident is still open"
    return f"The agents advise no action, but {still}: a person must look."


def _is_over(incident: Incident) -> bool:
    """Resolved, or every alert of it has recovered."""
    if not incident.is_open:
        return True
    alerts = incident.alerts.all()
    return alerts.exists() and not alerts.filter(status=Alert.Status.FIRING).exists()


def _verified(response: Response, outcome: Outcome) -> None:
    """A recovery that telemetry contradicts is a matter for people."""
    finding = outcome.reports[0].finding
    if finding is not None and finding.data.get("recovered") is False:
        response.state = ResponseState.ESCALATED
        response.reason = f"Recovery is not confirmed: {finding.summary}"
        _tell(response, "response.escalated", response.reason)


def _settle(response: Response) -> None:
    """Everything is done: what was not escalated or failed before is complete."""
    if response.state == ResponseState.RUNNING:
        response.state = ResponseState.COMPLETE
    _finished(response)


def _tell(response: Response, kind: str, text: str) -> None:
    timeline.tell(response.incident, kind, text, actor=ACTOR, detail={"cycle": response.cycle})


def _finished(response: Response) -> None:
    Response.objects.filter(pk=response.pk).update(finished_at=Now())
    response.refresh_from_db(fields=["finished_at"])


def _unlock(response: Response, phases: Iterable[Phase]) -> None:
    """Make phases due. What was skipped meanwhile stays skipped."""
    response.phases.filter(phase__in=list(phases), state=PhaseState.PENDING).update(
        due_at=Now(), woken_at=Now(), wakes=1
    )


def _skip(response: Response, phases: Iterable[Phase], reason: str) -> list[str]:
    """Leave out those of the phases that are not finished; gives their names."""
    left = response.phases.filter(phase__in=list(phases), state__in=_UNFINISHED)
    names = list(left.order_by("pk").values_list("phase", flat=True))
    left.update(
        state=PhaseState.SKIPPED,
        reason=reason,
        due_at=None,
        lease_until=None,
        lease_owner="",
        finished_at=Now(),
    )
    return names


# --- Failure -----------------------------------------------------------------------------------


def reap() -> int:
    """Take phases from workers that are gone, and wake somebody for what has waited too long."""
    _expire_lost()
    return _rewake()


def _expire_lost() -> None:
    for row in _running().order_by("lease_until")[:_REAPED_AT_ONCE]:
        if _is_lost(row):
            _expire(row)


def _running() -> QuerySet[PhaseRun]:
    has_ended = ExpressionWrapper(Q(lease_until__lt=Now()), output_field=BooleanField())
    return PhaseRun.objects.filter(state=PhaseState.RUNNING).annotate(has_ended=has_ended)


def _is_lost(row: Any) -> bool:
    """Whether nobody holds it any more: the lease has ended, or the process that had it."""
    return row.has_ended or is_gone(row.lease_owner)


def _expire(seen: PhaseRun) -> None:
    with transaction.atomic():
        response = locked(seen.response_id)
        # Whoever was only slow may have renewed the lease or finished, and another may hold it now.
        row = _running().filter(pk=seen.pk).first()
        if row is not None and _is_lost(row):
            _take_back(response, row, AgentState.TIMEOUT, "The worker was lost.")


def _give_back(claim: Claim, error: str) -> None:
    """Return a phase that could not be done. If that fails too, its lease will run out."""
    try:
        with transaction.atomic():
            response = locked(claim.response.pk)
            if phase_run := hold(claim).first():
                _take_back(response, phase_run, AgentState.ERROR, error)
    except DatabaseError:
        log.exception("%s could not be given back", claim.phase_run)


def _take_back(response: Response, row: PhaseRun, state: AgentState, error: str) -> None:
    """Make a claimed phase due again after a while, or give it up after too many attempts."""
    runs = list(AgentRun.objects.filter(phase_run=row, fence=row.fence, finished_at=None))
    AgentRun.objects.filter(pk__in=[run_.pk for run_ in runs]).update(
        state=state, error=error, finished_at=Now()
    )
    for run_ in runs:
        run_.state, run_.error = state, error
    streams.agents_changed(response, runs)
    row.lease_until, row.lease_owner, row.error = None, "", error
    if row.attempts >= MAX_ATTEMPTS:
        _give_up(response, row)
        return
    row.state = PhaseState.PENDING
    if pause := backoff(row.attempts, key=row.pk):
        row.due_at = from_now(pause)
    # Else it keeps its place: what was lost through no fault of its own does not queue again.
    row.woken_at, row.wakes = None, 0
    row.save()
    streams.phases_changed(response, [row.phase])


def _give_up(response: Response, row: PhaseRun) -> None:
    """The phase is dead: a person may requeue it. People are told, unless telling is what failed."""
    row.state, row.due_at = PhaseState.FAILED, None
    row.reason = f"Given up after {row.attempts} attempts."
    row.finished_at = Now()
    row.save()
    response.state = ResponseState.FAILED
    response.reason = f"Phase {row.phase} failed {row.attempts} times: {row.error}"
    skipped: list[str] = []
    if row.phase == Phase.COMMUNICATION:
        _finished(response)
    else:
        rest = [phase for phase in Phase if phase is not Phase.COMMUNICATION]
        skipped = _skip_pending(response, rest, f"Phase {row.phase} failed.")
        _unlock(response, [Phase.COMMUNICATION])
        wake_on_commit()
    _tell(response, "response.failed", response.reason)
    streams.phases_changed(response, [row.phase, *skipped])


def _skip_pending(response: Response, phases: Iterable[Phase], reason: str) -> list[str]:
    pending = response.phases.filter(phase__in=list(phases), state=PhaseState.PENDING)
    return _skip(response, [Phase(row.phase) for row in pending], reason)


def _rewake() -> int:
    """Send a wake-up for due phases that nobody has taken, each at doubling intervals."""
    overdue = Q(woken_at=None)
    for wakes in range(1, _LONGEST_SILENCE + 1):
        asked = Q(wakes=wakes) if wakes < _LONGEST_SILENCE else Q(wakes__gte=wakes)
        overdue |= asked & Q(woken_at__lt=from_now(-timedelta(seconds=2**wakes)))
    waiting = PhaseRun.objects.filter(
        overdue, state=PhaseState.PENDING, due_at__lte=Now()
    ).order_by("response__urgency", "due_at")
    ids = list(waiting.values_list("pk", flat=True)[:_REAPED_AT_ONCE])
    woken = PhaseRun.objects.filter(pk__in=ids, state=PhaseState.PENDING).update(
        woken_at=Now(), wakes=F("wakes") + Value(1)
    )
    wake(woken)
    return woken


def requeue(number: int, *, by: object) -> Response:
    """Revive the dead phase of an incident's latest response, and all that was skipped for it.

    Raises:
        NotDead: no phase of it is dead, or people are still being told of the failure.
    """
    with transaction.atomic():
        incident = lifecycle.lock(Incident(number=number))
        latest = incident.responses.order_by("-cycle").first()
        if latest is None:
            raise NotDead(f"Incident {number} has no response.")
        response = locked(latest.pk)
        dead = list(response.phases.filter(state=PhaseState.FAILED))
        if not dead:
            raise NotDead(f"No phase of the response to incident {number} has failed.")
        if response.finished_at is None:
            raise NotDead("People are still being told of the failure; try again in a moment.")
        names = ", ".join(row.phase for row in dead)
        revived = _revive(response, dead)
        timeline.tell(incident, "response.requeued", f"{by} requeued {names}.", actor=by)
        streams.phases_changed(response, [row.phase for row in revived])
        wake_on_commit()
        audit.record(
            "response.requeue",
            actor=by,
            target=f"incident:{number}",
            detail={"cycle": response.cycle, "phases": [row.phase for row in dead]},
        )
    return response


def _revive(response: Response, dead: list[PhaseRun]) -> list[PhaseRun]:
    """Give the dead phases, and those skipped on their account, another set of attempts."""
    first = min(Phase(row.phase).order for row in dead)
    after = [phase for phase in Phase if phase.order > first or _share_a_place(phase, dead)]
    again = response.phases.filter(
        Q(state=PhaseState.FAILED)
        | Q(state=PhaseState.SKIPPED, phase__in=after)
        | Q(phase=Phase.COMMUNICATION)
    )
    revived = list(again)
    again.update(
        state=PhaseState.PENDING,
        attempts=0,
        due_at=None,
        started_at=None,
        finished_at=None,
        error="",
        reason="",
    )
    response.state, response.reason = _before(response, dead)
    response.finished_at = None
    response.requeues += 1
    response.save()
    _unlock(
        response,
        [
            Phase(row.phase)
            for row in revived
            if row in dead or _share_a_place(Phase(row.phase), dead)
        ],
    )
    return revived


def _share_a_place(phase: Phase, dead: list[PhaseRun]) -> bool:
    return phase in _PARALLEL and any(row.phase in _PARALLEL for row in dead)


def _before(response: Response, dead: list[PhaseRun]) -> tuple[ResponseState, str]:
    """How the response stood before telling people failed; it runs on where other phases died."""
    if all(row.phase == Phase.COMMUNICATION for row in dead):
        escalated = response.incident.timeline.filter(
            kind="response.escalated", detail__cycle=response.cycle
        ).last()
        if escalated:
            return ResponseState.ESCALATED, escalated.text
    return ResponseState.RUNNING, ""
