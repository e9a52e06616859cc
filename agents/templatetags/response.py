"""How parts of a response record are named on pages. Scripts name them the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import template

from agents.waterfall import Waterfall, waterfall

register = template.Library()


@register.simple_tag
def citation(response: Mapping[str, Any], evidence_id: str) -> str:
    """E3 for the third piece of evidence; readers see the same number at both ends."""
    ids = [row["id"] for row in response.get("evidence") or ()]
    return f"E{ids.index(evidence_id) + 1}" if evidence_id in ids else "E?"


@register.simple_tag
def candidate_name(response: Mapping[str, Any], digest: str | None) -> str:
    """The action a digest stands for, as people say it."""
    for row in response.get("candidates") or ():
        if row["digest"] == digest:
            action = "no action" if row["action"] == "NO_ACTION" else row["action"]
            return f"{action} {row['target']}".strip().replace("_", " ")
    return "nothing" if not digest else f"candidate {digest[:8]}"


@register.simple_tag
def rounds(response: Mapping[str, Any]) -> list[tuple[int, list[Mapping[str, Any]]]]:
    """Ballots by round, the newest round first."""
    by_round: dict[int, list[Mapping[str, Any]]] = {}
    for ballot in response.get("ballots") or ():
        by_round.setdefault(ballot["round"], []).append(ballot)
    return sorted(by_round.items(), reverse=True)


@register.simple_tag
def unknowns(response: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Everything that could not be determined, each sentence once, with the agents that said it."""
    found: dict[str, dict[str, None]] = {}
    for run in response.get("runs") or ():
        for sentence in (run.get("finding") or {}).get("unknown") or ():
            found.setdefault(sentence, {})[run["agent"]] = None
    return [(sentence, list(agents)) for sentence, agents in found.items()]


@register.simple_tag
def spoken(response: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The runs that ended with a finding."""
    return [run for run in response.get("runs") or () if run.get("finding")]


@register.simple_tag
def tone_of(response: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """How the newest update sounds, where somebody could tell."""
    tones = [(run["finding"].get("data") or {}).get("tone") for run in spoken(response)]
    return next((tone for tone in reversed(tones) if tone), None)


@register.simple_tag
def route_reason(ledger: Mapping[str, Any] | None, decision: int | None) -> str:
    """Why a route was taken; empty for one that is no longer among the newest."""
    routes = (ledger or {}).get("routes") or ()
    return next((row["reason"] for row in routes if row["id"] == decision), "")


@register.simple_tag
def dissents(ballot: Mapping[str, Any], decision: Mapping[str, Any] | None) -> bool:
    """Whether a voter would rather have had something else than what was decided."""
    return bool(decision and decision.get("choice")) and ballot["choice"] != decision["choice"]  # type: ignore[index]  # bool() has ruled None out


@register.simple_tag
def quorum_standings(response: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    certificate = (response.get("decision") or {}).get("certificate") or {}
    standings: Sequence[Mapping[str, Any]] = certificate.get("standings") or ()
    return sorted(standings, key=lambda row: -len(row["endorsers"]))


@register.simple_tag
def waterfall_of(response: Mapping[str, Any]) -> Waterfall | None:
    return waterfall(response)
