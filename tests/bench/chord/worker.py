"""The baseline: the same phases writing the same rows, led by Celery's chains and chords.

Agents that work at the same time are tasks of one chord: diagnosis and prediction, and the five that
vote. What each of them stores, and how, is the product's own code. A second form leaves the votes in
one task, so that only the way from phase to phase differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import chord

from incidentops.celery import app

__all__ = ["app"]


@app.task(name="bench.phase", ignore_result=False, queue="agents")
def phase(*results: Any, response: int, name: str) -> None:
    """Take the named phase, do it and commit it, and wake nobody."""
    from agents import claims

    claim = claims.take_phase(response, name)
    assert claim is not None
    _finish(claim)


@app.task(name="bench.freeze", ignore_result=False, queue="agents")
def freeze(*results: Any, response: int) -> None:
    """Take the consensus phase and fix what is voted on."""
    from agents import cases, claims, phases

    claim = claims.take_phase(response, "consensus")
    assert claim is not None
    phases.freeze(claim, cases.load(claim.response))


@app.task(name="bench.vote", ignore_result=False, queue="agents")
def vote(response: int, agent: str) -> None:
    from agents import cases, phases, voting
    from agents.models import Agent

    claim = _held(response)
    case = cases.load(claim.response)
    candidates = voting.candidates_of(claim.response)
    asked = voting.question(claim.response, candidates, 1)
    members = voting.electorate(asked.epoch)
    seen = voting.information(case)
    proposals = voting.proposals_of(candidates)
    assert not phases.vote(claim, Agent(agent), case, asked, members, proposals, seen)


@app.task(name="bench.decide", ignore_result=False, queue="agents")
def decide(results: Any, response: int) -> None:
    """Count the ballots and commit the consensus phase."""
    _finish(_held(response))


def _held(response: int) -> Any:
    """The claim of the consensus phase that an earlier task took."""
    from agents.claims import Claim
    from agents.models import PhaseRun, Response

    row = Response.objects.select_related("incident").get(pk=response)
    phase_run = PhaseRun.objects.get(response=row, phase="consensus")
    runs = {run.agent: run for run in row.runs.filter(phase_run=phase_run)}
    return Claim(phase_run=phase_run, response=row, incident=row.incident, runs=runs)


def _finish(claim: Any) -> None:
    from agents import swarm

    with waking_nobody(swarm):
        assert swarm.work(claim)


@contextmanager
def waking_nobody(swarm: Any) -> Iterator[None]:
    known = swarm.wake_on_commit
    swarm.wake_on_commit = lambda count=1: None
    try:
        yield
    finally:
        swarm.wake_on_commit = known


def start(response: int) -> None:
    """Every agent a task: two look in parallel, five vote in parallel."""
    from agents.models import Agent

    looked = chord(_looking(response), freeze.signature(kwargs={"response": response}))
    votes = [vote.si(response=response, agent=agent.value) for agent in Agent]
    voted = chord(votes, decide.signature(kwargs={"response": response}))
    (_step(response, "detection") | looked | voted | _step(response, "communication")).apply_async()


def start_by_phase(response: int) -> None:
    """Every phase a task, in which all votes are cast one after the other, as the product does it."""
    joined = chord(_looking(response), _step(response, "consensus"))
    (_step(response, "detection") | joined | _step(response, "communication")).apply_async()


def _looking(response: int) -> list[Any]:
    return [_step(response, "diagnosis"), _step(response, "prediction")]


def _step(response: int, name: str) -> Any:
    return phase.signature(kwargs={"response": response, "name": name})
