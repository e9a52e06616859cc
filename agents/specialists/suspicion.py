"""Suspects: services ranked as the origin, each with the signals, changes and logs against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from agents.algorithms import anomaly, logtemplates, rootcause
from agents.algorithms.logtemplates import Emergence
from agents.case import Case, ChangeFact
from agents.specialists import signals, surroundings
from agents.specialists.signals import Signal
from agents.specialists.wording import cleaned

# An alert is somebody's word that a limit was passed: an alarm at least, more when it is severe.
ALERT_EFFECT = {"critical": 10.0, "high": 8.0, "medium": 6.0, "low": anomaly.ALARM}
ALERTS_ALONE = 0.4
GRAPH_UNKNOWN = 0.7
UNCONNECTED = 0.25
CHANGE_WINDOW_SECONDS = 3600.0
CHANGE_TOLERANCE_SECONDS = 120.0
CHANGE_WEIGHT = 0.6
CHANGE_OTHER_WEIGHT = 0.3
LOGS_WEIGHT = 0.2
ERRORS = frozenset({"error", "err", "critical", "fatal", "alert", "emergency", "panic", "severe"})
MOST_LOG_CHARACTERS = 400


@dataclass(frozen=True, kw_only=True, eq=False)
class Suspicion:
    """One service under suspicion. `score` is in [0, 1] and only orders; it is no probability.

    `change` is the one nearest before the onset; `own` is the share of its effect that no callee
    explains. `rests_on` are the evidence families.
    """

    service: str
    score: float
    effect: float
    own: float
    explained_by: str = ""
    is_connected: bool = True
    began_at: float | None = None
    signals: tuple[Signal, ...] = ()
    change: ChangeFact | None = None
    change_lead_seconds: float | None = None
    logs: tuple[Emergence, ...] = ()
    rests_on: tuple[str, ...] = ()


def suspects(case: Case, read: tuple[Signal, ...] | None = None) -> tuple[Suspicion, ...]:
    """Rank the services in sight as the origin of the incident, the likeliest first."""
    read = signals.read(case) if read is None else read
    bad = [signal for signal in read if signal.is_bad]
    observed = frozenset(signal.series.service for signal in read if not signal.unjudged)
    by_service: dict[str, list[Signal]] = {}
    for signal in bad:
        by_service.setdefault(signal.series.service, []).append(signal)
    effects = _effects(case, by_service)
    effects.pop("", None)
    if not effects:
        return ()
    target = _target(case, effects)
    ranked = [
        _with_circumstances(case, suspicion, by_service.get(suspicion.service, []))
        for suspicion in _ranked(case, effects, target, _correlations(by_service, target), observed)
    ]
    return tuple(sorted(ranked, key=lambda s: (-round(s.score, 9), -s.effect, s.service)))


def onset_of(case: Case, suspicion: Suspicion) -> float:
    """When its trouble began as far as known, else when monitoring first saw any."""
    return signals.first_alarm(case) if suspicion.began_at is None else suspicion.began_at


def _effects(case: Case, by_service: Mapping[str, list[Signal]]) -> dict[str, float]:
    effects = {
        service: max(signal.effect for signal in found) for service, found in by_service.items()
    }
    for alert in case.alerts:
        service = alert.service or case.incident.service
        said = ALERT_EFFECT.get(alert.severity, anomaly.ALARM)
        effects[service] = max(effects.get(service, 0.0), said)
    if not case.alerts and case.incident.service not in effects:
        effects[case.incident.service] = ALERT_EFFECT.get(case.incident.severity, anomaly.ALARM)
    return effects


def _target(case: Case, effects: Mapping[str, float]) -> str:
    """Where the trouble is felt: the sick service that depends on most of the other sick ones."""
    graph = surroundings.callees(case)

    def preference(service: str) -> tuple[int, bool, float, str]:
        reached = sum(1 for node in rootcause.reachable(graph, service) if node in effects)
        return -reached, service != case.incident.service, -effects[service], service

    return min(effects, key=preference)


def _correlations(by_service: Mapping[str, list[Signal]], target: str) -> dict[str, float]:
    """How closely each service's worst series moves with the target's, on a common clock."""
    if not by_service.get(target):
        return {}
    symptom = max(by_service[target], key=lambda signal: signal.effect).series
    found = {}
    for service, its in by_service.items():
        series = max(its, key=lambda signal: signal.effect).series
        inside = (symptom.at >= series.at[0]) & (symptom.at <= series.at[-1])
        if inside.sum() < signals.NEEDED_POINTS:
            continue
        ours = symptom.values[inside]
        theirs = np.interp(symptom.at[inside], series.at, series.values)
        if ours.std() > 0 and theirs.std() > 0:
            # A symptom may fall (availability) where the cause rises: only the strength counts.
            found[service] = abs(float(np.corrcoef(ours, theirs)[0, 1]))
    return found


def _ranked(
    case: Case,
    effects: Mapping[str, float],
    target: str,
    correlations: Mapping[str, float],
    observed: frozenset[str],
) -> list[Suspicion]:
    graph = surroundings.callees(case)
    certainty = 1.0 if surroundings.is_graph_known(case) or len(effects) == 1 else GRAPH_UNKNOWN
    found = [
        Suspicion(
            service=one.node,
            score=one.score * certainty,
            effect=one.effect,
            own=one.own,
            explained_by=one.explained_by,
        )
        for one in rootcause.rank(
            effects, graph, target=target, correlations=correlations, observed=observed
        )
    ]
    placed = {suspicion.service for suspicion in found}
    worst = max(effects.values())
    weight = UNCONNECTED if surroundings.is_graph_known(case) else GRAPH_UNKNOWN
    return found + [
        Suspicion(
            service=service,
            score=weight * effect / worst,
            effect=effect,
            own=1.0,
            is_connected=False,
        )
        for service, effect in sorted(effects.items())
        if service not in placed
    ]


def _with_circumstances(case: Case, suspicion: Suspicion, bad: list[Signal]) -> Suspicion:
    score = suspicion.score if bad else suspicion.score * ALERTS_ALONE
    began = min((s.began_at for s in bad if s.began_at is not None), default=None)
    suspicion = replace(
        suspicion,
        signals=tuple(sorted(bad, key=lambda s: (-s.effect, s.label))),
        began_at=began,
    )
    families = ["metrics"] if bad else ["alerts"] if case.alerts else []
    if surroundings.is_graph_known(case):
        families.append("topology")
    onset = onset_of(case, suspicion)
    change, lead = _nearest_change(case, suspicion.service, onset)
    if change is not None and lead is not None:
        weight = CHANGE_OTHER_WEIGHT if change.kind == "other" else CHANGE_WEIGHT
        score += (1.0 - score) * weight * (1.0 - max(lead, 0.0) / CHANGE_WINDOW_SECONDS)
        families.append("changes")
    logs = _emergent(case, suspicion.service, onset)
    if logs:
        score += (1.0 - score) * LOGS_WEIGHT
        families.append("logs")
    return replace(
        suspicion,
        score=score,
        change=change,
        change_lead_seconds=lead,
        logs=logs,
        rests_on=tuple(families),
    )


def _nearest_change(
    case: Case, service: str, onset: float
) -> tuple[ChangeFact | None, float | None]:
    """The service's change nearest to the onset, and how many seconds before it was.

    A little after counts, too: the onset is not known to the second.
    """
    leads = [
        (onset - change.at.timestamp(), change.id, change)
        for change in case.changes
        if change.service == service
    ]
    near = [lead for lead in leads if -CHANGE_TOLERANCE_SECONDS <= lead[0] <= CHANGE_WINDOW_SECONDS]
    if not near:
        return None, None
    lead, _, change = min(near, key=lambda one: (abs(one[0]), one[1]))
    return change, lead


def _emergent(case: Case, service: str, onset: float) -> tuple[Emergence, ...]:
    """Templates of the service that are new or more frequent since the onset."""
    lines = [line for line in case.logs if line.service == service]
    if not lines:
        return ()
    templates = logtemplates.mine(cleaned(line.message, MOST_LOG_CHARACTERS) for line in lines)
    found = logtemplates.emerged(templates, [line.at.timestamp() for line in lines], since=onset)
    telling = [
        one
        for one in found
        if one.is_new or any(_is_error(lines[i].level) for i in one.template.lines)
    ]
    return tuple(telling[:5])


def _is_error(level: str) -> bool:
    return level.strip().lower() in ERRORS
