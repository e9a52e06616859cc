"""Make and revoke API tokens."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from incidentops.access import tokens
from incidentops.access.models import ApiToken
from incidentops.access.roles import Role


class Command(BaseCommand):
    help = "Make an API token (prints only the token, which is shown this once) or revoke one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="make a token and print it")
        create.add_argument("--name", required=True)
        create.add_argument("--role", required=True, choices=[role.value for role in Role])
        create.add_argument(
            "--expires-days",
            type=int,
            default=tokens.LIFETIME.days,
            help="0: never; default: %(default)s",
        )
        revoke = verbs.add_parser("revoke", help="end a token and close its sockets")
        revoke.add_argument("--name", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["verb"] == "create":
            self._create(options["name"], Role(options["role"]), options["expires_days"])
        else:
            self._revoke(options["name"])

    def _create(self, name: str, role: Role, days: int) -> None:
        if days < 0:
            raise CommandError("--expires-days must not be negative.")
        try:
            _, text = tokens.create(name, role, timedelta(days=days) if days else None)
        except tokens.NameTaken as error:
            raise CommandError(str(error)) from None
        self.stdout.write(text)

    def _revoke(self, name: str) -> None:
        token = ApiToken.objects.filter(name=name, revoked_at=None).first()
        if token is None:
            raise CommandError(f"No token named {name!r} is in use.")
        tokens.revoke(token, "command line")
        self.stdout.write(f"Token {name!r} is revoked.")
