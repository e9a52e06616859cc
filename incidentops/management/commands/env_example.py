"""Print or write `.env.example`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from incidentops import environment


class Command(BaseCommand):
    help = "Write .env.example from the registry of variables; with --check only compare."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing, compare")

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.BASE_DIR / ".env.example"
        if not options["check"]:
            path.write_text(environment.example())
            self.stdout.write(".env.example is written.")
        elif not path.exists() or path.read_text() != environment.example():
            raise CommandError(".env.example is out of date; run `manage.py env_example`.")
