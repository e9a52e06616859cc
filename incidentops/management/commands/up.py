"""Start the whole instance in the foreground and keep it running."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from incidentops import environment, instance
from incidentops.access import signin
from incidentops.incidents import sources
from incidentops.incidents.models import Source
from incidentops.supervisor import Supervisor, run_until_signalled

READY_WITHIN = timedelta(seconds=120)


class Command(BaseCommand):
    help = (
        "Start everything in the foreground: embedded services where none are configured, "
        "migrations, web, workers and beat. Ctrl-C or SIGTERM stops it all."
    )
    # The system checks import every URL; the children run on the same code and say it themselves.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--sign-in",
            action="store_true",
            help="print a fresh one-time sign-in link for `admin`, not only at the first start",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for name in environment.unknown():
            self.stderr.write(f"Warning: {name} is not a variable of IncidentOps; see .env.example")
        try:
            with (
                instance.locked(settings.VAR),
                instance.listen(settings.HOST, settings.PORT) as listener,
            ):
                self._run(listener, wants_link=options["sign_in"])
        except instance.AlreadyRunning:
            raise CommandError(
                f"IncidentOps already runs on {settings.VAR}; stop it, or set another IOP_VAR."
            ) from None
        except instance.PortTaken as error:
            raise CommandError(f"Cannot listen on {error}. Set another IOP_PORT.") from None

    def _run(self, listener: socket.socket, *, wants_link: bool) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        _collect_static(settings.VAR / "static.stamp")
        _, link = signin.ensure_first_admin(wants_link=wants_link)
        default_sources = sources.ensure_defaults()
        connections.close_all()

        async def start(supervisor: Supervisor) -> None:
            checks = await _start_children(supervisor, listener)
            if failing := [name for name, check in checks.items() if not check["ok"]]:
                self.stderr.write(f"Started, but not ready: {', '.join(failing)}; see /readyz.")
                return
            self._welcome(link, default_sources)

        asyncio.run(run_until_signalled(start, stop_on=[signal.SIGINT, signal.SIGTERM]))
        self.stdout.write("IncidentOps stopped.")

    def _welcome(self, link: str | None, default_sources: list[tuple[Source, str]]) -> None:
        self.stdout.write(f"IncidentOps ready: {settings.PUBLIC_URL}")
        if link:
            self.stdout.write(f"Sign in once as admin: {settings.PUBLIC_URL}{link}")
        for source, secret in default_sources:
            self.stdout.write(f"{source.kind:>12}: {sources.url_of(source, secret)}")
        self.stdout.flush()


async def _start_children(
    supervisor: Supervisor, listener: socket.socket
) -> dict[str, dict[str, object]]:
    """Start what the environment does not provide, then the product; the checks once it is ready."""
    environ = {**os.environ, "IOP_VAR": str(settings.VAR), "PYTHONUNBUFFERED": "1"}
    if not environment.read("REDIS_URL"):
        server, environ["REDIS_URL"] = instance.embedded_server(settings.VAR)
        supervisor.start(server)
        await asyncio.to_thread(instance.wait_for_redis, environ["REDIS_URL"])
    if settings.AWSAI_PROVIDER == "emulator" and not settings.AWS_EMULATOR_URL:
        supervisor.start(instance.aws_emulator(settings.AWS_EMULATOR_ADDRESS, environ))
    server_name = environment.read_choice("IOP_SERVER", ("daphne", "uvicorn"))
    for number in range(1, environment.read_int("IOP_WEB_PROCESSES") + 1):
        supervisor.start(
            instance.web(number, server=server_name, listener=listener, environ=environ)
        )
    supervisor.start(
        instance.worker("intake", queues=instance.OTHER_QUEUES, concurrency=1, environ=environ)
    )
    supervisor.start(
        instance.worker(
            "agents",
            queues=instance.AGENT_QUEUES,
            concurrency=environment.read_int("IOP_WORKER_CONCURRENCY"),
            environ=environ,
        )
    )
    supervisor.start(instance.beat(environ))
    return await _wait_until_ready()


async def _wait_until_ready() -> dict[str, dict[str, object]]:
    url = instance.local_url(settings.HOST, settings.PORT)
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + READY_WITHIN.total_seconds()
    while True:
        is_ready, checks = await asyncio.to_thread(instance.readiness, url)
        if is_ready or loop.time() > give_up_at:
            return checks or {"web": {"ok": False}}
        await asyncio.sleep(0.1)


def _collect_static(stamp: Path) -> None:
    """Collect and hash static files when any of them changed since the last time."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for path, storage in finder.list([]):
            digest.update(f"{path}\0{storage.get_modified_time(path)}\0".encode())
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    call_command("collectstatic", verbosity=0, interactive=False, clear=True)
    stamp.write_text(digest.hexdigest())
