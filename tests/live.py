"""A whole instance, started by `manage.py up` as a user starts it, in a directory of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import psycopg

from incidentops.embedded import free_port

ROOT = Path(__file__).parent.parent
T = TypeVar("T")


def wait_for(condition: Callable[[], T], *, within: float = 60, what: str = "") -> T:
    """The first truthy value of `condition`, asked again and again; an error is a no."""
    give_up_at = time.monotonic() + within
    last: object = None
    while time.monotonic() < give_up_at:
        try:
            last = condition()
        except (httpx.HTTPError, OSError) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(0.05)
    raise AssertionError(f"{what or condition} did not come true in {within} s; last: {last!r}")


@dataclass(kw_only=True)
class LiveInstance:
    """A running instance: where it is, what it printed, and an authorised client."""

    process: subprocess.Popen[str]
    environ: dict[str, str]
    url: str
    lines: list[str] = field(default_factory=list)

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def client(self, role: str = "responder") -> httpx.Client:
        token = self.manage("token", "create", "--name", f"test-{role}", "--role", role)
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=20,
            trust_env=False,
        )

    def printed(self, pattern: str) -> re.Match[str] | None:
        return next((found for line in self.lines if (found := re.search(pattern, line))), None)

    def intake_url(self, kind: str) -> str:
        """The URL `up` printed for the default source of this kind."""
        found = self.printed(rf"^\s*{kind}: (\S+)$")
        assert found, self.lines
        return found[1]

    def stop(self, *, within: float = 40) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)


@contextmanager
def lane() -> Iterator[dict[str, str]]:
    """The environment of the lane under test, with a database of its own on PostgreSQL."""
    url, server = os.environ.get("TEST_DATABASE_URL"), os.environ.get("TEST_REDIS_URL")
    if not (url and server):
        yield {}
        return
    name = f"iop_live_{uuid.uuid4().hex[:8]}"
    administration = urlsplit(url)._replace(path="/postgres").geturl()
    with psycopg.connect(administration, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield {
                "DATABASE_URL": urlsplit(url)._replace(path=f"/{name}").geturl(),
                "REDIS_URL": server,
                "IOP_REDIS_PREFIX": name,
            }
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def instance(directory: Path, **environ: str) -> Iterator[LiveInstance]:
    """Start an instance on a free port; ready when the block begins, stopped after it."""
    port = free_port()
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("IOP_", "TEST_")) and name not in ("DATABASE_URL", "REDIS_URL")
    }
    settings = {**inherited, "IOP_VAR": str(directory), "IOP_PORT": str(port), **environ}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "up"],
        cwd=ROOT,
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    live = LiveInstance(process=process, environ=settings, url=f"http://127.0.0.1:{port}")
    assert process.stdout is not None
    reader = threading.Thread(target=_collect, args=(process.stdout, live.lines), daemon=True)
    reader.start()
    try:
        wait_for(
            lambda: live.printed(r"IncidentOps ready: ") or process.poll() is not None,
            within=120,
            what="the instance",
        )
        assert process.poll() is None, "".join(live.lines)
        yield live
    finally:
        if process.poll() is None:
            live.stop()
        reader.join(10)
        process.stdout.close()


def _collect(stream: Any, lines: list[str]) -> None:
    lines.extend(line.rstrip("\n") for line in stream)
