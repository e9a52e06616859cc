from __future__ import annotations

from functools import partial
from typing import Any

from agents.case import Case, Proposal
from tests.agents.fakes import script

investigate = partial(script.investigate, "prediction")
assess = partial(script.assess, "prediction")


def outlook(case: Case, proposals: tuple[Proposal, ...]) -> dict[str, dict[str, Any]]:
    script.play("prediction.outlook", case)
    return {proposal.digest: {"unknown": "no past execution"} for proposal in proposals}
