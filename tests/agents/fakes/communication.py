from __future__ import annotations

from functools import partial

from agents.case import Case, Finding
from tests.agents.fakes import script

assess = partial(script.assess, "communication")


def investigate(case: Case) -> Finding:
    script.play("communication.investigate", case)
    return Finding(
        agent="communication",
        summary="Wrote an update for the operators.",
        data={
            "audience": "operators",
            "subject": f"#{case.incident.number} {case.incident.title}",
            "body": "What is known.",
        },
    )
