from __future__ import annotations

from functools import partial

from agents.case import Case, Finding
from tests.agents.fakes import script

investigate = partial(script.investigate, "detection")
assess = partial(script.assess, "detection")


def confirm_recovery(case: Case) -> Finding:
    script.play("detection.confirm_recovery", case)
    return Finding(
        agent="detection",
        summary="The alerts have recovered.",
        data={"recovered": script.SCRIPT.recovered},
    )
