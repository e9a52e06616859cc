"""Where it is heading if nobody acts, whom it reaches, and what each candidate would change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from agents.algorithms import anomaly, forecast, rootcause
from agents.algorithms.forecast import Crossing, Forecast, NotEnoughData
from agents.case import NO_ACTION, Case, Claim, EvidenceItem, Finding, Opinion, Proposal
from agents.specialists import exhibits, signals, surroundings
from agents.specialists.judgement import RISK, abstention, opinion, touched
from agents.specialists.signals import Signal
from agents.specialists.wording import clock, counted, duration, figure, listed, rounded

AGENT = "prediction"
HORIZON_SECONDS = 3600.0
MOST_SERIES = 8
BREACHED, EXPECTED, NOT_EXPECTED, UNKNOWN = "breached", "expected", "not_expected", "unknown"


@dataclass(frozen=True, kw_only=True, eq=False)
class Outlook:
    """The future of one series. `returns` is when it would come back to its limit, if it does."""

    signal: Signal
    state: str
    prediction: Forecast | None = None
    crossing: Crossing | None = None
    returns: Crossing | None = None
    reason: str = ""


def investigate(case: Case) -> Finding:
    """Time to threshold with its interval for each series that matters, and the blast radius."""
    read = signals.read(case)
    futures = _futures(read)
    evidence: list[EvidenceItem] = []
    claims: list[Claim] = []
    for future in futures:
        if future.state == UNKNOWN and future.prediction is None:
            continue
        item = exhibits.series_item(future.signal, forecast=future.prediction)
        evidence.append(item)
        claims.append(Claim(text=_sentence(future), evidence=(item.id(case.response_id),)))
    affected = _affected(case, read)
    # None when nothing is known of who depends on whom.
    known = surroundings.is_graph_known(case)
    reached = surroundings.dependents(case, affected) if known else None
    if reached is not None:
        item = exhibits.graph_item(case, surroundings.edges(case))
        evidence.append(item)
        who = listed(reached) if reached else "no other service in the inventory"
        claims.append(
            Claim(
                text=f"In reach of {listed(affected)}: {who}.",
                evidence=(item.id(case.response_id),),
            )
        )
    return Finding(
        agent=AGENT,
        summary=_summary(futures, reached),
        claims=tuple(claims),
        evidence=tuple(evidence),
        data={
            "thresholds": [_row(future) for future in futures],
            "affected": list(affected),
            "blast_radius": None if reached is None else list(reached),
            "horizon_seconds": HORIZON_SECONDS,
        },
        unknown=_unknown(case, read, futures, reached),
    )


def outlook(case: Case, proposals: tuple[Proposal, ...]) -> dict[str, dict[str, Any]]:
    """Expected recovery under each proposal by digest, in seconds from now, or why it is unknown.

    Doing nothing is judged by the trend of the series; an action by how its earlier verified
    executions on the same service went.
    """
    futures = _futures(signals.read(case))
    return {
        proposal.digest: _expected_untouched(futures)
        if proposal.action == NO_ACTION
        else _expected_after(case, proposal)
        for proposal in proposals
    }


def assess(case: Case, proposals: tuple[Proposal, ...]) -> Opinion:
    """Urgency: acting is worth it where waiting makes it worse or lets it last."""
    futures = [
        future
        for future in _futures(signals.read(case))
        if future.prediction or future.state == BREACHED
    ]
    if not futures:
        return abstention(proposals, "There is not enough data to say where this is heading.")
    returning = [future for future in futures if _returns_soon(future)]
    if len(returning) == len(futures):
        return opinion(
            proposals,
            lambda _: -0.8,
            reason="Every series that is out of normal is on its way back by itself.",
            families=("metrics",),
        )
    lasting = [future for future in futures if not _returns_soon(future)]
    urgent = max(lasting, key=lambda future: (_urgency(future), future.signal.label))
    urgency = _urgency(urgent)
    reach = _reach(case, {future.signal.series.service for future in lasting})

    def speaks_for(proposal: Proposal) -> float:
        if not touched(proposal) & reach:
            return -0.3
        expected = _expected_after(case, proposal)["seconds"]
        known = 0.1 if expected is not None else 0.0
        return 0.7 * urgency + known - RISK.get(proposal.risk, RISK["high"])

    if urgency == 0.0:
        return opinion(
            proposals,
            lambda _: -0.5,
            reason="No series is beyond its limit or expected to pass it within the hour.",
            families=("metrics",),
        )
    return opinion(
        proposals,
        speaks_for,
        reason=_sentence(urgent),
        families=("metrics", "topology") if surroundings.is_graph_known(case) else ("metrics",),
    )


def _futures(read: tuple[Signal, ...]) -> list[Outlook]:
    """The alerts' own series and those out of normal, the worst first."""
    telling = [signal for signal in read if signal.series.threshold is not None or signal.is_bad]
    telling.sort(key=lambda s: (s.series.alert_id is None, -s.effect, s.label))
    return [_future(signal) for signal in telling[:MOST_SERIES]]


