"""A live instance: a private Redis, its own database, a web server and a process that writes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from incidentops import embedded
from tests.narrowing import known

ROOT = Path(__file__).resolve().parents[3]
APP = "tests.incidentops.realtime.live_app:application"


def wait_until(condition, *, seconds: float = 60.0, what: str = "the condition"):
    """Poll until `condition()` is true and return what it gave."""
    give_up_at = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > give_up_at:
            pytest.fail(f"Waited {seconds} s in vain for {what}.")
        time.sleep(0.02)
    return found


def is_listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


@dataclass
class Live:
    directory: Path
    environ: dict[str, str]
    redis_command: list[str]
    redis_port: int
    redis: subprocess.Popen[bytes] | None = None
    driver: subprocess.Popen[str] | None = None
    servers: dict[str, tuple[subprocess.Popen[bytes], int]] = field(default_factory=dict)

    def start_redis(self) -> None:
        self.redis = subprocess.Popen(self.redis_command, stdout=subprocess.DEVNULL)
        wait_until(lambda: is_listening(self.redis_port), what="Redis")

    def kill_redis(self) -> None:
        redis = known(self.redis)
        redis.kill()
        redis.wait()

    def start_driver(self) -> None:
        self.driver = subprocess.Popen(
            [sys.executable, "-m", "tests.incidentops.realtime.driver"],
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, name: str, /, **arguments):
        """Have the driver do one thing and return what it says."""
        driver = known(self.driver)
        orders, answers = known(driver.stdin), known(driver.stdout)
        orders.write(json.dumps([name, arguments]) + "\n")
        orders.flush()
        return json.loads(answers.readline())

    def port(self, server: str = "daphne") -> int:
        """The port of this web server, started when first asked for."""
        if server not in self.servers:
            port = embedded.free_port()
            command = {
                "daphne": ["daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(port), APP],
                "uvicorn": ["uvicorn", "--lifespan", "off", "--port", str(port), APP],
            }[server]
            with (self.directory / f"{server}.log").open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", *command],
                    cwd=ROOT,
                    env=self.environ,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                )
            self.servers[server] = process, port
            wait_until(lambda: is_listening(port), what=server)
        return self.servers[server][1]

    def pid(self, server: str = "daphne") -> int:
        return self.servers[server][0].pid

    def stop(self) -> None:
        if self.driver is not None:
            known(self.driver.stdin).close()
            known(self.driver.stdout).close()
        for process in [
            self.driver,
            self.redis,
            *(process for process, _ in self.servers.values()),
        ]:
            if process is not None:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@contextlib.contextmanager
def scratch_database(directory: Path):
    """The URL of a new database of this lane."""
    given = os.environ.get("TEST_DATABASE_URL", "")
    if not given:
        yield f"sqlite:///{directory / 'live.sqlite3'}"
        return
    server, name = given.rsplit("/", 1)[0], f"live_{uuid.uuid4().hex[:12]}"
    admin = f"{server}/postgres"
    assert urlsplit(admin).scheme.startswith("postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield f"{server}/{name}"
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def live(tmp_path_factory):
    directory = tmp_path_factory.mktemp("live")
    password, port = embedded.new_password(), embedded.free_port()
    with scratch_database(directory) as database:
        environ = {
            **os.environ,
            "IOP_VAR": str(directory),
            "DATABASE_URL": database,
            "REDIS_URL": embedded.server_url(port=port, password=password),
            "IOP_REDIS_PREFIX": "live",
        }
        instance = Live(
            directory=directory,
            environ=environ,
            redis_port=port,
            redis_command=embedded.server_command(
                directory / "redis", port=port, password=password, durable=False
            ),
        )
        try:
            instance.start_redis()
            subprocess.run(
                [sys.executable, "manage.py", "migrate", "-v", "0"],
                cwd=ROOT,
                env=environ,
                check=True,
            )
            instance.start_driver()
            yield instance
        finally:
            instance.stop()
