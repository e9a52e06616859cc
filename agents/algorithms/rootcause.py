"""Which of the things that misbehave is the cause, given who calls whom."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

LEAST_EFFECT = 1e-9


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """`score` is in [0, 1]; `own` is the share of the effect that no callee explains.

    `explained_by` is the anomalous callee with the largest effect, "" when there is none.
    """

    node: str
    score: float
    effect: float
    own: float
    correlation: float | None
    explained_by: str


def reachable(graph: Mapping[str, Iterable[str]], start: str) -> tuple[str, ...]:
    """`start` and all it depends on, nearest first, names in order within a distance."""
    seen, queue = {start: 0}, deque([start])
    while queue:
        node = queue.popleft()
        for callee in sorted(graph.get(node, ())):
            if callee not in seen:
                seen[callee] = seen[node] + 1
                queue.append(callee)
    return tuple(sorted(seen, key=lambda node: (seen[node], node)))


def rank(
    effects: Mapping[str, float],
    graph: Mapping[str, Iterable[str]],
    *,
    target: str,
    correlations: Mapping[str, float] | None = None,
    observed: Collection[str] | None = None,
) -> tuple[Suspect, ...]:
    """Rank the nodes `target` depends on (itself included) by how well they explain its trouble.

    `effects` says how strongly each anomalous node deviates, >= 0 in one common unit (robust
    deviations; severities when there are only alerts); absent means not anomalous. `graph` maps a
    caller to its callees. `correlations` are with the target's symptom, in [-1, 1]; without them
    they do not count. `observed` are the nodes of which absence from `effects` means health, all by
    default; trouble may have passed through any other unseen.

    score = own share * min(effect / target's effect, 1) * (0.5 + 0.5 max(correlation, 0)), where
    the own share is (effect - largest effect among anomalous callees) / effect, at least 0. Trouble
    travels from callee to caller: a node whose callee is at least as sick is a carrier. Order does
    not depend on that of the inputs; ties go to the larger effect, the deeper node, the name.

    Source: anomaly traversal over call graphs as in Hardt et al., "The PetShop dataset", CLeaR
    2024, with effects explained away by callees.
    """
    order = reachable(graph, target)
    depth = {node: place for place, node in enumerate(order)}
    sick = {node: effects[node] for node in order if effects.get(node, 0.0) > LEAST_EFFECT}
    if not sick:
        return ()
    reference = sick.get(target, max(sick.values()))
    suspects = [
        _suspect(
            node,
            sick,
            _sick_callees(node, sick, graph, observed),
            reference,
            (correlations or {}).get(node),
        )
        for node in sick
    ]
    return tuple(
        sorted(suspects, key=lambda s: (-round(s.score, 9), -s.effect, -depth[s.node], s.node))
    )


def _suspect(
    node: str,
    sick: Mapping[str, float],
    callees: Iterable[str],
    reference: float,
    correlation: float | None,
) -> Suspect:
    heaviest = max(callees, key=lambda callee: sick[callee], default="")
    own = max(0.0, 1.0 - sick.get(heaviest, 0.0) / sick[node])
    agreement = 1.0 if correlation is None else 0.5 + 0.5 * max(correlation, 0.0)
    return Suspect(
        node=node,
        score=own * min(sick[node] / reference, 1.0) * agreement,
        effect=sick[node],
        own=own,
        correlation=correlation,
        explained_by=heaviest,
    )


def _sick_callees(
    node: str,
    sick: Mapping[str, float],
    graph: Mapping[str, Iterable[str]],
    observed: Collection[str] | None,
) -> list[str]:
    """Sick nodes it calls, directly or through nodes nobody observes, in order of name."""
    found: set[str] = set()
    seen, ahead = {node}, [node]
    while ahead:
        for callee in graph.get(ahead.pop(), ()):
            if callee in seen:
                continue
            seen.add(callee)
            if callee in sick:
                found.add(callee)
            elif observed is not None and callee not in observed:
                ahead.append(callee)
    return sorted(found)
