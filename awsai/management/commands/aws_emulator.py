"""Serve AWS's AI services on this machine, answered by the local provider."""

from __future__ import annotations

import json
import signal
import threading
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections
from django.utils.module_loading import import_string

import awsai
from awsai.emulator.emulator import Emulator
from awsai.ports import Provider

PROVIDER = "awsai.providers.local.PROVIDER"
PRICES = Path(awsai.__file__).parent / "data" / "prices.json"


class Command(BaseCommand):
    help = (
        "Serve AWS's AI services on the loopback interface, answered by the local provider, until "
        "Ctrl-C or SIGTERM. Stock boto3 uses it with the variables that --print-env prints."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--port", type=int, default=4599, help="0: a free one; default: %(default)s"
        )
        parser.add_argument(
            "--print-env", action="store_true", help="print the variables as lines for a shell"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        provider: Provider = import_string(PROVIDER)
        with _until_signalled() as stopped:
            try:
                emulator = Emulator(
                    provider,
                    port=options["port"],
                    prices=_rates,
                    after_request=close_old_connections,
                )
            except OSError as error:
                raise CommandError(
                    f"Cannot listen on port {options['port']}: {error.strerror}."
                ) from None
            with emulator:
                if options["print_env"]:
                    for name, value in emulator.environment.items():
                        self.stdout.write(f"export {name}={value}")
                self.stdout.write(f"# AWS emulator ready: {emulator.url}")
                self.stdout.flush()
                stopped.wait()
        self.stdout.write("# AWS emulator stopped.")


def _rates() -> Iterable[Mapping[str, Any]]:
    """The product's own list of prices, where it ships one."""
    rates: Iterable[Mapping[str, Any]] = (
        json.loads(PRICES.read_text())["rates"] if PRICES.exists() else ()
    )
    return rates


@contextmanager
def _until_signalled() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
