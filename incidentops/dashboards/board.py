"""The operators' board: which cards stand in which column, in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SEVERITIES = ("critical", "high", "medium", "low")
FILTERS = ("severity", "service", "origin", "q")

Card = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Column:
    slug: str
    title: str
    statuses: tuple[str, ...]
    empty: str


COLUMNS = (
    Column(
        slug="triggered",
        title="Triggered",
        statuses=("triggered",),
        empty="Nothing waits for a person.",
    ),
    Column(
        slug="acknowledged",
        title="Acknowledged",
        statuses=("acknowledged",),
        empty="Nobody is working on an incident.",
    ),
    Column(
        slug="mitigated",
        title="Mitigated",
        statuses=("mitigated",),
        empty="Nothing is mitigated but not yet resolved.",
    ),
    Column(
        slug="resolved",
        title="Resolved (24 h)",
        statuses=("resolved", "closed"),
        empty="Nothing was resolved in the last 24 hours.",
    ),
    # Below the others, and only while it holds something.
    Column(slug="snoozed", title="Snoozed", statuses=(), empty=""),
)


def matches(card: Card, wanted: Mapping[str, str]) -> bool:
    """Whether a card passes the filters of the URL; an empty filter lets everything through."""
    text = wanted.get("q", "").strip().lower()
    return all(
        not wanted.get(name) or card[name] == wanted[name]
        for name in ("severity", "service", "origin")
    ) and (not text or text in f"#{card['number']} {card['title']} {card['service']}".lower())


def urgency(card: Card) -> tuple[int, int]:
    """Most urgent first, then newest first."""
    severity = card["severity"]
    rank = SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
    return rank, -card["number"]


def stands_in(card: Card, column: Column) -> bool:
    """A snoozed card leaves the column of its status until the snooze ends."""
    if card.get("snoozed_until"):
        return column.slug == "snoozed"
    return card["status"] in column.statuses


def columns(cards: Iterable[Card]) -> list[tuple[Column, list[Card]]]:
    ordered = sorted(cards, key=urgency)
    return [(column, [card for card in ordered if stands_in(card, column)]) for column in COLUMNS]


def counts(cards: Iterable[Card]) -> dict[str, int]:
    """Open incidents by severity."""
    tally = dict.fromkeys(SEVERITIES, 0)
    for card in cards:
        if (
            card["status"] in ("triggered", "acknowledged", "mitigated")
            and card["severity"] in tally
        ):
            tally[card["severity"]] += 1
    return tally
