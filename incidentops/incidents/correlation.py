"""Which incident a new alert belongs to, and why. Pure: values in, decisions out.

Alerts that begin within seconds of one another and may share a cause form a burst, which is judged
as one: its pattern of services tells more than any of its alerts. A burst joins the incident whose
recent alerts it resembles most, or opens one. Decisions rest on what came before, never on what
comes later.

Two alerts are *related* (a number in [0, 1]) when

* their services are the same, or near in the graph of dependencies;
* or, where a service is not known, they carry the same name, or the same labels and words.

Two different services that no dependency connects are never related, however alike their alerts.
How much a relation is worth halves every `HALF_LIFE_S`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from incidentops.incidents import similarity

# The one table of constants. Times are seconds.
BURST_S = 5.0  # alerts this close began together
HALF_LIFE_S = 900.0  # after this the same relation is worth half
WINDOW_S = 1800.0  # beyond this nothing is related
FADE_S = 120.0  # an incident's older alerts lose half their say per this, against its newest
THRESHOLD = 0.5  # a burst joins at this score
LIKENESS = 0.3  # the say of "does the incident explain the burst"; the rest asks the reverse
BY_HOPS = (1.0, 0.7, 0.3)  # relation of services so many dependencies apart
FAR, FAR_HOPS = 0.15, 5  # services further apart, up to so many dependencies
SAME_NAME = 0.8  # the same alert where a service is not known
BY_LABELS, BY_TEXT = 0.5, 0.35  # different alerts where a service is not known
REMEMBERED = 64  # alerts of an incident that are compared, the newest of each kind
_UNTELLING = frozenset({"alertname", "severity", "priority", "monitor", "prometheus", "__name__"})


@dataclass(frozen=True, kw_only=True)
class Signal:
    """An alert as correlation sees it. `at` is when it began, in epoch seconds.

    `service` is "" when not known; `name` is what the rule is called, the same for all instances.
    """

    id: int
    at: float
    service: str
    name: str
    text: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def bag(self) -> Counter[str]:
        return Counter(similarity.words(f"{self.name} {self.text}"))

    @cached_property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """The labels that tell alerts apart."""
        return frozenset(
            (name, value) for name, value in self.labels.items() if name not in _UNTELLING
        )

    @cached_property
    def kind(self) -> tuple[object, ...]:
        """Alerts of one kind are related to everything alike."""
        return (self.service, self.name) if self.service else ("", self.name, self.pairs)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An open incident and its recent alerts."""

    number: int
    signals: tuple[Signal, ...]


class Topology:
    """Distances between services over dependencies, in either direction."""

    def __init__(self, depends_on: Mapping[str, Iterable[str]]) -> None:
        self._neighbours: dict[str, set[str]] = defaultdict(set)
        for caller, callees in depends_on.items():
            for callee in callees:
                self._neighbours[caller].add(callee)
                self._neighbours[callee].add(caller)
        self._reach: dict[str, dict[str, int]] = {}
        self._areas: dict[str, str] = {}

    def hops(self, one: str, two: str) -> int | None:
        """Dependencies between two services; None when nothing connects them."""
        if one == two:
            return 0
        if one not in self._neighbours or two not in self._neighbours:
            return None
        if one not in self._reach:
            self._reach[one] = self._distances(one)
        return self._reach[one].get(two)

    def area(self, service: str) -> str:
        """A name that all services connected with this one share."""
        if service not in self._areas:
            members = self._distances(service) if service in self._neighbours else {service: 0}
            name = min(members)
            self._areas.update(dict.fromkeys(members, name))
        return self._areas[service]

    def _distances(self, start: str) -> dict[str, int]:
        distances, queue = {start: 0}, deque([start])
        while queue:
            service = queue.popleft()
            for neighbour in self._neighbours[service]:
                if neighbour not in distances:
                    distances[neighbour] = distances[service] + 1
                    queue.append(neighbour)
        return distances


@dataclass(frozen=True, kw_only=True)
class Relation:
    """How two alerts are related, with the parts it is made of. `hops` is None: not connected."""

    value: float
    topology: float
    text: float
    labels: float
    hops: int | None
    is_same_name: bool


def relate(one: Signal, two: Signal, topology: Topology) -> Relation:
    is_same_name = one.name == two.name
    text = similarity.cosine(one.bag, two.bag)
    either = one.pairs | two.pairs
    labels = len(one.pairs & two.pairs) / len(either) if either else 0.0
    if one.service and two.service:
        hops = topology.hops(one.service, two.service)
        value = near = _by_hops(hops)
    else:
        hops, near = None, 0.0
        value = SAME_NAME if is_same_name else BY_LABELS * labels + BY_TEXT * text
    return Relation(
        value=value, topology=near, text=text, labels=labels, hops=hops, is_same_name=is_same_name
    )


