"""Why: suspects ranked over the dependency graph, with the evidence against each."""

from __future__ import annotations

from typing import Any

from agents.case import Case, Claim, EvidenceItem, Finding, Opinion, Proposal
from agents.specialists import exhibits, signals, surroundings
from agents.specialists.judgement import RISK, abstention, opinion
from agents.specialists.suspicion import Suspicion, suspects
from agents.specialists.wording import clock, counted, duration, figure, listed, quoted, rounded

AGENT = "diagnosis"
MOST_SUSPECTS = 8
MOST_SHOWN_SERIES = 3
MOST_QUOTED_TEXT = 240
# How well an action addresses a cause of that nature; what is not listed does not.
FIT = {
    "change": {"rollback_deploy": 1.0, "restart": 0.45, "shift_traffic": 0.4},
    "ramp": {"restart": 0.9, "scale_out": 0.5, "failover": 0.45},
    "load": {"scale_out": 0.9, "shift_traffic": 0.6, "open_circuit_breaker": 0.5},
    "step": {
        "restart": 0.6,
        "failover": 0.6,
        "clear_cache": 0.6,
        "open_circuit_breaker": 0.55,
        "shift_traffic": 0.6,
        "scale_out": 0.4,
    },
    "alert": {"restart": 0.5, "failover": 0.45, "clear_cache": 0.45},
}


def investigate(case: Case) -> Finding:
    read = signals.read(case)
    ranked = suspects(case, read)[:MOST_SUSPECTS]
    evidence: dict[str, EvidenceItem] = {}
    claims: list[Claim] = []
    cited: dict[str, list[str]] = {}

    def show(item: EvidenceItem) -> str:
        id_ = item.id(case.response_id)
        evidence[id_] = item
        return id_

    is_graph_known = surroundings.is_graph_known(case)
    graph = show(exhibits.graph_item(case, _graph_rows(case, ranked))) if is_graph_known else ""
    alerts = show(exhibits.alerts_item(case.alerts)) if case.alerts else ""
    for place, suspicion in enumerate(ranked, start=1):
        items = [
            show(exhibits.series_item(signal)) for signal in suspicion.signals[:MOST_SHOWN_SERIES]
        ]
        cited[suspicion.service] = [id_ for id_ in (*(items or [alerts]), graph) if id_]
        if cited[suspicion.service]:
            claims.append(_rank_claim(place, suspicion, tuple(cited[suspicion.service])))
        if suspicion.change is not None:
            id_ = show(exhibits.changes_item([suspicion.change]))
            cited[suspicion.service].append(id_)
            claims.append(_change_claim(suspicion, id_))
        if suspicion.logs:
            id_ = show(_logs_item(suspicion))
            cited[suspicion.service].append(id_)
            claims.append(_logs_claim(suspicion, id_))
    for attachment in case.attachments:
        item = exhibits.attachment_item(case, attachment)
        id_ = show(item)
        # Where nothing in it is visible to people, there is nothing to quote.
        claims += [_attachment_claim(item, id_)] if item.data["rows"] else []
    if case.past:
        claims.append(_past_claim(case, show(exhibits.past_item(case.past))))
    return Finding(
        agent=AGENT,
        summary=_summary(case, ranked),
        claims=tuple(claims),
        evidence=tuple(evidence.values()),
        data={
            "suspects": [
                _row(place, suspicion, cited[suspicion.service])
                for place, suspicion in enumerate(ranked, start=1)
            ],
            "graph_known": is_graph_known,
        },
        unknown=_unknown(case, read, ranked),
    )


def assess(case: Case, proposals: tuple[Proposal, ...]) -> Opinion:
    """An action is worth as much as its target is suspect and as it fits the kind of cause."""
    ranked = suspects(case)
    if not ranked:
        return abstention(proposals, "I have no suspect, so no action addresses a known cause.")
    by_service = {suspicion.service: suspicion for suspicion in ranked}

    def speaks_for(proposal: Proposal) -> float:
        about = str(proposal.parameters.get("callee", "")) or proposal.target
        suspicion = by_service.get(about)
        if suspicion is None:
            return -0.8
        fit = FIT[nature(suspicion)].get(proposal.action, 0.0)
        if proposal.action == "rollback_deploy" and not _undoes(proposal, suspicion):
            fit = 0.0
        return 2.0 * suspicion.score * fit - 0.9 - 0.5 * RISK.get(proposal.risk, RISK["high"])

    top = ranked[0]
    return opinion(
        proposals,
        speaks_for,
        reason=f"My first suspect is {listed([top.service])} (score {figure(top.score)}), whose "
        f"trouble looks like {_NATURES[nature(top)]}.",
        families=top.rests_on,
    )


_NATURES = {
    "change": "the effect of a change",
    "ramp": "something that builds up",
    "load": "too much load",
    "step": "a sudden failure",
    "alert": "what its alerts say, with no telemetry to tell more",
}


def nature(suspicion: Suspicion) -> str:
    """The kind of cause the evidence suggests: which remedies can address it."""
    if suspicion.change is not None and suspicion.change.kind == "deploy":
        return "change"
    if not suspicion.signals:
        return "alert"
    worst = suspicion.signals[0]
    if any(signals.is_load(signal) and signal.peak > 0 for signal in suspicion.signals):
        return "load"
    return "ramp" if worst.shape == "ramp" else "step"


def _undoes(proposal: Proposal, suspicion: Suspicion) -> bool:
    change = suspicion.change
    return change is not None and proposal.parameters.get("change_id") == change.id


