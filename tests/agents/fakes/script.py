"""What the stand-in specialists do: plain behaviour that a test can change, nothing hidden."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from agents.case import NO_ACTION, Case, Claim, EvidenceItem, Finding, Opinion, Proposal

RESTART = Proposal(action="restart", target="checkout", rationale="It leaks memory.")
NOTHING = Proposal(action=NO_ACTION, rationale="It may pass.")


def _prefers_restart(case: Case, proposal: Proposal) -> float:
    return 0.9 if proposal.action == "restart" else 0.2


@dataclass
class Script:
    """`broken` holds "agent.function" names that raise; `seconds` is how long a phase takes."""

    broken: set[str] = field(default_factory=set)
    scores: dict[str, Callable[[Case, Proposal], float]] = field(default_factory=dict)
    proposals: tuple[Proposal, ...] = (RESTART, NOTHING)
    families: tuple[str, ...] = ("alerts", "metrics")
    recovered: bool | None = True
    seconds: float = 0.0
    extra_claims: tuple[Claim, ...] = ()
    during: Callable[[str, Case], None] = lambda name, case: None


SCRIPT = Script()


def reset() -> None:
    SCRIPT.__dict__.update(Script().__dict__)


def play(name: str, case: Case) -> None:
    SCRIPT.during(name, case)
    if SCRIPT.seconds:
        time.sleep(SCRIPT.seconds)
    if name in SCRIPT.broken:
        raise ValueError(f"{name} is broken")


def investigate(agent: str, case: Case) -> Finding:
    play(f"{agent}.investigate", case)
    seen = EvidenceItem(
        family="alerts",
        kind="alerts",
        title=f"Alerts as {agent} saw them",
        source="alerts",
        data={"rows": [{"fingerprint": a.fingerprint, "status": a.status} for a in case.alerts]},
    )
    claims = (Claim(text=f"{agent} saw it.", evidence=(seen.id(case.response_id),)),)
    return Finding(
        agent=agent,
        summary=f"{agent} looked at {len(case.alerts)} alerts.",
        claims=claims + SCRIPT.extra_claims,
        evidence=(seen,),
    )


def assess(agent: str, case: Case, proposals: tuple[Proposal, ...]) -> Opinion:
    play(f"{agent}.assess", case)
    score = SCRIPT.scores.get(agent, _prefers_restart)
    return Opinion(
        scores={proposal.digest: score(case, proposal) for proposal in proposals},
        reason=f"{agent} weighed {len(proposals)} candidates.",
        families=SCRIPT.families,
    )
