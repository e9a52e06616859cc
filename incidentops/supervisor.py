"""Keep a handful of child processes running: restart what dies, stop everything together.

Written here since the libraries looked at either end all children when one ends or give up on a
child that fails a few times; an incident system must come back however long the database was away.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

log = logging.getLogger(__name__)

FIRST_DELAY = timedelta(seconds=0.5)
LONGEST_DELAY = timedelta(seconds=30)
# A child that ran this long had started properly: its next failure is a new one.
STABLE_AFTER = timedelta(seconds=20)

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Child:
    """One program to keep running.

    `stop_within` is how long it may take to finish its work after SIGTERM before it is killed.
    `file_descriptors` stay open in the child.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    stop_within: timedelta = timedelta(seconds=10)
    file_descriptors: Sequence[int] = ()


@dataclass(kw_only=True)
class _Running:
    child: Child
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Supervisor:
    """Runs children in groups: `start` each when what it needs is up; `stop` ends the last first."""

    def __init__(self) -> None:
        self._running: list[_Running] = []

    def start(self, child: Child) -> None:
        running = _Running(child=child)
        running.task = asyncio.create_task(self._keep_running(running), name=child.name)
        self._running.append(running)

    async def stop(self) -> None:
        """End all children, the last started first, each with its time to finish."""
        while self._running:
            running = self._running.pop()
            running.stopping.set()
            if running.process is not None and running.process.returncode is None:
                await _end(running.process, running.child.stop_within)
            if running.task is not None:
                await running.task

    async def _keep_running(self, running: _Running) -> None:
        loop = asyncio.get_running_loop()
        delay = FIRST_DELAY
        while not running.stopping.is_set():
            started_at = loop.time()
            outcome = await self._run(running)
            if running.stopping.is_set():
                return
            if loop.time() - started_at > STABLE_AFTER.total_seconds():
                delay = FIRST_DELAY
            running.restarts += 1
            log.warning(
                "%s %s; restarting in %.1f s",
                running.child.name,
                outcome,
                delay.total_seconds(),
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(running.stopping.wait(), delay.total_seconds())
            delay = min(delay * 2, LONGEST_DELAY)

    async def _run(self, running: _Running) -> str:
        """Start the child and wait for its end; says how it ended."""
        child = running.child
        try:
            process = running.process = await asyncio.create_subprocess_exec(
                *child.command,
                env=dict(child.environ),
                pass_fds=tuple(child.file_descriptors),
                # Ctrl-C reaches only us: we decide in which order the children end.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            # No memory or process left at this moment: it is tried again as after a failure.
            return f"could not be started ({error})"
        if running.stopping.is_set():
            # Who asked for that found no process to end yet.
            await _end(process, child.stop_within)
        code = await process.wait()
        # A killed main process leaves its pool behind; the group goes with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return f"ended with {_exit_reason(code)}"


async def run_until_signalled(
    work: Callable[[Supervisor], Awaitable[None]], *, stop_on: Sequence[signal.Signals]
) -> None:
    """Call `work` to start children, then wait for a signal, then stop them all.

    An error in `work`, or a signal while it still runs, stops the children, too.
    """
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()
    for number in stop_on:
        loop.add_signal_handler(number, asked_to_stop.set)
    supervisor = Supervisor()
    starting = asyncio.ensure_future(work(supervisor))
    waiting = asyncio.create_task(asked_to_stop.wait())
    try:
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await waiting
        else:
            starting.cancel()
    finally:
        waiting.cancel()
        await supervisor.stop()


async def _end(process: asyncio.subprocess.Process, within: timedelta) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), within.total_seconds())
    except TimeoutError:
        log.warning("process %s did not end in time and is killed", process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _die_with_parent() -> None:
    """In the child, before exec: if the supervisor is killed outright, end as well (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _exit_reason(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
