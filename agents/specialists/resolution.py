"""What could be done: candidates from a small catalogue, each supported by evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from agents.case import (
    NO_ACTION,
    Case,
    Claim,
    EvidenceItem,
    Finding,
    Opinion,
    Proposal,
    ServiceFact,
)
from agents.specialists import exhibits, signals, surroundings
from agents.specialists.judgement import RISK, abstention, opinion
from agents.specialists.suspicion import Suspicion, suspects
from agents.specialists.wording import counted, duration, figure, listed, named, quoted, rounded
from awsai.proportions import wilson

AGENT = "resolution"
LEAST_SUSPICION = 0.3
MOST_SUSPECTS = 2
# A lower bound of success beneath which even a fitting rollback is no longer trusted.
FAILING = 0.05
COMPUTE = frozenset({"gateway", "service", "worker"})


@dataclass(frozen=True, kw_only=True)
class Action:
    """An entry of the catalogue. `inverse` undoes it; without one it cannot be undone."""

    name: str
    kinds: frozenset[str]
    risk: str
    inverse: str | None
    preconditions: tuple[str, ...]


CATALOGUE = {
    action.name: action
    for action in (
        Action(
            name="restart",
            kinds=COMPUTE | {"cache"},
            risk="low",
            inverse=None,
            preconditions=("Other instances carry the traffic while one restarts.",),
        ),
        Action(
            name="scale_out",
            kinds=COMPUTE,
            risk="low",
            inverse="scale_in",
            preconditions=("The platform has capacity for one more instance.",),
        ),
        Action(
            name="rollback_deploy",
            kinds=COMPUTE,
            risk="medium",
            inverse="redeploy",
            preconditions=(
                "The version before the deploy can still be deployed.",
                "The deploy carried no migration that the version before cannot read.",
            ),
        ),
        Action(
            name="clear_cache",
            kinds=frozenset({"cache"}),
            risk="medium",
            inverse=None,
            preconditions=("What stands behind the cache bears the load while it fills.",),
        ),
        Action(
            name="open_circuit_breaker",
            kinds=frozenset({"gateway", "service", "worker"}),
            risk="medium",
            inverse="close_circuit_breaker",
            preconditions=("The caller has a fallback for answers it does not get.",),
        ),
        Action(
            name="shift_traffic",
            kinds=COMPUTE,
            risk="medium",
            inverse="shift_traffic_back",
            preconditions=("The healthy instances bear the whole traffic.",),
        ),
        Action(
            name="failover",
            kinds=frozenset({"database"}),
            risk="high",
            inverse="failback",
            preconditions=("A replica exists and its replication lag is within its limit.",),
        ),
    )
}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sight:
    """The case, read once: its signals, the suspects by rank, the inventory by name."""

    case: Case
    read: tuple[signals.Signal, ...]
    ranked: tuple[Suspicion, ...]
    inventory: dict[str, ServiceFact]


def _look(case: Case) -> _Sight:
    read = signals.read(case)
    return _Sight(
        case=case,
        read=read,
        ranked=suspects(case, read),
        inventory={service.name: service for service in case.services},
    )


def propose(case: Case) -> tuple[Proposal, ...]:
    """Candidates that the evidence supports, and always NO_ACTION, in a fixed order.

    Targets and parameters are names of the inventory and ids of recorded changes; nothing an alert
    or a log line says can become one.
    """
    return _candidates(_look(case))


def _candidates(sight: _Sight) -> tuple[Proposal, ...]:
    found: dict[tuple[str, str, str], Proposal] = {}
    for _, proposal in _supported(sight):
        found.setdefault((proposal.action, proposal.target, str(proposal.parameters)), proposal)
    return (*found.values(), _no_action(sight.case))


def investigate(case: Case) -> Finding:
    sight = _look(case)
    evidence: dict[str, EvidenceItem] = {}
    claims = []
    for suspicion, proposal in _supported(sight):
        items = {item.id(case.response_id): item for item in _exhibits(case, suspicion)}
        evidence |= items
        claims.append(
            Claim(
                text=f"{proposal.action} on {listed([proposal.target])}: {proposal.rationale}",
                evidence=tuple(items),
            )
        )
    candidates = _candidates(sight)
    return Finding(
        agent=AGENT,
        summary=_summary(candidates),
        claims=tuple(claims),
        evidence=tuple(evidence.values()),
        data={
            "candidates": [
                {
                    "digest": proposal.digest,
                    "action": proposal.action,
                    "target": proposal.target,
                    "parameters": proposal.parameters,
                    "risk": proposal.risk,
                    "reversible": proposal.inverse is not None,
                    "preconditions": list(proposal.preconditions),
                    "success": proposal.success,
                }
                for proposal in candidates
            ]
        },
        unknown=_unknown(sight, candidates),
    )


def assess(case: Case, proposals: tuple[Proposal, ...]) -> Opinion:
    """What speaks for a candidate: the fact it undoes, its verified past; against it: its risk."""
    actionable = [proposal for proposal in proposals if proposal.action != NO_ACTION]
    if not actionable:
        return abstention(proposals, "The evidence supports no action of the catalogue.")
    sight = _look(case)
    support = {proposal.digest: _support(sight, proposal) for proposal in actionable}

    def speaks_for(proposal: Proposal) -> float:
        undoable = 0.05 if proposal.inverse is not None else 0.0
        risk = 0.5 * RISK.get(proposal.risk, RISK["high"])
        return 1.5 * support[proposal.digest] - 0.8 + undoable - risk

    best = max(actionable, key=lambda proposal: (speaks_for(proposal), proposal.digest))
    tried = best.success.get("tried", 0)
    past = (
        f"{best.success.get('succeeded', 0)} of {counted(tried, 'verified execution')} succeeded"
        if tried
        else "no verified execution is recorded"
    )
    families = ["topology"]
    if best.action == "rollback_deploy":
        families.append("changes")
    if tried:
        families.append("history")
    return opinion(
        proposals,
        speaks_for,
        reason=f"{best.action} on {listed([best.target])} has the best support "
        f"({figure(support[best.digest])}) at {best.risk} risk; {past}.",
        families=tuple(families),
    )


def _support(sight: _Sight, proposal: Proposal) -> float:
    """In [0, 1]: how far facts, not hopes, say that it works."""
    action = CATALOGUE.get(proposal.action)
    service = sight.inventory.get(proposal.target)
    if action is None or service is None or service.kind not in action.kinds:
        return 0.0
    tried = proposal.success.get("tried", 0)
    low, _ = wilson(proposal.success.get("succeeded", 0), tried)
    if proposal.action == "rollback_deploy":
        change_id = proposal.parameters.get("change_id")
        precedes = any(s.change is not None and s.change.id == change_id for s in sight.ranked)
        return 1.0 if precedes and (not tried or low >= FAILING) else low
    # Without a past of its own an action is a guess that fits the symptom.
    return low if tried else 0.4


def _supported(sight: _Sight) -> Iterator[tuple[Suspicion, Proposal]]:
    for suspicion in sight.ranked[:MOST_SUSPECTS]:
        service = sight.inventory.get(suspicion.service)
        if service is None or suspicion.score < LEAST_SUSPICION:
            continue
        for rule in _RULES:
            for proposal in rule(sight, suspicion, service):
                yield suspicion, proposal


def _rollback(sight: _Sight, suspicion: Suspicion, service: ServiceFact) -> Iterator[Proposal]:
    change, lead = suspicion.change, suspicion.change_lead_seconds
    if change is None or change.kind != "deploy" or lead is None:
        return
    yield from _candidate(
        sight,
        suspicion,
        service,
        "rollback_deploy",
        parameters={"change_id": change.id},
        rationale=f"the deploy {quoted(change.title, 80)} came {duration(lead)} "
        f"{'before' if lead >= 0 else 'after'} the trouble began.",
    )


def _restart(sight: _Sight, suspicion: Suspicion, service: ServiceFact) -> Iterator[Proposal]:
    if suspicion.signals and suspicion.signals[0].shape == "ramp":
        why = f"{suspicion.signals[0].label} builds up, which a restart clears for a time."
    elif suspicion.signals or suspicion.logs:
        why = "it fails by itself, and a fresh process may not."
    else:
        why = "its alerts fire; there is no telemetry that says more."
    yield from _candidate(sight, suspicion, service, "restart", rationale=why)


def _scale_out(sight: _Sight, suspicion: Suspicion, service: ServiceFact) -> Iterator[Proposal]:
    load = [s for s in suspicion.signals if signals.is_load(s) and s.peak > 0]
    if load:
        yield from _candidate(
            sight,
            suspicion,
            service,
            "scale_out",
            parameters={"instances": 1},
            rationale=f"{load[0].label} rose, which more instances would share.",
        )


def _clear_cache(sight: _Sight, suspicion: Suspicion, service: ServiceFact) -> Iterator[Proposal]:
    if suspicion.signals or suspicion.logs:
        why = "the cache itself misbehaves; emptied, it fills with fresh answers."
        yield from _candidate(sight, suspicion, service, "clear_cache", rationale=why)


def _break_circuit(sight: _Sight, suspicion: Suspicion, service: ServiceFact) -> Iterator[Proposal]:
    """Only where a caller is seen to suffer from it."""
    sick = {other.service for other in sight.ranked}
    for caller in surroundings.callers(sight.case).get(service.name, ()):
        if caller in sick and caller in sight.inventory:
            yield from _candidate(
                sight,
                suspicion,
                sight.inventory[caller],
                "open_circuit_breaker",
                parameters={"callee": service.name},
                rationale=f"it suffers from {listed([service.name])}, which it calls.",
            )


def _shift_traffic(sight: _Sight, suspicion: Suspicion, service: ServiceFact) -> Iterator[Proposal]:
    """Only where some zones or instances are sick and others measurably are not."""
    places: dict[tuple[str, str], set[bool]] = {}
    for signal in sight.read:
        series = signal.series
        if series.service != service.name or (signal.unjudged and not signal.has_breached):
            continue
        for label in ("zone", "availability_zone", "region", "instance", "pod"):
            if label in series.labels:
                places.setdefault((series.metric, label), set()).add(signal.is_bad)
    split = sorted(label for (_, label), states in places.items() if states == {True, False})
    if split:
        yield from _candidate(
            sight,
            suspicion,
            service,
            "shift_traffic",
            rationale=f"only some of its series by {split[0]} are out of normal; others are well.",
        )


def _failover(sight: _Sight, suspicion: Suspicion, service: ServiceFact) -> Iterator[Proposal]:
    if suspicion.signals:
        why = "the database itself is out of normal; a replica may not be."
        yield from _candidate(sight, suspicion, service, "failover", rationale=why)


_RULES: tuple[Callable[[_Sight, Suspicion, ServiceFact], Iterator[Proposal]], ...] = (
    _rollback,
    _restart,
    _scale_out,
    _clear_cache,
    _break_circuit,
    _shift_traffic,
    _failover,
)


def _candidate(
    sight: _Sight,
    suspicion: Suspicion,
    service: ServiceFact,
    name: str,
    *,
    rationale: str,
    parameters: dict[str, Any] | None = None,
) -> Iterator[Proposal]:
    action = CATALOGUE[name]
    if service.kind not in action.kinds:
        return
    parameters = parameters or {}
    inverse = (
        {"action": action.inverse, "target": service.name, "parameters": parameters}
        if action.inverse
        else None
    )
    yield Proposal(
        action=name,
        target=service.name,
        parameters=parameters,
        rationale=rationale,
        risk=action.risk,
        inverse=inverse,
        preconditions=action.preconditions,
        evidence=_rests_on(sight.case, suspicion),
        success=_verified_past(sight.case, name, service.name),
    )


def _verified_past(case: Case, action: str, service: str) -> dict[str, int]:
    ends = [o.is_success for o in case.outcomes if (o.action, o.service) == (action, service)]
    return {"tried": len(ends), "succeeded": sum(ends)}


def _rests_on(case: Case, suspicion: Suspicion) -> tuple[str, ...]:
    """Ids of what the diagnosis showed against this suspect; without one, what would be shown."""
    diagnosis = case.findings.get("diagnosis")
    rows = diagnosis.data.get("suspects", []) if diagnosis else []
    shown = [row.get("evidence", []) for row in rows if row.get("service") == suspicion.service]
    if shown and shown[0]:
        return tuple(shown[0])
    return tuple(item.id(case.response_id) for item in _exhibits(case, suspicion))


def _exhibits(case: Case, suspicion: Suspicion) -> tuple[EvidenceItem, ...]:
    """What a candidate against this suspect rests on."""
    items = [exhibits.series_item(signal) for signal in suspicion.signals[:2]]
    about = [alert for alert in case.alerts if alert.service in ("", suspicion.service)]
    if about:
        items.append(exhibits.alerts_item(about))
    if suspicion.change is not None:
        items.append(exhibits.changes_item([suspicion.change]))
    if not items:
        items.append(exhibits.graph_item(case, surroundings.edges(case)))
    return tuple(items)


def _no_action(case: Case) -> Proposal:
    is_firing = any(alert.status == "firing" for alert in case.alerts)
    why = (
        "Leave it to people: alerts still fire, and no action may be worth its risk."
        if is_firing
        else "Nothing fires any more."
    )
    return Proposal(action=NO_ACTION, rationale=why)


def _summary(candidates: tuple[Proposal, ...]) -> str:
    names = [
        f"{one.action} on {named(one.target)}" for one in candidates if one.action != NO_ACTION
    ]
    if not names:
        return "No action of the catalogue is supported by the evidence; doing nothing is left."
    return f"{counted(len(names), 'candidate')} beside doing nothing: {', '.join(names)}."


def _unknown(sight: _Sight, candidates: tuple[Proposal, ...]) -> tuple[str, ...]:
    unknown = list(sight.case.missing)
    ranked = sight.ranked[:MOST_SUSPECTS]
    strangers = [s.service for s in ranked if s.service not in sight.inventory]
    if strangers:
        unknown.append(
            f"Not in the service inventory, so nothing may be aimed at it: {listed(strangers)}."
        )
    weak = [s for s in ranked if s.service in sight.inventory and s.score < LEAST_SUSPICION]
    if weak:
        unknown.append(
            f"Suspicion is too weak to act on {listed(s.service for s in weak)}: "
            f"{figure(rounded(weak[0].score))} of the {LEAST_SUSPICION} needed."
        )
    untried = [
        f"{c.action} on {named(c.target)}" for c in candidates if c.success.get("tried") == 0
    ]
    if untried:
        unknown.append(f"No verified execution is recorded of {', '.join(untried)}.")
    return tuple(unknown)
