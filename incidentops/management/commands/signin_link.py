"""Print a link that signs a user in once."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from incidentops.access import signin


class Command(BaseCommand):
    help = "Print a link that signs a user in once, for instance after a lost password."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", default=signin.FIRST_ADMIN, help="default: %(default)s")
        parser.add_argument(
            "--minutes", type=int, default=60, help="how long it stays open; default: %(default)s"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        name, minutes = options["user"], options["minutes"]
        if minutes < 1:
            raise CommandError("--minutes must be at least 1.")
        user = User.objects.filter(username=name, is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {name!r}.")
        path = signin.create_link(user, timedelta(minutes=minutes))
        self.stdout.write(f"{settings.PUBLIC_URL}{path}")
