"""The geometry of a response drawn against time: a row per phase and per agent run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

WIDTH, LABEL, ROW = 960, 200, 24


@dataclass(frozen=True, kw_only=True)
class Bar:
    """`kind` is the phase's state, or "run"; `x` and `width` are in the drawing's units."""

    label: str
    kind: str
    x: float
    width: float
    y: int
    seconds: float
    is_run: bool

    @property
    def end(self) -> float:
        """Where the duration is written."""
        return round(self.x + self.width + 6, 1)


@dataclass(frozen=True, kw_only=True)
class Waterfall:
    """`ticks` are (x, seconds since the start)."""

    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, float], ...]
    height: int
    seconds: float


def waterfall(response: Mapping[str, Any]) -> Waterfall | None:
    """None before anything has started. What still runs is drawn up to the latest known instant."""
    spans = [
        (label, kind, _epoch(row["started_at"]), _epoch(row["finished_at"]), is_run)
        for label, kind, row, is_run in _rows(response)
        if row["started_at"]
    ]
    starts = [start for _, _, start, _, _ in spans if start is not None]
    if not starts:
        return None
    begin = min(starts)
    ends = [end for _, _, _, end, _ in spans if end is not None]
    total = max([*ends, *starts, begin + 0.001]) - begin
    scale = (WIDTH - LABEL - 90) / total
    bars = tuple(
        Bar(
            label=label,
            kind=kind,
            x=round(LABEL + (start - begin) * scale, 1),
            width=round(max(2.0, ((end or begin + total) - start) * scale), 1),
            y=index * ROW + 20,
            seconds=(end or begin + total) - start,
            is_run=is_run,
        )
        for index, (label, kind, start, end, is_run) in enumerate(spans)
        if start is not None
    )
    ticks = tuple(
        (round(LABEL + total * part * scale, 1), total * part)
        for part in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    return Waterfall(bars=bars, ticks=ticks, height=len(bars) * ROW + 28, seconds=total)


def _rows(
    response: Mapping[str, Any],
) -> Iterable[tuple[str, str, Mapping[str, Any], bool]]:
    for phase in response.get("phases") or ():
        yield phase["phase"], phase["state"], phase, False
        for run in response.get("runs") or ():
            if run["phase"] == phase["phase"]:
                yield f"{run['agent']} agent", "run", run, True


def _epoch(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None
