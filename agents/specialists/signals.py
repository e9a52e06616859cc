"""What each series of a case says: normal or not, since when, and whether it still is."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from agents.algorithms import anomaly, changepoint
from agents.case import Case, SeriesFact
from agents.specialists.wording import clock, counted, figure, named

NEEDED_POINTS = 12
ABNORMAL = 3.0
LATEST_POINTS = 3
GREATEST = 1e100
# A series is part of this incident when it deviates after this long before the first alert.
LEAD_SECONDS = 3600.0
# "Now" may be said of a series whose last point is at most this old, or five of its steps.
FRESH_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Signal:
    """A series, judged. `series` holds its measurable points only.

    `peak` and `now` are signed robust deviations from `normal` (0 when it is unknown). With a
    threshold only the side it guards is bad; without one both are. `unjudged` says why nothing can
    be said. `is_breaching_now` and `is_abnormal_now` are None when the last point is too old, the
    former without a threshold, too.
    """

    series: SeriesFact
    normal: anomaly.Normal | None = None
    began_at: float | None = None
    began_earliest: float | None = None
    began_latest: float | None = None
    shape: str = ""
    peak: float = 0.0
    now: float = 0.0
    is_anomalous: bool = False
    has_breached: bool = False
    is_breaching_now: bool | None = None
    is_abnormal_now: bool | None = None
    unjudged: str = ""

    @property
    def is_bad(self) -> bool:
        return self.is_anomalous or self.has_breached

    @property
    def label(self) -> str:
        metric = named(self.series.metric, 100)
        return f"{metric} of {named(self.series.service)}" if self.series.service else metric

    @property
    def effect(self) -> float:
        """How strongly it deviates, in robust deviations; a breached threshold is an alarm."""
        strength = abs(self.peak) if self.is_anomalous else 0.0
        return max(strength, anomaly.ALARM) if self.has_breached else strength

    @property
    def strength(self) -> str:
        """The effect in words; beyond the limit of the scale only a bound is known."""
        bound = "at least " if self.effect >= anomaly.LIMIT else ""
        return f"{bound}{figure(self.effect)} robust deviations"

    @property
    def last_value(self) -> float:
        return float(np.median(self.series.values[-LATEST_POINTS:]))


def read(case: Case) -> tuple[Signal, ...]:
    """Judge every series of the case; the alerts' own first, then by service and metric."""
    relevant_from = first_alarm(case) - LEAD_SECONDS
    ordered = sorted(
        case.series,
        key=lambda s: (s.alert_id is None, s.service, s.metric, sorted(s.labels.items())),
    )
    return tuple(judge(s, relevant_from=relevant_from, now=case.at.timestamp()) for s in ordered)


def first_alarm(case: Case) -> float:
    starts = [alert.starts_at.timestamp() for alert in case.alerts if alert.starts_at]
    return min([*starts, case.incident.detected_at.timestamp()])


