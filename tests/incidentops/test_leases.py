from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from incidentops import leases

pytestmark = pytest.mark.skipif(
    not leases._space(), reason="nothing tells here whether another process has ended"
)
HOLD = "from incidentops.leases import holder; print(holder(), flush=True); input()"


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    """A process that says under which name it would hold a lease, and then waits."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield child
    child.kill()
    child.communicate()


def name_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_who_lives_is_not_gone() -> None:
    assert not leases.is_gone(leases.holder())


def test_who_is_only_stopped_is_not_gone(process: subprocess.Popen[str]) -> None:
    name = name_of(process)
    assert not leases.is_gone(name)
    process.send_signal(signal.SIGSTOP)
    assert not leases.is_gone(name)


def test_who_was_killed_is_gone_even_before_its_parent_has_noticed(
    process: subprocess.Popen[str],
) -> None:
    name = name_of(process)
    process.kill()
    # Until it has ended, without taking notice of it as a parent does.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert leases.is_gone(name)
    process.wait()
    assert leases.is_gone(name)


def test_a_child_is_another_holder_than_its_parent() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, leases.holder().encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        name = told.read()
    os.waitpid(child, 0)
    assert name.endswith(f":{child}")
    assert leases.is_gone(name)
    assert not leases.is_gone(leases.holder())


def test_an_id_that_another_process_has_now_is_not_its_former_owner() -> None:
    host, space, start, pid = leases.holder().split(":")
    assert leases.is_gone(f"{host}:{space}:{int(start) - 1}:{pid}")


@pytest.mark.parametrize("name", ["", "host:4711", "host:::4711", "host:otherwhere:17:999999999"])
def test_of_who_runs_elsewhere_nothing_is_known(name: str) -> None:
    assert not leases.is_gone(name)