def _future(signal: Signal) -> Outlook:
    at, values = signal.series.at, signal.series.values
    if at.size == 0 or signal.is_abnormal_now is None:
        reason = f"{signal.label} has no fresh points"
        if signal.unjudged and at.size < signals.NEEDED_POINTS:
            reason = signal.unjudged.rstrip(".")
        return Outlook(signal=signal, state=UNKNOWN, reason=f"{reason}; its future is unknown.")
    start = _regime(signal)
    prediction = forecast.forecast(at[start:], values[start:], horizon_seconds=HORIZON_SECONDS)
    breached = signal.is_breaching_now is True
    if isinstance(prediction, NotEnoughData):
        have = counted(prediction.have, "point")
        return Outlook(
            signal=signal,
            state=BREACHED if breached else UNKNOWN,
            reason=f"{signal.label} has {have} since it changed; {prediction.needed} are needed "
            f"for a forecast.",
        )
    return _crossings(Outlook(signal=signal, state=UNKNOWN, prediction=prediction), breached)


def _regime(signal: Signal) -> int:
    """Index of the first point that tells where this is heading.

    What was before the change, or before the return to normal, is another regime.
    """
    at, values = signal.series.at, signal.series.values
    if signal.began_at is None:
        return 0
    if signal.is_abnormal_now or signal.normal is None:
        return int(at.searchsorted(signal.began_at))
    is_beyond = np.abs(signal.normal.deviations(values)) >= anomaly.ALARM
    return int(np.flatnonzero(signals.breaches(signal.series) | is_beyond)[-1]) + 1


def _crossings(future: Outlook, breached: bool) -> Outlook:
    signal, prediction = future.signal, future.prediction
    series = signal.series
    if prediction is None:
        return future
    if series.threshold is None or series.comparison[:1] not in ("<", ">"):
        return replace(future, returns=_return_to_normal(signal, prediction), reason=_NO_LIMIT)
    if breached:
        back = "<" if series.comparison.startswith(">") else ">"
        returns = forecast.time_to_threshold(
            prediction, threshold=series.threshold, comparison=back
        )
        return replace(future, state=BREACHED, returns=returns)
    crossing = forecast.time_to_threshold(
        prediction, threshold=series.threshold, comparison=series.comparison
    )
    near = crossing.low is not None and crossing.low <= HORIZON_SECONDS
    return replace(future, state=EXPECTED if near else NOT_EXPECTED, crossing=crossing)


_NO_LIMIT = "No threshold is known for it."


def _return_to_normal(signal: Signal, prediction: Forecast) -> Crossing | None:
    if signal.normal is None or not signal.is_abnormal_now:
        return None
    low, high = signal.normal.band(signals.ABNORMAL)
    edge, comparison = (high, "<") if signal.now > 0 else (low, ">")
    return forecast.time_to_threshold(prediction, threshold=edge, comparison=comparison)


def _returns_soon(future: Outlook) -> bool:
    """Already back, or surely back within the hour, by its own trend."""
    if future.state != BREACHED and future.signal.is_abnormal_now is False:
        return future.state != EXPECTED
    back = future.returns
    return back is not None and back.high is not None and back.high <= HORIZON_SECONDS


def _urgency(future: Outlook) -> float:
    if future.state == BREACHED:
        return 0.9
    if future.state == EXPECTED:
        return 0.8
    return 0.7 if future.signal.is_abnormal_now and future.signal.is_anomalous else 0.0


def _expected_untouched(futures: list[Outlook]) -> dict[str, Any]:
    troubled = [f for f in futures if f.state == BREACHED or f.signal.is_abnormal_now]
    if not futures:
        return _unexpected("No series with a known limit or an anomaly can be extrapolated.")
    if not troubled:
        return _expectation(0.0, 0.0, 0.0, n=len(futures), basis="all series are within limits")
    backs = [future.returns for future in troubled]
    if any(back is None or back.seconds is None for back in backs):
        return _unexpected("The trend does not lead back to normal.")
    slowest = max((back for back in backs if back), key=lambda back: back.seconds or 0.0)
    return _expectation(
        slowest.seconds, slowest.low, slowest.high, n=len(troubled), basis="trend of the series"
    )


def _expected_after(case: Case, proposal: Proposal) -> dict[str, Any]:
    verified = [
        outcome.seconds_to_recover
        for outcome in case.outcomes
        if (outcome.action, outcome.service) == (proposal.action, proposal.target)
        and outcome.is_success
        and outcome.seconds_to_recover is not None
    ]
    if not verified:
        return _unexpected(
            f"No verified execution of {proposal.action} on {listed([proposal.target])} is recorded."
        )
    return _expectation(
        median(verified),
        min(verified),
        max(verified),
        n=len(verified),
        basis="median and range of verified executions",
    )


def _expectation(
    seconds: float | None, low: float | None, high: float | None, *, n: int, basis: str
) -> dict[str, Any]:
    low, mid, high = (None if one is None else rounded(one) for one in (low, seconds, high))
    return {"seconds": mid, "low": low, "high": high, "n": n, "basis": basis, "reason": ""}


