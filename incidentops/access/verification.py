"""`verify_audit` and `verify_ledger`, which differ in nothing but the table."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from incidentops.access import append_only, chain


class VerifyChain(BaseCommand):
    links: ClassVar[type[chain.ChainLink]]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--expect",
            metavar="SEQUENCE:HASH",
            help="an end this command printed earlier: that row must still be there unchanged",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        table = self.links._meta.db_table
        if not append_only.is_protected(connection, table):
            self.stderr.write(
                f"Warning: {table} lacks its triggers; `manage.py migrate` makes them."
            )
        verdict = chain.verify(self.links, expected=_end(options["expect"]))
        if verdict.fault is not None:
            raise CommandError(f"{table}, {verdict.fault}")
        self.stdout.write(f"{verdict.count} rows are sound; end {verdict.count}:{verdict.hash}")


def _end(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}:[0-9a-f]{64}", text):
        raise CommandError("--expect takes SEQUENCE:HASH as this command prints it.")
    sequence, _, digest = text.partition(":")
    return int(sequence), digest
