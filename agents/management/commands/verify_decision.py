from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents import consensus, voting
from agents.models import Decision


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
    found = []
    if (proof["choice"] or "") != decision.choice:
        found.append("The decision is not what its certificate says.")
    if proof["question"]["incident"] != response.incident_id:
        found.append("The certificate is about another incident.")
    if proof["question"]["cycle"] != response.cycle:
        found.append("The certificate is about another cycle.")
    if set(proof["question"]["candidates"]) != {row.digest for row in response.candidates.all()}:
        found.append("The certificate and the stored candidates differ.")
    members = voting.electorate(proof["question"]["epoch"])
    listed = {voter["voter"]: voter["public_key"] for voter in proof["voters"]}
    if listed != {voter.name: voter.public_key for voter in members.voters}:
        found.append("The certificate and the stored keys of the epoch differ.")
    stored = voting.ballots_of(response, decision.round)
    shown = {ballot["voter"]: ballot["signature"] for ballot in proof["ballots"]}
    if shown != {name: ballot.signature for name, ballot in stored.items()}:
        found.append("The certificate and the stored ballots differ.")
    return found
