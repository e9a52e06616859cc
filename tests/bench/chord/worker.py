"""The baseline: the same phases writing the same rows, led by Celery's chains and chords."""

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
    from agents import claims, swarm

    with _waking_nobody(swarm):
        claim = claims.take_phase(response, name)
        assert claim is not None
        assert swarm.work(claim)


@contextmanager
def _waking_nobody(swarm: Any) -> Iterator[None]:
    known = swarm.wake_on_commit
    swarm.wake_on_commit = lambda count=1: None
    try:
        yield
    finally:
        swarm.wake_on_commit = known


def start(response: int) -> None:
    """Detection, then two in parallel, joined by a chord, then consensus and communication."""

    def step(name: str) -> Any:
        return phase.signature(kwargs={"response": response, "name": name})

    joined = chord([step("diagnosis"), step("prediction")], step("consensus"))
    (step("detection") | joined | step("communication")).apply_async()
