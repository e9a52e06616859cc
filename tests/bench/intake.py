"""Alerts per second through a private Daphne, beside the same view with per-alert ORM writes.

`python -m tests.bench.intake [--seconds 60]` prints the figures as JSON. SQLite is always measured,
PostgreSQL when `TEST_DATABASE_URL` names a server on which databases may be created.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg import sql

from incidentops import embedded

ROOT = Path(__file__).parent.parent.parent
CONNECTIONS = 8
DISTINCT = 2_000
UNLIMITED = {"limits": {"alerts_per_10s": 10**9, "bytes_per_10s": 10**12}}
ATTACH = """
import time, django
django.setup()
from incidentops.incidents import grouping
print("ready", flush=True)
while True:
    grouping.attach_pending()
    time.sleep(0.2)
"""


SOURCES = """
import json, django
django.setup()
from incidentops.incidents import sources
def make(name, config):
    source, secret = sources.create(kind="alertmanager", name=name, config=config, by="bench")
    return {"id": source.pk, "path": f"/intake/{source.pk}/{secret}/"}
print(json.dumps({
    "limited": [make(f"limited {n}", {}) for n in range(2)],
    "unlimited": [make(f"unlimited {n}", json.loads('%s')) for n in range(6)],
}))
"""


# --- A private instance ---------------------------------------------------------------------


@dataclass(kw_only=True)
class Instance:
    port: int
    environ: dict[str, str]
    query: Callable[[str], list[tuple[Any, ...]]]
    sources: dict[bool, list[dict[str, str]]] = field(default_factory=dict)

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environ,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def source(self, *, limited: bool) -> dict[str, str]:
        """A source nobody has posted to; `path` is where one does."""
        return self.sources[limited].pop()


def run_python(code: str, environ: dict[str, str]) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


@contextmanager
def process(command: list[str], environ: dict[str, str], **how: Any) -> Iterator[Any]:
    child = subprocess.Popen(command, cwd=ROOT, env=environ, **how)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def postgresql_database(server: str) -> Iterator[str]:
    name = f"bench_intake_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield urlsplit(server)._replace(path=f"/{name}").geturl()
        finally:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


@contextmanager
def instance(vendor: str) -> Iterator[Instance]:
    with ExitStack() as stack:
        var = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-intake-")))
        password, redis_port = embedded.new_password(), embedded.free_port()
        command = embedded.server_command(
            var / "redis", port=redis_port, password=password, durable=False
        )
        stack.enter_context(process(command, dict(os.environ), stdout=subprocess.DEVNULL))
        redis_url = embedded.server_url(port=redis_port, password=password)
        port = embedded.free_port()
        database = ""
        if vendor == "postgresql":
            database = stack.enter_context(postgresql_database(os.environ["TEST_DATABASE_URL"]))
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("IOP_")},
            "DJANGO_SETTINGS_MODULE": "tests.bench.intake_settings",
            "DATABASE_URL": database,
            "REDIS_URL": redis_url,
            "IOP_VAR": str(var),
            "IOP_PORT": str(port),
            "IOP_LOG_LEVEL": "ERROR",
        }

        def query(statement: str) -> list[tuple[Any, ...]]:
            if database:
                with psycopg.connect(database) as connection:
                    return connection.execute(statement.encode()).fetchall()
            with sqlite3.connect(var / "incidentops.sqlite3") as lite:
                return lite.execute(statement).fetchall()

        here = Instance(port=port, environ=environ, query=query)
        wait_until(lambda: redis.Redis.from_url(redis_url).ping())
        here.manage("migrate", "-v", "0")
        made = json.loads(run_python(SOURCES % json.dumps(UNLIMITED), environ))
        here.sources = {True: made["limited"], False: made["unlimited"]}
        stack.enter_context(
            process(
                [
                    *(sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1"),
                    *("-p", str(port), "incidentops.asgi:application"),
                ],
                environ,
            )
        )
        wait_until(lambda: asyncio.run(reaches(port)))
        yield here


async def reaches(port: int) -> bool:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return True


def wait_until(condition: Callable[[], Any], within: float = 60) -> None:
    give_up_at = time.monotonic() + within
    while True:
        try:
            if condition():
                return
        except (OSError, redis.RedisError):
            if time.monotonic() > give_up_at:
                raise
        if time.monotonic() > give_up_at:
            raise TimeoutError("What the benchmark waits for did not come.")
        time.sleep(0.05)


# --- The load -------------------------------------------------------------------------------


def alert(number: int, service: str = "") -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {
            "alertname": "HighErrorRate",
            "service": service or f"svc-{number % 40}",
            "instance": f"10.{number // 62500}.{number // 250 % 250}.{number % 250}:9100",
            "severity": "critical",
            "job": "node",
        },
        "annotations": {
            "summary": "Error rate above 5% on instance",
            "description": "More than five of a hundred requests failed in the last ten minutes.",
        },
        "startsAt": "2026-11-22T11:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=errors&g0.tab=1",
        "fingerprint": f"{number:016x}",
    }


def body(alerts: list[dict[str, Any]], nonce: int) -> bytes:
    return json.dumps(
        {
            "version": "4",
            "groupKey": f"{{}}:{{n={nonce}}}",
            "status": "firing",
            "receiver": "incidentops",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager:9093",
            "alerts": alerts,
        }
    ).encode()


@dataclass(kw_only=True)
class Tally:
    """What the senders were told."""

    seconds: float = 0
    latencies: list[float] = field(default_factory=list)
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    coalesced: int = 0

    def add(self, status: int, answer: bytes, took: float) -> None:
        self.latencies.append(took)
        if status != 202:
            self.refused += 1
            return
        told = json.loads(answer)
        self.accepted += told["accepted"]
        self.duplicates += told["duplicates"]
        self.coalesced += told.get("coalesced", False)

    def figures(self) -> dict[str, Any]:
        ordered = sorted(self.latencies)
        return {
            "alerts_per_second": round(self.accepted / self.seconds),
            "posts_per_second": round(len(ordered) / self.seconds, 1),
            "p50_ms": round(1000 * ordered[len(ordered) // 2], 1),
            "p95_ms": round(1000 * ordered[int(len(ordered) * 0.95)], 1),
            "seconds": round(self.seconds, 2),
            "refused": self.refused,
        }


async def send(port: int, path: str, bodies: Iterator[bytes], until: float) -> Tally:
    """Post over keep-alive connections, each waiting for its answers, until time or bodies end."""
    tally = Tally()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for data in bodies:
            if time.monotonic() > until:
                break
            started_at = time.monotonic()
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data)
            status, answer = await read_answer(reader)
            tally.add(status, answer, time.monotonic() - started_at)
        writer.close()

    started_at = time.monotonic()
    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    tally.seconds = time.monotonic() - started_at
    return tally


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length)


def endless(per_post: int, rng: random.Random) -> Iterator[bytes]:
    alerts = [alert(number) for number in range(DISTINCT)]
    while True:
        yield body(rng.sample(alerts, per_post), rng.getrandbits(64))


def run(here: Instance, path: str, bodies: Iterator[bytes], seconds: float) -> Tally:
    return asyncio.run(send(here.port, path, bodies, time.monotonic() + seconds))


# --- What is measured -----------------------------------------------------------------------


def measure_ratio(here: Instance, per_post: int, seconds: float) -> tuple[Any, Any, float]:
    """The product's and the baseline's figures, taken in turns so that both meet the same machine."""
    tallies: dict[str, list[Tally]] = {"": [], "/baseline": []}
    paths = {prefix: prefix + here.source(limited=False)["path"] for prefix in tallies}
    for prefix, path in paths.items():
        run(here, path, endless(per_post, random.Random(1)), seconds / 4)
        del prefix
    for turn in range(2):
        for prefix, path in paths.items():
            bodies = endless(per_post, random.Random(turn))
            tallies[prefix].append(run(here, path, bodies, seconds / 2))
    ours, theirs = (together(tallies[prefix]) for prefix in tallies)
    ratio = (ours.accepted / ours.seconds) / (theirs.accepted / theirs.seconds)
    return ours.figures(), theirs.figures(), round(ratio, 2)


def together(tallies: list[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.seconds += tally.seconds
        total.latencies += tally.latencies
        total.accepted += tally.accepted
        total.duplicates += tally.duplicates
        total.refused += tally.refused
    return total


def measure_sustained(here: Instance, seconds: float) -> dict[str, Any]:
    source = here.source(limited=True)
    tally = run(here, source["path"], endless(50, random.Random(3)), seconds)
    return {**tally.figures(), "coalesced_posts": tally.coalesced, **audit(here, source, tally)}


def audit(here: Instance, source: dict[str, str], tally: Tally) -> dict[str, int]:
    """What senders were told against the rows. Alerts of posts without an answer may be there."""
    where = f"source_id = '{source['id']}'"
    ((stored,),) = here.query(
        f"SELECT COALESCE(SUM(accepted), 0) FROM incidents_delivery WHERE {where}"
    )
    ((rows, counted),) = here.query(
        f"SELECT COUNT(*), COALESCE(SUM(count), 0) FROM incidents_alert WHERE {where}"
    )
    return {
        "lost_bodies": max(0, tally.accepted - int(stored)),
        "lost_alerts": max(0, tally.accepted - int(counted)),
        "counted_twice": max(0, int(counted) - int(stored)),
        "duplicates_misreported": abs(tally.accepted - tally.duplicates - rows),
    }


def measure_storm(here: Instance) -> dict[str, Any]:
    """10,000 alerts of one cause in groups of 100, at default limits."""
    source = here.source(limited=True)
    groups = [
        body([alert(number, "checkout") for number in range(first, first + 100)], first)
        for first in range(0, 10_000, 100)
    ]
    command = [sys.executable, "-c", ATTACH]
    with process(command, here.environ, stdout=subprocess.PIPE, text=True) as attacher:
        attacher.stdout.readline()
        started_at = time.monotonic()
        tally = run(here, source["path"], iter(groups), 60)
        where = f"source_id = '{source['id']}'"
        waiting = f"SELECT COUNT(*) FROM incidents_alert WHERE {where} AND incident_id IS NULL"
        wait_until(lambda: here.query(waiting) == [(0,)], within=120)
        attached_after = time.monotonic() - started_at
    ((alerts, incidents),) = here.query(
        f"SELECT COUNT(*), COUNT(DISTINCT incident_id) FROM incidents_alert WHERE {where}"
    )
    return {
        **tally.figures(),
        "accepted_alerts": tally.accepted,
        "coalesced_posts": tally.coalesced,
        "seconds_to_all_202": round(tally.seconds, 2),
        "seconds_to_all_attached": round(attached_after, 2),
        "alerts": alerts,
        "incidents": incidents,
        **audit(here, source, tally),
    }


def progress(part: str, figures: dict[str, Any]) -> None:
    sys.stderr.write(f"  {part}: {json.dumps(figures)}\n")
    sys.stderr.flush()


def measure(*, seconds: float = 60, ratio_seconds: float = 8) -> dict[str, Any]:
    """The shape of every benchmark: metrics, the baseline of the same run, and their ratio."""
    vendors = ["sqlite", *(["postgresql"] if os.environ.get("TEST_DATABASE_URL") else [])]
    metrics: dict[str, Any] = {}
    baseline: dict[str, Any] = {}
    ratio: dict[str, float] = {}
    for vendor in vendors:
        with instance(vendor) as here:
            metrics[vendor], baseline[vendor] = {}, {}
            for per_post in (10, 50, 100):
                key = f"alerts_per_post_{per_post}"
                ours, theirs, factor = measure_ratio(here, per_post, ratio_seconds)
                metrics[vendor][key], baseline[vendor][key] = ours, theirs
                ratio[f"{vendor}_{per_post}"] = factor
                progress(f"{vendor}, {per_post} alerts a post", {"ratio": factor, **ours})
            metrics[vendor]["sustained"] = measure_sustained(here, seconds)
            progress(f"{vendor}, sustained", metrics[vendor]["sustained"])
        # On an instance of its own: what the others left unattached would be attached first.
        with instance(vendor) as here:
            metrics[vendor]["storm"] = measure_storm(here)
            progress(f"{vendor}, storm", metrics[vendor]["storm"])
    return {"name": "intake", "metrics": metrics, "baseline": baseline, "ratio": ratio}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="length of the sustained load")
    parser.add_argument("--ratio-seconds", type=float, default=8, help="per side and batch size")
    options = parser.parse_args()
    figures = measure(seconds=options.seconds, ratio_seconds=options.ratio_seconds)
    sys.stdout.write(json.dumps(figures) + "\n")
