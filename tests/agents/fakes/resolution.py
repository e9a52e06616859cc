from __future__ import annotations

from functools import partial

from agents.case import Case, Proposal
from tests.agents.fakes import script

investigate = partial(script.investigate, "resolution")
assess = partial(script.assess, "resolution")


def propose(case: Case) -> tuple[Proposal, ...]:
    script.play("resolution.propose", case)
    return script.SCRIPT.proposals
