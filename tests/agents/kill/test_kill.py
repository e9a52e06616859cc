"""Bounded; `tests/bench/reliability.py` is the full size."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests.agents.kill import ordeal
from tests.agents.kill.servers import Instance, postgres_binaries

Starter = Callable[..., Instance]


@pytest.fixture
def start() -> Iterator[Starter]:
    running: list[Instance] = []
    directory = Path(tempfile.mkdtemp(prefix="incidentops-kill-"))
    # The database server may run as another user, who must find its way in.
    directory.chmod(0o755)

    def begin(database: str, **options: object) -> Instance:
        if database == "postgresql" and postgres_binaries() is None:
            pytest.skip("no PostgreSQL server is installed below /usr/lib/postgresql")
        place = directory / str(len(running))
        place.mkdir()
        running.append(Instance(place, database, **options))  # type: ignore[arg-type]  # passed on
        return running[-1]

    yield begin
    for instance in running:
        instance.stop()
    shutil.rmtree(directory, ignore_errors=True)


# Each lane tries its own database; the servers are private in both.
DATABASE = "postgresql" if connection.vendor == "postgresql" else "sqlite"


@pytest.mark.timeout(240)
def test_nothing_is_lost_or_done_twice_whatever_is_killed(start: Starter):
    instance = start(DATABASE, lease=3, seconds=0.1)

    faced = ordeal.run(instance, alerts=20, services=6, faults=10, seed=7)
    faced.rest(within=60)

    assert len(faced.accepted) == 20
    assert not any(faced.judge().values()), faced.judge()


@pytest.mark.timeout(240)
def test_a_lost_phase_is_taken_up_within_its_lease_and_two_seconds(start: Starter):
    instance = start(DATABASE, lease=3, seconds=1)

    recoveries = ordeal.lose_workers_at_work(instance, times=4, seed=3)

    assert len(recoveries) == 4
    assert max(recoveries) <= instance.lease + 2, recoveries


@pytest.mark.timeout(400)
@pytest.mark.skipif(DATABASE != "sqlite", reason="the controls run once, on the embedded lane")
@pytest.mark.parametrize("control", ["compare-and-set", "fence"])
def test_the_same_check_fails_when_a_safeguard_is_off(start: Starter, control: str):
    instance = start("sqlite", lease=2, seconds=4, control=control)

    # One zombie may notice that it lost its lease before it has anything to write.
    for seed in (1, 2, 3):
        if any(ordeal.raise_a_zombie(instance, seed=seed).judge().values()):
            return

    pytest.fail("three zombies broke no promise, although a safeguard is off")