def judge(series: SeriesFact, *, relevant_from: float, now: float) -> Signal:
    """Find the change that leads to the latest trouble and measure it against what was before."""
    series = _measurable(series)
    signal = Signal(series=series)
    at, values = series.at, series.values
    if values.size < NEEDED_POINTS:
        have = counted(int(values.size), "point")
        return replace(
            signal, unjudged=f"{signal.label} has {have}; {NEEDED_POINTS} are needed to judge it."
        )
    if at[-1] < relevant_from:
        last = clock(float(at[-1]))
        return replace(signal, unjudged=f"{signal.label} has no points after {last}.")
    bad = breaches(series)
    scores = np.nan_to_num(anomaly.scores(values))
    alarms = np.flatnonzero(bad | (np.abs(scores) >= anomaly.ALARM))
    end = int(alarms[-1]) + 1 if alarms.size else values.size
    onset = changepoint.onset(at[:end], values[:end])
    start = onset.index if onset else _run_start(bad, end)
    before = values[:start][~bad[:start]] if start else values[:0]
    signal = replace(signal, has_breached=bool((bad & (at >= relevant_from)).any()))
    if before.size < changepoint.MIN_BEFORE:
        if bad.any():
            reason = f"{signal.label} was beyond its threshold from the first points read on."
            return _with_now(replace(signal, unjudged=reason), now)
        return _with_now(replace(signal, normal=anomaly.normal_of(values)), now)
    normal = anomaly.normal_of(before)
    deviations = normal.deviations(values)
    since = deviations[start:end][at[start:end] >= relevant_from]
    worse = _bad_side(series, since)
    peak = float(worse[np.abs(worse).argmax()]) if worse.size else 0.0
    signal = replace(
        signal,
        normal=normal,
        now=float(np.median(deviations[-LATEST_POINTS:])),
        peak=peak,
        is_anomalous=onset is not None and abs(peak) >= anomaly.ALARM,
    )
    if signal.is_bad:
        signal = replace(
            signal,
            began_at=onset.at if onset else float(at[start]),
            began_earliest=onset.earliest if onset else float(at[start - 1]),
            began_latest=onset.latest if onset else float(at[start]),
            shape=onset.shape if onset else "step",
        )
    return _with_now(signal, now)


def _measurable(series: SeriesFact) -> SeriesFact:
    """Only points that can be quantities: squares of others would overflow or vanish."""
    with np.errstate(invalid="ignore"):
        keep = np.abs(series.values) <= GREATEST
    values = series.values[keep]
    values = np.where(np.abs(values) < 1.0 / GREATEST, 0.0, values)
    return replace(series, at=series.at[keep], values=values)


def breaches(series: SeriesFact) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Where the alert's own condition holds; nowhere when it is unknown."""
    if series.threshold is None:
        return np.zeros(series.values.shape, dtype=bool)
    compare = {
        ">": np.greater,
        ">=": np.greater_equal,
        "<": np.less,
        "<=": np.less_equal,
        "==": np.equal,
        "!=": np.not_equal,
    }.get(series.comparison)
    if compare is None:
        return np.zeros(series.values.shape, dtype=bool)
    return np.asarray(compare(series.values, series.threshold), dtype=bool)


_LOAD = re.compile(
    r"request|rps|qps|throughput|traffic|connections|queue|backlog|lag|depth|cpu|load|in_?flight",
    re.IGNORECASE,
)
_NOT_LOAD = re.compile(r"error|fail|duration|latency|seconds|_ms\b|memory|heap", re.IGNORECASE)


def is_load(signal: Signal) -> bool:
    """Whether a metric's conventional name says that it counts demand or its backlog."""
    metric = signal.series.metric
    return bool(_LOAD.search(metric)) and not _NOT_LOAD.search(metric)


def _run_start(bad: np.ndarray[tuple[int], np.dtype[np.bool_]], end: int) -> int:
    """Where the run of breaches that ends before `end` begins; 0 when it does not end in one."""
    start = end
    while start > 0 and bad[start - 1]:
        start -= 1
    return start if start < end else 0


def _bad_side(series: SeriesFact, deviations: anomaly.Array) -> anomaly.Array:
    if series.threshold is None or series.comparison[:1] not in ("<", ">"):
        return deviations
    return np.maximum(deviations, 0.0) if series.comparison[0] == ">" else np.minimum(deviations, 0)


def _holds_lately(bad: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> bool:
    return bool(bad[-LATEST_POINTS:].mean() > 0.5)


def _with_now(signal: Signal, now: float) -> Signal:
    at = signal.series.at
    step = float(np.median(np.diff(at)))
    if now - at[-1] > max(FRESH_SECONDS, 5 * step):
        return signal
    side = _bad_side(signal.series, np.asarray([signal.now]))
    deviates = signal.normal is not None and abs(float(side[0])) >= ABNORMAL
    is_breaching = _holds_lately(breaches(signal.series))
    return replace(
        signal,
        is_breaching_now=None if signal.series.threshold is None else is_breaching,
        is_abnormal_now=deviates or is_breaching,
    )
