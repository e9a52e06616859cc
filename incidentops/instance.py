"""One running instance on this machine: its lock, its embedded server and its child processes."""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from incidentops import embedded
from incidentops.supervisor import Child

AGENT_QUEUES = "agents"
OTHER_QUEUES = "intake,default,reports"


class AlreadyRunning(Exception):
    """Another `up` holds this IOP_VAR."""


class PortTaken(Exception):
    """Something else listens on the web port."""


@contextmanager
def locked(var: Path) -> Iterator[None]:
    """Hold the instance's directory for as long as the block runs.

    Raises:
        AlreadyRunning: another process holds it.
    """
    with (var / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(str(var)) from None
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def listen(host: str, port: int) -> socket.socket:
    """The web server's listening socket.

    It is opened here and inherited by the web processes: while one restarts, connections wait in
    the backlog instead of being refused.

    Raises:
        PortTaken: somebody else has it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTaken(f"{host}:{port}: {error.strerror}") from None
    listener.listen(1024)
    listener.set_inheritable(True)
    return listener


def embedded_server(var: Path) -> tuple[Child, str]:
    """The embedded Redis-compatible server as a child, and its URL.

    The URL is left in `var/redis.url`, where every other command of this instance finds it. Port
    and password are kept when the port is still free.
    """
    address = var / "redis.url"
    known = redis.Redis.from_url(address.read_text().strip()) if address.exists() else None
    kept = known.connection_pool.connection_kwargs if known else {}
    password = str(kept.get("password") or embedded.new_password())
    port = int(kept.get("port") or 0)
    if not port or not _is_free(port):
        port = embedded.free_port()
    url = embedded.server_url(port=port, password=password)
    address.touch(mode=0o600)
    address.write_text(url)
    command = embedded.server_command(var / "redis", port=port, password=password)
    return Child(name="redis", command=command, environ=os.environ), url


def aws_emulator(address: Path, environ: dict[str, str]) -> Child:
    """The emulator of the AI services; its URL is left at `address`, where clients look for it."""
    port = embedded.free_port()
    address.write_text(f"http://127.0.0.1:{port}")
    command = [sys.executable, "manage.py", "aws_emulator", "--port", str(port)]
    return Child(name="aws-emulator", command=command, environ=environ)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def web(number: int, *, server: str, listener: socket.socket, environ: dict[str, str]) -> Child:
    descriptor = listener.fileno()
    if server == "daphne":
        # -v 0: the access log would hold the secrets of intake URLs.
        command = ["daphne", "-v", "0", "--fd", str(descriptor), "--ping-interval", "20"]
        # The message limit also holds for what we send, and a snapshot may be large; frames, of
        # which this limits only those that come in, are small.
        command += ["--websocket-max-message-size", str(32 * 2**20)]
        command += ["--websocket-max-frame-size", str(64 * 2**10), "--no-server-name"]
    else:
        command = ["uvicorn", "--fd", str(descriptor), "--no-access-log", "--log-level", "warning"]
        command += ["--ws-per-message-deflate", "false", "--lifespan", "off"]
        command += ["--ws-max-size", str(64 * 2**10)]
    return Child(
        name=f"web-{number}",
        command=[sys.executable, "-m", *command, "incidentops.asgi:application"],
        environ=environ,
        file_descriptors=(descriptor,),
    )


def worker(name: str, *, queues: str, concurrency: int, environ: dict[str, str]) -> Child:
    return Child(
        name=f"worker-{name}",
        command=[
            *_celery(),
            *("worker", "-Q", queues, "-c", str(concurrency), "-n", f"{name}@%h"),
            *("--loglevel", "WARNING", "--without-gossip", "--without-mingle"),
            # At each pulse lost phases are looked for, so this is part of the time to recover.
            *("--heartbeat-interval", "1"),
        ],
        environ=environ,
        stop_within=timedelta(seconds=20),
    )


def beat(environ: dict[str, str]) -> Child:
    return Child(
        name="beat",
        command=[*_celery(), "beat", "--loglevel", "WARNING", "--pidfile", ""],
        environ=environ,
    )


def _celery() -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "incidentops", "--quiet"]


def wait_for_redis(url: str) -> None:
    """Return once the server at `url` answers.

    Raises:
        redis.ConnectionError: it did not within about ten seconds.
    """
    client = redis.Redis.from_url(url, retry=Retry(ConstantBackoff(0.05), 200))
    client.ping()
    client.close()


def local_url(host: str, port: int) -> str:
    """How this machine reaches a server that listens on `host`, which may mean every address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        return f"http://127.0.0.1:{port}"
    return f"http://[{host}]:{port}" if address.version == 6 else f"http://{host}:{port}"


def readiness(url: str) -> tuple[bool, dict[str, dict[str, object]]]:
    """What `/readyz` says; not ready and no checks while the server does not answer."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=10, trust_env=False)
        said = answer.json()
    except (httpx.HTTPError, ValueError):
        return False, {}
    return answer.status_code == 200, said.get("checks", {})
