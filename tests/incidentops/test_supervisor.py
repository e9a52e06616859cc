from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from incidentops.supervisor import Child, Supervisor, run_until_signalled


def child(name: str, code: str, **options) -> Child:
    return Child(name=name, command=[sys.executable, "-c", code], environ=os.environ, **options)


async def until(condition, *, within: float = 20):
    async with asyncio.timeout(within):
        while not (value := condition()):
            await asyncio.sleep(0.02)
    return value


def pids(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def writes_its_pid(path: Path) -> str:
    return f"""
import os, signal
with open({str(path)!r}, "a") as f: f.write(f"{{os.getpid()}}\\n")
signal.pause()
"""


async def test_a_killed_child_comes_back(tmp_path):
    seen = tmp_path / "pids"
    supervisor = Supervisor()
    supervisor.start(child("worker", writes_its_pid(seen)))
    try:
        (first,) = await until(lambda: pids(seen))
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(pids(seen)) == 2)
        assert psutil.pid_exists(pids(seen)[1])
    finally:
        await supervisor.stop()


@pytest.mark.parametrize("steps", range(4))
async def test_a_child_that_is_just_being_started_is_stopped_too(steps, tmp_path):
    before = psutil.Process().children()
    supervisor = Supervisor()
    supervisor.start(child("worker", writes_its_pid(tmp_path / "pids")))
    for _ in range(steps):
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await supervisor.stop()
    assert psutil.Process().children() == before


async def test_a_child_that_cannot_be_started_is_tried_again(tmp_path):
    seen, program = tmp_path / "pids", tmp_path / "program"
    supervisor = Supervisor()
    supervisor.start(Child(name="late", command=[str(program)], environ=os.environ))
    try:
        await until(lambda: supervisor._running[0].restarts)
        program.write_text(f"#!{sys.executable}\n{writes_its_pid(seen)}")
        program.chmod(0o700)
        await until(lambda: pids(seen))
    finally:
        await supervisor.stop()


async def test_stopping_leaves_no_process_behind(tmp_path):
    seen = tmp_path / "pids"
    forks = writes_its_pid(seen).replace("signal.pause()", "os.fork(); signal.pause()")
    supervisor = Supervisor()
    supervisor.start(child("worker", forks))
    (main,) = await until(lambda: pids(seen))
    family = await until(
        lambda: len(psutil.Process(main).children()) and psutil.Process(main).children()
    )
    await supervisor.stop()
    assert not psutil.pid_exists(main)
    await until(
        lambda: all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in family)
    )


async def test_a_child_that_ignores_the_request_to_stop_is_killed(tmp_path):
    seen = tmp_path / "pids"
    stubborn = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        + writes_its_pid(seen)
        + "\nwhile True: signal.pause()"
    )
    supervisor = Supervisor()
    supervisor.start(child("stubborn", stubborn, stop_within=timedelta(seconds=0.3)))
    (main,) = await until(lambda: pids(seen))
    await supervisor.stop()
    assert not psutil.pid_exists(main)


async def test_children_end_in_reverse_order(tmp_path):
    log = tmp_path / "ends"
    seen = tmp_path / "pids"

    def logs_its_end(name: str) -> str:
        return (
            f"import signal, sys\n"
            f"def end(*_):\n"
            f"    open({str(log)!r}, 'a').write('{name}\\n'); sys.exit()\n"
            f"signal.signal(signal.SIGTERM, end)\n" + writes_its_pid(seen)
        )

    supervisor = Supervisor()
    for name in ("server", "worker", "web"):
        supervisor.start(child(name, logs_its_end(name)))
    await until(lambda: len(pids(seen)) == 3)
    await supervisor.stop()
    assert log.read_text().split() == ["web", "worker", "server"]


async def test_a_signal_during_the_start_stops_what_was_started(tmp_path):
    seen = tmp_path / "pids"

    async def work(supervisor: Supervisor) -> None:
        supervisor.start(child("server", writes_its_pid(seen)))
        await until(lambda: pids(seen))
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.Event().wait()

    await asyncio.wait_for(run_until_signalled(work, stop_on=[signal.SIGUSR1]), 20)
    assert not psutil.pid_exists(pids(seen)[0])