def _by_hops(hops: int | None) -> float:
    if hops is None or hops > FAR_HOPS:
        return 0.0
    return BY_HOPS[hops] if hops < len(BY_HOPS) else FAR


def nearness(gap_s: float) -> float:
    """What a relation over this gap is worth, in [0, 1]."""
    gap_s = abs(gap_s)
    return 0.0 if gap_s > WINDOW_S else math.pow(0.5, gap_s / HALF_LIFE_S)


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well an alert fits an incident: the burst's score, and the alert's own closest tie.

    `number` is None for an incident this batch is about to open.
    """

    number: int | None
    score: float
    time: float
    relation: Relation
    with_alert: int
    gap_s: float


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Where a signal goes: the incident `number`, or with everything else of the same `group`.

    `chosen` is None for the alert that opens an incident. `scores` are the candidates that came
    into question, the best first.
    """

    signal: Signal
    number: int | None
    group: int
    chosen: Score | None
    scores: tuple[Score, ...] = ()

    @property
    def reason(self) -> dict[str, Any]:
        """The decision as JSON, with an explanation in plain words."""
        if self.chosen is None:
            return {"kind": "opened", "explanation": self._why_opened()}
        relation = self.chosen.relation
        return {
            "kind": "correlated",
            "score": round(self.chosen.score, 3),
            "time": round(self.chosen.time, 3),
            "topology": round(relation.topology, 3),
            "text": round(relation.text, 3),
            "labels": round(relation.labels, 3),
            "with_alert": self.chosen.with_alert,
            "explanation": _explain(self.signal, self.chosen),
        }

    def _why_opened(self) -> str:
        if not self.scores:
            return "No open incident was related to it."
        best = self.scores[0]
        return (
            f"The closest open incident, {best.number}, scored {best.score:.2f}, "
            f"less than the {THRESHOLD:.2f} it takes to join."
        )


def _explain(signal: Signal, score: Score) -> str:
    relation, gap = score.relation, abs(score.gap_s)
    when = "at the same time as" if gap <= BURST_S else f"{_span(gap)} from"
    if relation.hops == 0:
        how = f"on the same service, {signal.service}"
    elif relation.hops == 1:
        how = f"on a service that {signal.service} directly depends on or serves"
    elif relation.hops is not None:
        how = f"on a service {relation.hops} dependencies away from {signal.service}"
    elif relation.is_same_name:
        how = f"of the same name, {signal.name}"
    else:
        how = f"with {relation.labels:.0%} of its labels and {relation.text:.0%} of its words alike"
    return f"It began {when} alert {score.with_alert}, {how} (score {score.score:.2f})."


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def correlate(
    signals: Iterable[Signal], candidates: Iterable[Candidate], topology: Topology
) -> list[Decision]:
    """Decide for every signal, in the order in which they began.

    What a burst decides is known to the bursts after it.
    """
    groups = [_Group(number=one.number, signals=one.signals) for one in candidates]
    decisions: list[Decision] = []
    for burst in _bursts(sorted(signals, key=lambda signal: (signal.at, signal.id))):
        for part in _parts(burst, topology):
            decisions += _decide(part, groups, topology)
    return decisions


class _Group:
    """An incident, or one about to be opened, by the newest alert of each kind."""

    def __init__(self, *, number: int | None, signals: Iterable[Signal]) -> None:
        self.number = number
        self.newest: dict[tuple[object, ...], Signal] = {}
        self.last = float("-inf")
        self.extend(signals)

    def extend(self, signals: Iterable[Signal]) -> None:
        for signal in sorted(signals, key=lambda one: (one.at, one.id)):
            self.newest.pop(signal.kind, None)
            self.newest[signal.kind] = signal
            self.last = max(self.last, signal.at)
        for kind in list(self.newest)[: max(0, len(self.newest) - REMEMBERED)]:
            del self.newest[kind]

    def say(self, signal: Signal) -> float:
        """How much this alert of the group still counts against the newest one, in (0, 1]."""
        return math.pow(0.5, (self.last - signal.at) / FADE_S)


def _bursts(ordered: Sequence[Signal]) -> list[list[Signal]]:
    bursts: list[list[Signal]] = []
    for signal in ordered:
        if bursts and signal.at - bursts[-1][0].at <= BURST_S:
            bursts[-1].append(signal)
        else:
            bursts.append([signal])
    return bursts


