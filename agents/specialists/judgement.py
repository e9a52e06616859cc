"""From "how much speaks for acting" to the scores of a ballot."""

from __future__ import annotations

from collections.abc import Callable

from agents.case import NO_ACTION, Opinion, Proposal

# What an agent without evidence of its own says: rather not, and not loudly.
ABSTAIN = -0.4
RISK = {"low": 0.0, "medium": 0.1, "high": 0.25}


def opinion(
    proposals: tuple[Proposal, ...],
    speaks_for: Callable[[Proposal], float],
    *,
    reason: str,
    families: tuple[str, ...] = (),
) -> Opinion:
    """Score every proposal by what speaks for it, from -1 (against) over 0 (even) to 1 (for).

    A candidate gets 0.5 + 0.35 times that; NO_ACTION mirrors the best candidate, so an agent that
    sees nothing worth doing says so as clearly as one that does.
    """
    balance = {
        p.digest: max(-1.0, min(1.0, speaks_for(p))) for p in proposals if p.action != NO_ACTION
    }
    best = max(balance.values(), default=ABSTAIN)
    scores = {p.digest: round(0.5 + 0.35 * balance.get(p.digest, -best), 6) for p in proposals}
    return Opinion(scores=scores, reason=reason, families=families)


def abstention(proposals: tuple[Proposal, ...], reason: str) -> Opinion:
    return opinion(proposals, lambda _: ABSTAIN, reason=reason)


def touched(proposal: Proposal) -> frozenset[str]:
    """Services an action is about: its target, and the callee it cuts off."""
    callee = proposal.parameters.get("callee", "")
    return frozenset(name for name in (proposal.target, str(callee)) if name)
