"""Create and list the sources of alerts."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from incidentops.incidents import payloads, sources
from incidentops.incidents.cards import instant
from incidentops.incidents.models import Source
from incidentops.incidents.payloads import Malformed


class Command(BaseCommand):
    help = "Create a source of alerts (its secret is shown this once) or list the sources."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="create a source and print its URL and secret")
        create.add_argument("--kind", required=True, choices=Source.Kind.values)
        create.add_argument("--name", required=True)
        create.add_argument("--config", default="{}", help="a JSON object; default: %(default)s")
        create.add_argument("--json", action="store_true", help="print one JSON object")
        listing = verbs.add_parser("list", help="list the sources, without their secrets")
        listing.add_argument("--json", action="store_true", help="print a JSON list")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["verb"] == "create":
            self._create(**{name: options[name] for name in ("kind", "name", "config", "json")})
        else:
            self._list(as_json=options["json"])

    def _create(self, *, kind: str, name: str, config: str, json: bool) -> None:
        try:
            source, secret = sources.create(
                kind=kind, name=name, config=_object(config), by="command line"
            )
        except (Malformed, sources.NameTaken) as error:
            raise CommandError(str(error)) from None
        row = {
            "id": source.pk,
            "kind": source.kind,
            "name": source.name,
            "url": sources.url_of(source, secret),
            "secret": secret,
        }
        self._print(row, as_json=json)

    def _list(self, *, as_json: bool) -> None:
        rows = [
            {
                "id": source.pk,
                "kind": source.kind,
                "name": source.name,
                "url": sources.url_of(source),
                "is_enabled": source.is_enabled,
                "last_delivery_at": instant(source.last_delivery_at),
            }
            for source in Source.objects.present().order_by("created_at", "id")
        ]
        if as_json:
            self.stdout.write(json.dumps(rows))
            return
        for row in rows:
            self._print(row, as_json=False)

    def _print(self, row: dict[str, Any], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(row))
        else:
            self.stdout.write("  ".join(f"{name}: {value}" for name, value in row.items()))


def _object(text: str) -> dict[str, Any]:
    try:
        value = payloads.document_of(text)
    except Malformed as error:
        raise CommandError(f"--config {error.reason}") from None
    if not isinstance(value, dict):
        raise CommandError("--config must be a JSON object.")
    return value