def _parts(burst: Sequence[Signal], topology: Topology) -> list[list[Signal]]:
    """The burst, divided so that alerts which cannot share a cause are apart."""
    by_kind: dict[tuple[object, ...], list[Signal]] = defaultdict(list)
    for signal in burst:
        by_kind[signal.kind].append(signal)
    joined = _Union(len(by_kind))
    seen: dict[object, list[tuple[int, Signal]]] = defaultdict(list)
    for index, (first, *_) in enumerate(by_kind.values()):
        for key in _ties(first, topology):
            # One comparison joins to all that key has joined so far; a few guard against a chain
            # that broke at its newest link.
            for other, signal in seen[key][-8:]:
                if not joined.same(index, other) and _may_share_cause(first, signal, topology):
                    joined.join(index, other)
            seen[key].append((index, first))
    parts: dict[int, list[Signal]] = defaultdict(list)
    for index, signals in enumerate(by_kind.values()):
        parts[joined.root(index)] += signals
    return list(parts.values())


def _may_share_cause(one: Signal, two: Signal, topology: Topology) -> bool:
    """Whether two alerts of one burst stay together: a known connection is enough."""
    enough = FAR if one.service and two.service else THRESHOLD
    return _value(one, two, topology) >= enough


def _ties(signal: Signal, topology: Topology) -> list[object]:
    """Keys of which related alerts share at least one."""
    keys: list[object] = [("name", signal.name), *(("label", pair) for pair in signal.pairs)]
    return [*keys, ("area", topology.area(signal.service))] if signal.service else keys


class _Union:
    """Disjoint sets of 0..n-1."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, index: int) -> int:
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = self._parent[index]
        return index

    def same(self, one: int, two: int) -> bool:
        return self.root(one) == self.root(two)

    def join(self, one: int, two: int) -> None:
        self._parent[self.root(two)] = self.root(one)


def _value(one: Signal, two: Signal, topology: Topology) -> float:
    """`relate().value` without the parts that only explain."""
    if one.service and two.service:
        return _by_hops(topology.hops(one.service, two.service))
    if one.name == two.name:
        return SAME_NAME
    return relate(one, two, topology).value


def _score(kinds: Sequence[Signal], at: float, group: _Group, topology: Topology) -> float:
    """How well a burst fits a group: does each explain the other, and how long ago."""
    worth = nearness(at - group.last)
    if worth < THRESHOLD:
        return 0.0
    explained = [0.0] * len(kinds)
    explaining = total = 0.0
    for known in group.newest.values():
        say, closest = group.say(known), 0.0
        for index, signal in enumerate(kinds):
            value = _value(signal, known, topology)
            explained[index] = max(explained[index], say * value)
            closest = max(closest, value)
        explaining += say * closest
        total += say
    forth = sum(explained) / len(explained)
    return worth * (LIKENESS * forth + (1 - LIKENESS) * explaining / total)


def _decide(part: Sequence[Signal], groups: list[_Group], topology: Topology) -> list[Decision]:
    """Judge a part of a burst as one; extend the group it fits best, or start a new one."""
    kinds = list({signal.kind: signal for signal in part}.values())
    at = part[-1].at
    scores = [(_score(kinds, at, group, topology), index) for index, group in enumerate(groups)]
    ranked = sorted((item for item in scores if item[0] > 0), key=lambda item: (-item[0], item[1]))
    if ranked and ranked[0][0] >= THRESHOLD:
        best, chosen = ranked[0]
    else:
        best, chosen = 1.0, len(groups)
        groups.append(_Group(number=None, signals=part[:1]))
    group, is_new = groups[chosen], not ranked or ranked[0][0] < THRESHOLD
    known = list(group.newest.values())
    rivals = tuple(
        _tie(part[0], list(groups[index].newest.values()), score, groups[index].number, topology)
        for score, index in ranked[:3]
    )
    decisions = [
        Decision(
            signal=signal,
            number=group.number,
            group=chosen,
            chosen=None
            if is_new and signal is part[0]
            else _tie(signal, known, best, group.number, topology),
            scores=rivals,
        )
        for signal in part
    ]
    group.extend(part)
    return decisions


def _tie(
    signal: Signal,
    known: Sequence[Signal],
    score: float,
    number: int | None,
    topology: Topology,
) -> Score:
    """The alert of the group this one is closest to, as the explanation of the group's score."""
    other = max(
        known,
        key=lambda one: (_value(signal, one, topology) * nearness(signal.at - one.at), one.id),
    )
    gap = signal.at - other.at
    return Score(
        number=number,
        score=score,
        time=nearness(gap),
        relation=relate(signal, other, topology),
        with_alert=other.id,
        gap_s=gap,
    )