def _rank_claim(place: int, suspicion: Suspicion, evidence: tuple[str, ...]) -> Claim:
    name = listed([suspicion.service])
    if suspicion.explained_by and suspicion.own < 0.5:
        why = f"most of its trouble is explained by {listed([suspicion.explained_by])}, which it calls"
    elif suspicion.explained_by:
        share = round(100 * suspicion.own)
        why = f"{share} % of its trouble is not explained by what it calls"
    elif suspicion.is_connected:
        why = "nothing it is known to call is in trouble"
    else:
        why = "no known path connects it with where the trouble is felt"
    if suspicion.signals:
        worst = suspicion.signals[0]
        what = f"{worst.label} deviates {worst.strength}"
    else:
        what = "no series of it shows an anomaly"
    return Claim(
        text=f"Suspect {place}: {name} (score {figure(suspicion.score)}); {what}; {why}.",
        evidence=evidence,
    )


def _change_claim(suspicion: Suspicion, evidence: str) -> Claim:
    change, lead = suspicion.change, suspicion.change_lead_seconds or 0.0
    if change is None:
        raise ValueError("no change to speak of")
    when = f"{duration(lead)} {'before' if lead >= 0 else 'after'}"
    return Claim(
        text=f"The {change.kind} {quoted(change.title)} of {listed([change.service])} at "
        f"{clock(change.at)} came {when} its trouble began.",
        evidence=(evidence,),
    )


def _logs_item(suspicion: Suspicion) -> EvidenceItem:
    rows = [
        {
            "service": suspicion.service,
            "template": quoted(one.template.text, 300),
            "before": one.before,
            "after": one.after,
            "is_new": one.is_new,
            "p_value": rounded(one.p_value),
        }
        for one in suspicion.logs
    ]
    return EvidenceItem(
        family="logs",
        kind="log_templates",
        title=f"Log templates of {listed([suspicion.service])} since the onset",
        source="pushed logs",
        data={"rows": rows},
    )


def _logs_claim(suspicion: Suspicion, evidence: str) -> Claim:
    first = suspicion.logs[0]
    how = "is new since" if first.is_new else f"rose from {first.before} to {first.after} since"
    return Claim(
        text=f"{listed([suspicion.service])} logs {quoted(first.template.text)}, which {how} the "
        f"onset ({counted(first.after, 'line')}).",
        evidence=(evidence,),
    )


def _attachment_claim(item: EvidenceItem, evidence: str) -> Claim:
    text = quoted(item.data["rows"][0]["text"], MOST_QUOTED_TEXT)
    return Claim(text=f"The attached {quoted(item.title)} says {text}.", evidence=(evidence,))


def _past_claim(case: Case, evidence: str) -> Claim:
    nearest = max(case.past, key=lambda one: (one.similarity, one.number))
    return Claim(
        text=f"The most similar resolved incident is #{nearest.number}, {quoted(nearest.title)} "
        f"(similarity {figure(nearest.similarity)}), resolved in "
        f"{duration(nearest.seconds_to_resolve)}.",
        evidence=(evidence,),
    )


def _row(place: int, suspicion: Suspicion, evidence: list[str]) -> dict[str, Any]:
    change = suspicion.change
    return {
        "rank": place,
        "service": suspicion.service,
        "score": rounded(suspicion.score),
        "effect": rounded(suspicion.effect),
        "own_share": rounded(suspicion.own),
        "explained_by": suspicion.explained_by,
        "nature": nature(suspicion),
        "began_at": exhibits.iso_of(suspicion.began_at),
        "metrics": [signal.series.metric for signal in suspicion.signals[:MOST_SHOWN_SERIES]],
        "change_id": change.id if change else None,
        "change_kind": change.kind if change else None,
        "log_templates": [quoted(one.template.text, 300) for one in suspicion.logs],
        "evidence": evidence,
    }


def _graph_rows(case: Case, ranked: tuple[Suspicion, ...]) -> list[dict[str, Any]]:
    effects = {suspicion.service: rounded(suspicion.effect) for suspicion in ranked}
    return [
        {
            **edge,
            "caller_effect": effects.get(edge["caller"]),
            "callee_effect": effects.get(edge["callee"]),
        }
        for edge in surroundings.edges(case)
    ]


def _summary(case: Case, ranked: tuple[Suspicion, ...]) -> str:
    if not ranked:
        return "No suspect: nothing names a service or shows an anomaly."
    top = ranked[0]
    rest = f", before {listed(s.service for s in ranked[1:4])}" if ranked[1:] else ""
    basis = listed(top.rests_on) or "the incident's own words"
    return (
        f"First suspect: {listed([top.service])} (score {figure(top.score)}, from {basis}){rest}; "
        f"it looks like {_NATURES[nature(top)]}."
    )


def _unknown(
    case: Case, read: tuple[signals.Signal, ...], ranked: tuple[Suspicion, ...]
) -> tuple[str, ...]:
    unknown = list(case.missing)
    if not surroundings.is_graph_known(case):
        unknown.append(
            "The dependency graph is unknown, so what causes what is ranked by strength alone."
        )
    strangers = [
        s.service for s in ranked if s.service not in {service.name for service in case.services}
    ]
    if strangers:
        unknown.append(f"Not in the service inventory: {listed(strangers)}.")
    if not any(signal.is_bad for signal in read):
        unknown.append("No series shows an anomaly, so no suspect rests on measurements.")
    if not case.changes:
        unknown.append("No change is recorded for the services in sight in the last 24 hours.")
    if not case.logs:
        unknown.append("No logs of the services in sight were pushed.")
    return tuple(unknown)
