"""Ask the Price List API what has changed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from awsai import refresh
from awsai.ports import CallFailed


class Command(BaseCommand):
    help = "Fetch prices into a draft and show what it would change; it bills once it is activated."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write("Asking the Price List API ...")
        try:
            found = refresh.draft_prices()
        except CallFailed as failed:
            raise CommandError(f"No prices were fetched: {failed}") from failed
        if found.draft is None:
            self.stdout.write("Nothing differs from the list in force.")
            return
        for change in found.diff.changes:
            self.stdout.write(f"  {change}")
        for reason in found.diff.reasons:
            self.stdout.write(f"to be confirmed: {reason}")
        self.stdout.write(
            f"{len(found.diff.changes)} changes wait in {found.draft.label}; "
            f"activate it in the admin. {len(found.unread)} products were not read."
        )
