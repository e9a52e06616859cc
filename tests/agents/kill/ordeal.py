"""Post alerts while things are killed; then let everything come to rest and judge it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import redis

from tests.agents.kill import checker
from tests.agents.kill.servers import Instance, Process, wait_for

_OUTAGES = (OSError, psycopg.Error, sqlite3.Error, redis.RedisError)
# Half of the faults hit whoever is at work.
_WEIGHTS = {
    "child": 12,
    "pause": 4,
    "worker": 3,
    "beat": 2,
    "web": 2,
    "flush": 2,
    "redis": 2,
    "database": 2,
}


@dataclass
class Ordeal:
    """`accepted` are alerts answered with 202; `recoveries` seconds from a kill to the next claim."""

    instance: Instance
    seed: int
    accepted: set[str] = field(default_factory=set)
    faults: Counter[str] = field(default_factory=Counter)
    struck: list[tuple[int, int, float]] = field(default_factory=list)
    most_messages: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        made = self.instance.manage(
            "source", "create", "--kind", "alertmanager", "--name", f"kill {self.seed}", "--json"
        )
        source = json.loads(made)
        self._url = f"http://127.0.0.1:{self.instance.port}/intake/{source['id']}/"
        self._headers = {"Authorization": f"Bearer {source['secret']}"}

    # --- Workload

    def post(self, alerts: int, services: int, every: float, first: int = 0) -> None:
        """Post alerts one by one, each again and again until it is answered with 202."""
        for number in range(first, first + alerts):
            name = f"Alert{number}"
            body = self._body(name, f"service-{number % services}")
            key = uuid.uuid5(uuid.NAMESPACE_URL, f"{self.seed}:{name}").hex
            give_up_at = time.monotonic() + 60
            while time.monotonic() < give_up_at:
                with contextlib.suppress(httpx.HTTPError):
                    answer = httpx.post(
                        self._url,
                        json=body,
                        headers=self._headers | {"Idempotency-Key": key},
                        timeout=10,
                        trust_env=False,
                    )
                    if answer.status_code == 202:
                        self.accepted.add(name)
                        break
                time.sleep(0.2)
            time.sleep(every)

    def _body(self, name: str, service: str) -> dict[str, Any]:
        labels = {"alertname": name, "service": service, "severity": "critical"}
        began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        alert = {
            "status": "firing",
            "labels": labels,
            "annotations": {"summary": f"{name} on {service}"},
            "startsAt": began,
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": uuid.uuid5(uuid.NAMESPACE_DNS, name).hex[:16],
        }
        return {
            "version": "4",
            "groupKey": f"{{}}:{{alertname={name!r}}}",
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "kill",
            "groupLabels": {"alertname": name},
            "commonLabels": labels,
            "commonAnnotations": {},
            "externalURL": "",
            "alerts": [alert],
        }

    # --- Faults

    def strike(self, faults: int) -> None:
        """Do harm `faults` times, every kind that is possible at least once."""
        kinds = [kind for kind in _WEIGHTS if kind != "database" or self.instance.postgres]
        weights = [_WEIGHTS[kind] for kind in kinds]
        plan = kinds[:faults] + self.rng.choices(kinds, weights, k=max(faults - len(kinds), 0))
        self.rng.shuffle(plan)
        for kind in plan:
            time.sleep(self.rng.uniform(0.4, 0.9))
            getattr(self, f"_strike_{kind}")()
            self.faults[kind] += 1
            self.instance.revive_the_dead()
            self._measure_queue()

    def _strike_child(self) -> None:
        holders = self._holders()
        alive = [pid for worker in self.instance.workers for pid in worker.children()]
        working = [pid for pid in alive if pid in holders]
        if victims := working or alive:
            pid = self.rng.choice(victims)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                if pid in holders:
                    self.struck.append((*holders[pid], time.time()))

    def _strike_worker(self) -> None:
        worker = self.rng.choice(self.instance.workers)
        holders = self._holders()
        lost = [holders[pid] for pid in worker.children() if pid in holders]
        if self.rng.random() < 0.5:
            worker.kill_main()
        else:
            worker.kill_group()
            self.struck += [(*held, time.time()) for held in lost]

    def _strike_pause(self) -> None:
        """A zombie: stopped for longer than the lease, then alive again with a result in hand."""
        alive = [pid for worker in self.instance.workers for pid in worker.children()]
        working = [pid for pid in self._holders() if pid in alive]
        if victims := working or alive:
            pid = self.rng.choice(victims)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                timer = threading.Timer(self.instance.lease + 1.5, _wake, (pid,))
                timer.daemon = True
                timer.start()

    def _strike_beat(self) -> None:
        self.instance.beat.kill_group()

    def _strike_web(self) -> None:
        self.instance.web.kill_group()

    def _strike_flush(self) -> None:
        with contextlib.suppress(redis.RedisError):
            self.instance.valkey.client().flushall()

    def _strike_redis(self) -> None:
        self.instance.valkey.kill()
        time.sleep(0.5)
        self.instance.valkey.start()

    def _strike_database(self) -> None:
        assert self.instance.postgres is not None
        self.instance.postgres.restart_at_once()

    def _holders(self) -> dict[int, tuple[int, int]]:
        """(phase run, fence) by the process that holds it."""
        with contextlib.suppress(*_OUTAGES):
            rows = self.instance.query(
                "SELECT lease_owner, id, fence FROM agents_phaserun WHERE state = 'running'"
            )
            return {
                int(owner.rpartition(":")[2]): (pk, fence) for owner, pk, fence in rows if owner
            }
        return {}

    def _measure_queue(self) -> None:
        with contextlib.suppress(*_OUTAGES):
            client = self.instance.valkey.client()
            (open_rows,) = self.instance.query(
                "SELECT count(*) FROM agents_phaserun WHERE state IN ('pending', 'running')"
            )[0]
            messages = int(client.llen("iop:agents"))  # type: ignore[arg-type]  # not async here
            self.most_messages = max(self.most_messages, messages - 2 * open_rows)

    # --- Rest

    def rest(self, within: float) -> float:
        """Wait until nothing is left to do; the seconds it took, or `within` when it never came."""
        began = time.monotonic()

        def is_at_rest() -> bool:
            self.instance.revive_the_dead()
            waiting = self.instance.query(
                "SELECT (SELECT count(*) FROM incidents_alert WHERE incident_id IS NULL) + "
                "(SELECT count(*) FROM agents_response WHERE finished_at IS NULL) + "
                "(SELECT count(*) FROM realtime_outboxevent WHERE handled_at IS NULL)"
            )[0][0]
            return int(waiting) == 0

        with contextlib.suppress(TimeoutError):
            wait_for(is_at_rest, within=within, what="everything is done")
        return time.monotonic() - began

    def recoveries(self) -> list[float]:
        """Seconds from each kill that hit a phase to the claim that took it up again."""
        claimed: dict[tuple[int, int], float] = {}
        for phase_run, fence, at in self.instance.query(
            "SELECT phase_run_id, fence, min(started_at) FROM agents_agentrun GROUP BY 1, 2"
        ):
            claimed[phase_run, fence] = _epoch(at)
        later = [
            claimed[phase_run, fence + 1] - at
            for phase_run, fence, at in self.struck
            if (phase_run, fence + 1) in claimed
        ]
        return sorted(later)

    def judge(self) -> dict[str, int]:
        return checker.violations(self.instance, self.accepted)


def _wake(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _epoch(at: Any) -> float:
    if isinstance(at, str):
        from datetime import UTC, datetime

        return datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
    return float(at.timestamp())


def run(instance: Instance, *, alerts: int, services: int, faults: int, seed: int) -> Ordeal:
    """Post and strike at the same time, then wait for rest."""
    ordeal = Ordeal(instance, seed)
    posting = threading.Thread(
        target=ordeal.post, args=(alerts, services, 0.65 * faults / alerts), daemon=True
    )
    posting.start()
    ordeal.strike(faults)
    posting.join(timeout=120)
    return ordeal


def lose_workers_at_work(instance: Instance, *, times: int, seed: int) -> list[float]:
    """Kill whoever works on a phase, again and again, and nothing else.

    Gives the seconds until each phase was taken up by another. In a storm of faults that time also
    holds how long no worker, no broker or no database was there.
    """
    ordeal = Ordeal(instance, seed)
    for number in range(times):
        ordeal.post(1, times + number + 1, 0, first=number)
        # A phase that was lost before waits longer each time, by design.
        pid, held = wait_for(
            lambda: next(((p, h) for p, h in ordeal._holders().items() if h[1] == 1), None),
            within=90,
            what="a phase is claimed for the first time",
        )
        os.kill(pid, signal.SIGKILL)
        ordeal.struck.append((*held, time.time()))
        phase_run, fence = held
        wait_for(
            partial(_is_taken_up, instance, phase_run, fence), within=60, what="it is taken up"
        )
    return ordeal.recoveries()


def _is_taken_up(instance: Instance, phase_run: int, fence: int) -> bool:
    return bool(
        instance.query(
            f"SELECT 1 FROM agents_agentrun WHERE phase_run_id = {phase_run} AND fence > {fence}"
        )
    )


def _stands_still(pid: int) -> bool:
    """Whether every thread of the process is stopped."""
    states = [
        path.read_text().rpartition(")")[2].split()[0]
        for path in Path(f"/proc/{pid}/task").glob("*/stat")
    ]
    return set(states) == {"T"}


def raise_a_zombie(instance: Instance, *, seed: int) -> Ordeal:
    """Stop a worker in the middle of a phase until another has taken it, then let it go on."""
    ordeal = Ordeal(instance, seed)
    # Another service for each, so that each is an incident of its own.
    ordeal.post(1, seed + 1, 0, first=seed)
    pid, (phase_run, fence) = wait_for(
        lambda: next(iter(ordeal._holders().items()), None), within=90, what="a phase is claimed"
    )
    wait_for(
        lambda: instance.query(
            f"SELECT 1 FROM agents_agentrun WHERE phase_run_id = {phase_run} "
            f"AND fence = {fence} AND state = 'analyzing'"
        ),
        within=30,
        what="the specialist is asked",
    )
    with instance.nobody_writing():
        # Stopped in the middle of a write, it would keep everybody from everything.
        os.kill(pid, signal.SIGSTOP)
        wait_for(partial(_stands_still, pid), within=10, what="the worker stands still")
    try:
        wait_for(
            lambda: instance.query(
                f"SELECT 1 FROM agents_phaserun WHERE id = {phase_run} AND fence > {fence} "
                "AND state = 'running'"
            ),
            within=60,
            what="another worker takes the phase",
        )
    finally:
        os.kill(pid, signal.SIGCONT)
    ordeal.rest(within=90)
    # A second commit, if there is one, comes when the slower worker is done.
    time.sleep(2 * float(instance.environ["KILL_TEST_SECONDS"]))
    return ordeal


__all__ = ["Ordeal", "Process", "lose_workers_at_work", "raise_a_zombie", "run"]
