"""Say what routing saved against always asking the top model."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from awsai import savings
from awsai.savings import Savings


class Command(BaseCommand):
    help = "Price the stored routes once more as if the top model had always been asked."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", type=_instant, help="An ISO date or time, in UTC.")
        parser.add_argument("--json", action="store_true", help="One JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        found = savings.against_always_top(since=options["since"])
        if options["json"]:
            self.stdout.write(json.dumps(asdict(found), indent=2))
            return
        self.stdout.write("\n".join(_lines(found)))


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is no ISO date or time.") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _lines(found: Savings) -> list[str]:
    lines = [f"Decisions: {found.decisions}, compared: {found.compared}"]
    lines += [f"  left out, {reason}: {count}" for reason, count in found.left_out.items()]
    if found.compared:
        lines += [
            f"As routed:  {found.routed_nano_usd / 1e9:.6f} USD",
            f"Always top: {found.top_nano_usd / 1e9:.6f} USD for the same tokens",
            f"List prices of {found.price_version}",
        ]
    if found.share is not None:
        lines.append(f"Saved: {found.share:.1%}{_between(found)}")
    if found.reason:
        lines.append(found.reason)
    return lines


def _between(found: Savings) -> str:
    if found.low is None or found.high is None:
        return ""
    return (
        f" (95 % interval {found.low:.1%} to {found.high:.1%}, bootstrap over "
        f"{found.compared} decisions)"
    )
