"""Wake-ups: they carry nothing and may come twice, late or never."""

from __future__ import annotations

from celery import shared_task

from agents import lessons, swarm


@shared_task
def advance() -> None:
    swarm.advance()


@shared_task
def reap() -> None:
    swarm.reap()


@shared_task
def learn(number: int) -> None:
    lessons.learn(number)
