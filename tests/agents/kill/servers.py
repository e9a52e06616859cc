"""Private servers and processes that a kill test may kill."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import redis

from incidentops import embedded

ROOT = Path(__file__).parents[3]


def wait_for(condition: Callable[[], Any], *, within: float, what: str) -> Any:
    """The first truthy value of `condition`; an outage while asking is a no."""
    give_up_at = time.monotonic() + within
    while time.monotonic() < give_up_at:
        with contextlib.suppress(OSError, psycopg.Error, sqlite3.Error, redis.RedisError):
            if value := condition():
                return value
        time.sleep(0.1)
    raise TimeoutError(f"Not within {within:.0f} s: {what}")


def postgres_binaries() -> Path | None:
    """The newest installed PostgreSQL, or nothing."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None


class PostgreSQL:
    """A private server. It refuses to run as root, so then it runs as the user `postgres`."""

    def __init__(self, directory: Path, binaries: Path) -> None:
        self.directory, self.binaries, self.port = directory, binaries, embedded.free_port()
        self._as_user: list[str] = []
        directory.mkdir()
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(directory, user.pw_uid, user.pw_gid)
            self._as_user = [
                "setpriv",
                f"--reuid={user.pw_uid}",
                f"--regid={user.pw_gid}",
                "--clear-groups",
            ]
        self._run("initdb", "-D", str(directory / "data"), "-U", "postgres", "-A", "trust", "-N")
        self.start()

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._as_user, str(self.binaries / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
        )

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self.directory / "data"), "-w", "-s", *arguments)

    def start(self) -> None:
        options = f"-p {self.port} -k {self.directory} -c listen_addresses=127.0.0.1"
        self._control("-l", str(self.directory / "log"), "-o", options, "start")

    def restart_at_once(self) -> None:
        self._control("-m", "immediate", "stop")
        self.start()

    def stop(self) -> None:
        self._control("-m", "immediate", "stop")


class Valkey:
    """A private server that keeps nothing on disk: what it loses is lost."""

    def __init__(self, directory: Path) -> None:
        self.port, password = embedded.free_port(), embedded.new_password()
        self.url = embedded.server_url(port=self.port, password=password)
        self._command = embedded.server_command(
            directory, port=self.port, password=password, durable=False
        )
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, start_new_session=True
        )
        wait_for(self.client().ping, within=10, what="Valkey answers")

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Process:
    """A child of the product that is started again whenever it has died."""

    def __init__(self, name: str, command: list[str], environ: dict[str, str], log: Path) -> None:
        self.name, self._command, self._environ, self._log = name, command, environ, log
        self.restarts = -1
        self.revive()

    def revive(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environ,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.restarts += 1

    @property
    def is_dead(self) -> bool:
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        return self._process.pid

    def children(self) -> list[int]:
        try:
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except OSError:
            return []
        return [int(word) for word in text.split()]

    def kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def kill_main(self) -> None:
        """As the kernel does when memory runs out: the children are left behind."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._process.wait()


class Instance:
    """Web, two workers and beat over a private Valkey and a private database."""

    def __init__(
        self,
        directory: Path,
        database: str,
        *,
        lease: int,
        seconds: float,
        control: str = "",
        package: str = "tests.agents.kill",
    ) -> None:
        self.directory, self.lease = directory, lease
        self.postgres: PostgreSQL | None = None
        if database == "postgresql":
            binaries = postgres_binaries()
            assert binaries is not None
            self.postgres = PostgreSQL(directory / "postgresql", binaries)
        self.valkey = Valkey(directory / "valkey")
        self.port = embedded.free_port()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("IOP_", "TEST_"))}
        self.environ = kept | {
            "DATABASE_URL": self.postgres.url if self.postgres else "",
            "REDIS_URL": self.valkey.url,
            "IOP_VAR": str(directory / "var"),
            "IOP_PORT": str(self.port),
            "IOP_LEASE_SECONDS": str(lease),
            "IOP_LOG_LEVEL": "WARNING",
            "DJANGO_SETTINGS_MODULE": f"{package}.settings",
            "PYTHONPATH": str(ROOT),
            "KILL_TEST_SECONDS": str(seconds),
            "KILL_TEST_CONTROL": control,
        }
        self.manage("migrate", "--verbosity", "0")
        self.web = self._start(
            "web",
            "daphne",
            "-v",
            "0",
            "-b",
            "127.0.0.1",
            "-p",
            str(self.port),
            "incidentops.asgi:application",
        )
        celery = ("celery", "-A", f"{package}.worker", "--quiet")
        self.workers = [
            self._start(
                f"worker{number}",
                *celery,
                *("worker", "-Q", "intake,agents,default,reports", "-c", "2"),
                *("-n", f"w{number}@%h", "--loglevel", "WARNING"),
                *("--without-gossip", "--without-mingle", "--heartbeat-interval", "1"),
            )
            for number in (1, 2)
        ]
        self.beat = self._start("beat", *celery, "beat", "--loglevel", "WARNING", "--pidfile", "")
        self.processes = [self.web, *self.workers, self.beat]
        wait_for(self._listens, within=60, what="the web server listens")

    def _start(self, name: str, module: str, *arguments: str) -> Process:
        command = [sys.executable, "-m", module, *arguments]
        return Process(name, command, self.environ, self.directory / f"{name}.log")

    def _listens(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True

    def manage(self, *arguments: str) -> str:
        """The output of a management command.

        Raises:
            CalledProcessError: it failed.
        """
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            env=self.environ,
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows as the database has them, read without the product's code."""
        if self.postgres:
            with psycopg.connect(self.postgres.url, connect_timeout=2) as connection:
                return connection.execute(sql).fetchall()
        path = self.directory / "var" / "incidentops.sqlite3"
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
            return connection.execute(sql).fetchall()

    @contextlib.contextmanager
    def nobody_writing(self) -> Iterator[None]:
        """In the block no process of the instance is in the middle of a write of SQLite."""
        assert self.postgres is None
        path = self.directory / "var" / "incidentops.sqlite3"
        with Path(f"{path}-queue").open("rb") as queue:
            # First the queue before the write lock, as the product does, then the lock itself.
            fcntl.flock(queue, fcntl.LOCK_EX)
            with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield

    def revive_the_dead(self) -> None:
        for process in self.processes:
            if process.is_dead:
                process.revive()

    def stop(self) -> None:
        for process in self.processes:
            process.kill_group()
        self.valkey.kill()
        if self.postgres:
            self.postgres.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
