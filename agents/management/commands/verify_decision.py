from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents import consensus, voting
from agents.models import Decision, Response


class Command(BaseCommand):
    help = (
        "Check the decisions on an incident: every signature, every digest and the count, first "
        "from the certificate alone, then against the stored ballots and candidates."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("number", type=int, help="number of the incident")

    def handle(self, *args: Any, **options: Any) -> None:
        decisions = list(
            Decision.objects.filter(response__incident=options["number"])
            .select_related("response")
            .order_by("response__cycle")
        )
        if not decisions:
            raise CommandError(f"There is no decision on incident {options['number']}.")
        for decision in decisions:
            if faults := [*consensus.faults_of(decision.certificate), *_differences(decision)]:
                raise CommandError(f"Cycle {decision.response.cycle}: {faults[0]}")
            self.stdout.write(
                f"Cycle {decision.response.cycle}: {decision.outcome}, "
                f"{len(decision.certificate['ballots'])} ballots verified. {decision.reason}"
            )


def _differences(decision: Decision) -> list[str]:
    """Where the certificate and the rows tell different stories."""
    proof, response = decision.certificate, decision.response
    asked = proof["question"]
    members = voting.electorate(asked["epoch"])
    found = []
    is_decided = decision.outcome == Decision.Outcome.DECIDED
    if (proof["choice"] or "") != decision.choice or is_decided != bool(decision.choice):
        found.append("The decision is not what its certificate says.")
    if asked["incident"] != response.incident_id:
        found.append("The certificate is about another incident.")
    if (asked["cycle"], asked["round"]) != (response.cycle, decision.round):
        found.append("The certificate is about another cycle or round.")
    if asked["candidates"] != {row.digest: row.content for row in response.candidates.all()}:
        found.append("The certificate and the stored candidates differ.")
    if proof["voters"] != consensus.voters_json(members):
        found.append("The certificate and the stored voters of the epoch differ.")
    stored = voting.ballots_of(response, decision.round).values()
    if _by_voter(proof["ballots"]) != _by_voter(map(consensus.ballot_json, stored)):
        found.append("The certificate and the stored ballots differ.")
    return [*found, *_changed_ballots(response, members)]


def _by_voter(ballots: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {ballot["voter"]: ballot for ballot in ballots}


def _changed_ballots(response: Response, members: consensus.Electorate) -> list[str]:
    """The stored ballots, those of earlier rounds too, that nobody signed as they stand there."""
    found = []
    for row in response.ballots.order_by("round", "voter"):
        ballot, voter = voting.as_value(response, row), members.find(row.voter)
        is_signed = voter and consensus.has_valid_signature(ballot, voter.public_key)
        if not is_signed or ballot.choice != row.choice:
            found.append(f"The ballot of {row.voter} in round {row.round} was changed.")
    return found
