"""Ask Bedrock which models there are."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from awsai import refresh
from awsai.ports import CallFailed


class Command(BaseCommand):
    help = "Bring the catalogue of models up to what Bedrock lists in the home region."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write("Asking Bedrock for its models ...")
        try:
            synced = refresh.sync_catalogue()
        except CallFailed as failed:
            raise CommandError(f"The catalogue was not synced: {failed}") from failed
        for word, models in (
            ("added", synced.added),
            ("changed", synced.changed),
            ("no longer listed", synced.gone),
        ):
            self.stdout.write(f"{len(models)} {word}")
            for model in models:
                self.stdout.write(f"  {model}")