def _unexpected(reason: str) -> dict[str, Any]:
    return {"seconds": None, "low": None, "high": None, "n": 0, "basis": "", "reason": reason}


def _affected(case: Case, read: tuple[Signal, ...]) -> tuple[str, ...]:
    bad = [signal.series.service for signal in read if signal.is_bad]
    return tuple(dict.fromkeys([*surroundings.involved(case), *(name for name in bad if name)]))


def _reach(case: Case, services: set[str]) -> frozenset[str]:
    """The troubled services and all they depend on: where an action can help them."""
    graph = surroundings.callees(case)
    return frozenset(name for service in services for name in rootcause.reachable(graph, service))


def _sentence(future: Outlook) -> str:
    signal, prediction = future.signal, future.prediction
    series = signal.series
    limit = (
        f"{series.comparison} {figure(series.threshold)}" if series.threshold is not None else ""
    )
    trend = "" if prediction is None else f" {_trend(prediction, series.unit)}"
    if future.state == BREACHED:
        since = "" if signal.began_at is None else f" since {clock(signal.began_at)}"
        return f"{signal.label} is already {limit}{since}.{trend}{_back(future.returns)}"
    if future.state == EXPECTED and future.crossing is not None:
        return f"{signal.label} may be {limit} {_interval(future.crossing)}.{trend}"
    if future.state == NOT_EXPECTED:
        hour = duration(HORIZON_SECONDS)
        return f"{signal.label} is not expected to be {limit} within {hour}.{trend}"
    state = "out of its normal range" if signal.is_abnormal_now else "within its normal range"
    return f"{signal.label} is {state}.{trend}{_back(future.returns)} {future.reason}".strip()


def _interval(crossing: Crossing) -> str:
    if crossing.low is None:
        return "at an unknown time"
    central = "" if crossing.seconds is None else f"in {duration(crossing.seconds)}, "
    if crossing.high is None:
        return f"{central}at the earliest in {duration(crossing.low)}, perhaps never"
    return f"{central}between {duration(crossing.low)} and {duration(crossing.high)} from now"


def _trend(prediction: Forecast, unit: str) -> str:
    if not prediction.is_trending:
        return f"It has no clear trend over {counted(prediction.points, 'point')}."
    per_hour = [3600 * s for s in (prediction.slope, prediction.slope_low, prediction.slope_high)]
    middle, low, high = (figure(value) for value in per_hour)
    return f"It moves by {middle} {unit} an hour (95 % interval {low} to {high}).".replace(
        "  ", " "
    )


def _back(returns: Crossing | None) -> str:
    if returns is None or returns.is_breached:
        return ""
    if returns.seconds is None:
        return " Its trend does not lead back."
    return f" At its trend it is back {_interval(returns)}."


def _row(future: Outlook) -> dict[str, Any]:
    series, crossing, prediction = future.signal.series, future.crossing, future.prediction

    def number(value: float | None) -> float | None:
        return None if value is None else rounded(value)

    return {
        "service": series.service,
        "metric": series.metric,
        "threshold": series.threshold,
        "comparison": series.comparison,
        "state": future.state,
        "seconds": number(crossing.seconds) if crossing else None,
        "low": number(crossing.low) if crossing else None,
        "high": number(crossing.high) if crossing else None,
        "slope_per_hour": number(3600 * prediction.slope) if prediction else None,
        "is_trending": prediction.is_trending if prediction else None,
        "points": prediction.points if prediction else None,
        "returns_in_seconds": number(future.returns.seconds) if future.returns else None,
        "reason": future.reason,
    }


def _summary(futures: list[Outlook], reached: tuple[str, ...] | None) -> str:
    told = [future for future in futures if future.prediction or future.state == BREACHED]
    order = {BREACHED: 0, EXPECTED: 1, UNKNOWN: 2, NOT_EXPECTED: 3}
    first = min(told, key=lambda future: order[future.state], default=None)
    heading = (
        _sentence(first) if first else "There is not enough data to say where this is heading."
    )
    if reached is None:
        return f"{heading} Whom it reaches is unknown."
    return f"{heading} In reach: {counted(len(reached), 'further service')}."


def _unknown(
    case: Case,
    read: tuple[Signal, ...],
    futures: list[Outlook],
    reached: tuple[str, ...] | None,
) -> tuple[str, ...]:
    unknown = [*case.missing, *(f.reason for f in futures if f.reason and f.reason != _NO_LIMIT)]
    if not futures:
        judged = sum(1 for signal in read if not signal.unjudged)
        unknown.append(
            f"No forecast: of {len(case.series)} series at hand {judged} have the "
            f"{signals.NEEDED_POINTS} points needed, and none has a known threshold or an anomaly."
        )
    if reached is None:
        unknown.append("The dependency graph is unknown, so the blast radius is unknown.")
    return tuple(unknown)
