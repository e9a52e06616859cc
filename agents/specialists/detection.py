"""What is wrong, where, and since when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agents.algorithms.anomaly import LIMIT
from agents.case import AlertFact, Case, Claim, EvidenceItem, Finding, Opinion, Proposal
from agents.specialists import exhibits, signals, surroundings
from agents.specialists.judgement import RISK, abstention, opinion, touched
from agents.specialists.signals import Signal
from agents.specialists.wording import (
    clock,
    counted,
    duration,
    figure,
    listed,
    quoted,
    rounded,
)

AGENT = "detection"
MOST_SERIES = 12
# Monitoring may see trouble a little before we can place its beginning.
TOLERANCE_SECONDS = 120.0
SEVERITY = {"critical": 1.0, "high": 0.75, "medium": 0.5, "low": 0.25}


def investigate(case: Case) -> Finding:
    """Confirm and scope the disturbance: from its series where there are any, else from alerts."""
    read = signals.read(case)
    judged = [signal for signal in read if not signal.unjudged or signal.has_breached]
    bad = [signal for signal in judged if signal.is_bad]
    services = _affected(case, bad)
    begun = _impact_start(case, bad, services)
    evidence, claims = _on_alerts(case)
    for signal in bad[:MOST_SERIES]:
        item = exhibits.series_item(signal)
        evidence.append(item)
        claims.append(_claim(signal, item.id(case.response_id)))
    for signal in [one for one in judged if not one.is_bad and one.series.alert_id][:MOST_SERIES]:
        item = exhibits.series_item(signal)
        evidence.append(item)
        claims.append(
            Claim(
                text=f"{signal.label}, on which an alert was raised, shows no lasting departure "
                f"from its past in what could be read.",
                evidence=(item.id(case.response_id),),
            )
        )
    confirmed = bool(bad) if judged else None
    data: dict[str, Any] = {
        "services": services,
        "is_firing": _is_firing(case),
        "alerts_firing": len(_firing(case)),
        "alerts": len(case.alerts),
        "anomaly_confirmed": confirmed,
        "impact_start": exhibits.iso_of(begun.began_at) if begun else None,
        "impact_start_earliest": exhibits.iso_of(begun.began_earliest) if begun else None,
        "impact_start_latest": exhibits.iso_of(begun.began_latest) if begun else None,
        "series_judged": len(judged),
        "series_anomalous": len(bad),
        "series": [_row(signal) for signal in judged[: 2 * MOST_SERIES]],
        "basis": [*(["alerts"] if case.alerts else []), *(["metrics"] if judged else [])],
    }
    return Finding(
        agent=AGENT,
        summary=_summary(case, services, judged, bad, begun),
        claims=tuple(claims),
        evidence=tuple(evidence),
        data=data,
        unknown=_unknown(case, read, judged, begun),
    )


def confirm_recovery(case: Case) -> Finding:
    """Say whether the disturbance is over: what monitoring says, unless telemetry contradicts.

    `data["recovered"]` is None when neither alerts nor fresh series can tell.
    """
    firing = _firing(case)
    read = [s for s in signals.read(case) if s.series.alert_id is not None or s.is_bad]
    telling = [signal for signal in read if signal.is_abnormal_now is not None]
    abnormal = [signal for signal in telling if signal.is_abnormal_now]
    recovered = _has_recovered(case, firing, telling, abnormal)
    words = {
        True: "The disturbance is over",
        False: "The disturbance goes on",
        None: "Whether the disturbance is over cannot be told",
    }[recovered]
    summary = (
        f"{words}: {len(firing)} of {counted(len(case.alerts), 'alert')} firing, "
        f"{len(abnormal)} of {counted(len(telling), 'series')} with fresh points out of normal."
    )
    evidence, claims = _on_alerts(case)
    for signal in telling[:MOST_SERIES]:
        item = exhibits.series_item(signal)
        evidence.append(item)
        claims.append(_claim_now(signal, item.id(case.response_id)))
    if evidence:
        rests_on = tuple(item.id(case.response_id) for item in evidence)
        claims.insert(0, Claim(text=summary, evidence=rests_on))
    return Finding(
        agent=AGENT,
        summary=summary,
        claims=tuple(claims),
        evidence=tuple(evidence),
        data={
            "recovered": recovered,
            "alerts_firing": len(firing),
            "alerts": len(case.alerts),
            "series_fresh": len(telling),
            "series_abnormal": len(abnormal),
            "basis": [*(["alerts"] if case.alerts else []), *(["metrics"] if telling else [])],
        },
        unknown=(
            *case.missing,
            *(
                f"{s.label} has no fresh points, so its present state is unknown."
                for s in read
                if s.is_abnormal_now is None
            ),
        ),
    )


def assess(case: Case, proposals: tuple[Proposal, ...]) -> Opinion:
    """Acting is warranted where the anomaly is confirmed, on the service that shows it."""
    if case.alerts and not _is_firing(case):
        return opinion(
            proposals,
            lambda _: -1.0,
            reason="No alert of the incident is firing any more, so nothing needs to be done.",
            families=("alerts",),
        )
    bad = [signal for signal in signals.read(case) if signal.is_bad]
    lasting = [signal for signal in bad if signal.is_abnormal_now is not False]
    if not lasting:
        return abstention(
            proposals,
            "Telemetry shows no lasting anomaly."
            if bad
            else "No series confirms the alerts, so I do not call for an action.",
        )
    strength = max(signal.effect for signal in lasting) / LIMIT
    harm = 0.5 * min(1.0, 2.0 * strength) + 0.5 * SEVERITY.get(case.incident.severity, 0.5)
    where = {signal.series.service for signal in lasting}
    worst = max(lasting, key=lambda signal: signal.effect)

    def speaks_for(proposal: Proposal) -> float:
        if not touched(proposal) & where:
            return -0.2
        return 0.25 + 0.6 * harm - RISK.get(proposal.risk, RISK["high"])

    return opinion(
        proposals,
        speaks_for,
        reason=f"{worst.label} deviates {worst.strength} from its normal "
        f"and has not returned; the anomaly shows on {listed(sorted(where))}.",
        families=("metrics", "alerts") if case.alerts else ("metrics",),
    )


def _firing(case: Case) -> list[AlertFact]:
    return [alert for alert in case.alerts if alert.status == "firing"]


def _is_firing(case: Case) -> bool | None:
    """None for an incident without alerts: somebody opened it by hand."""
    return bool(_firing(case)) if case.alerts else None


def _affected(case: Case, bad: Iterable[Signal]) -> list[str]:
    from_series = [signal.series.service for signal in bad if signal.series.service]
    return list(dict.fromkeys([*surroundings.involved(case), *from_series]))


def _impact_start(case: Case, bad: list[Signal], services: list[str]) -> Signal | None:
    """The signal whose onset began the impact: on the alerts' own series, else on their services.

    What begins after monitoring already saw the trouble did not begin it.
    """
    latest = signals.first_alarm(case) + TOLERANCE_SECONDS
    begun = [s for s in bad if s.began_at is not None and s.began_at <= latest]
    own = [s for s in begun if s.series.alert_id is not None]
    named = set(surroundings.involved(case))
    nearby = [s for s in begun if s.series.service in named]
    return min(own or nearby, key=lambda s: (s.began_at or 0.0, s.label), default=None)


def _on_alerts(case: Case) -> tuple[list[EvidenceItem], list[Claim]]:
    if not case.alerts:
        return [], []
    item = exhibits.alerts_item(case.alerts)
    firing = _firing(case)
    services = listed(surroundings.involved(case)) or "no named service"
    first = min(case.alerts, key=lambda a: (a.starts_at or a.received_at, a.id))
    text = (
        f"{len(firing)} of {counted(len(case.alerts), 'alert')} firing on {services}; the first, "
        f"{quoted(first.title)}, began at {clock(first.starts_at or first.received_at)}."
    )
    return [item], [Claim(text=text, evidence=(item.id(case.response_id),))]


def _claim(signal: Signal, evidence: str) -> Claim:
    series = signal.series
    parts = [f"{signal.label} is at {_value(signal, signal.last_value)}"]
    if signal.is_abnormal_now is None:
        last = clock(float(series.at[-1]))
        parts = [f"{signal.label} was at {_value(signal, signal.last_value)} at {last}"]
    if signal.normal is not None:
        low, high = signal.normal.band()
        parts.append(
            f"normal is {figure(low)} to {figure(high)}; it moved "
            f"{_deviations(signal.peak or signal.now)} from it"
        )
    if series.threshold is not None and signal.has_breached:
        state = "is" if signal.is_breaching_now else "was"
        parts.append(f"it {state} {series.comparison} {figure(series.threshold)}, the alert's rule")
    if signal.began_at is not None:
        parts.append(f"since {clock(signal.began_at)}{_uncertainty(signal)}")
    return Claim(text="; ".join(parts) + ".", evidence=(evidence,))


def _claim_now(signal: Signal, evidence: str) -> Claim:
    state = "out of its normal range" if signal.is_abnormal_now else "back in its normal range"
    return Claim(
        text=f"{signal.label} is {state} at {_value(signal, signal.last_value)}.",
        evidence=(evidence,),
    )


def _value(signal: Signal, value: float) -> str:
    return f"{figure(value)} {signal.series.unit}".strip()


def _deviations(z: float) -> str:
    at_least = "at least " if abs(z) >= LIMIT else ""
    return f"{at_least}{figure(abs(z))} robust deviations {'up' if z > 0 else 'down'}"


def _uncertainty(signal: Signal) -> str:
    if signal.began_earliest is None or signal.began_latest is None:
        return ""
    width = signal.began_latest - signal.began_earliest
    return f" (95 % interval {duration(width)} wide)" if width > 0 else ""


def _row(signal: Signal) -> dict[str, Any]:
    return {
        "service": signal.series.service,
        "metric": signal.series.metric,
        "is_alerts_own": signal.series.alert_id is not None,
        "is_anomalous": signal.is_anomalous,
        "has_breached": signal.has_breached,
        "is_abnormal_now": signal.is_abnormal_now,
        "deviation": rounded(signal.peak),
        "began_at": exhibits.iso_of(signal.began_at),
    }


def _has_recovered(
    case: Case, firing: list[AlertFact], telling: list[Signal], abnormal: list[Signal]
) -> bool | None:
    if firing or abnormal:
        return False
    return True if case.alerts or telling else None


def _summary(
    case: Case, services: list[str], judged: list[Signal], bad: list[Signal], begun: Signal | None
) -> str:
    where = listed(services) or "no known service"
    firing = f"{len(_firing(case))} of {counted(len(case.alerts), 'alert')} firing"
    since = f" since {clock(begun.began_at)}" if begun and begun.began_at else ""
    if bad:
        return (
            f"Confirmed on {where}{since}: {len(bad)} of {counted(len(judged), 'series')} out of "
            f"normal, {firing}."
        )
    if judged:
        return (
            f"Not confirmed on {where}: none of {counted(len(judged), 'series')} is out of normal, "
            f"{firing}."
        )
    return f"Scoped from alerts alone on {where}: {firing}; no telemetry could be judged."


def _unknown(
    case: Case, read: Iterable[Signal], judged: list[Signal], begun: Signal | None
) -> tuple[str, ...]:
    unknown = [*case.missing, *(signal.unjudged for signal in read if signal.unjudged)]
    if not judged and not case.missing:
        unknown.append("No series of the services involved is at hand.")
    if begun is None:
        seen = clock(signals.first_alarm(case))
        unknown.append(f"When the impact began is unknown; monitoring saw it at {seen}.")
    return tuple(unknown)
