"""Score the correlation of alerts on labelled streams: `python tests/bench/grouping.py DATA`.

DATA holds `alerts.jsonl`, `topology.json` and `labels.jsonl` (see the contract's `grouping` kind).
Alerts are fed in order of arrival, each instant on its own, so no decision can see what comes
later. The adjusted Rand index and pair F1 are the means over the streams.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from datetime import datetime
from itertools import groupby
from math import comb
from pathlib import Path
from time import perf_counter

from incidentops.incidents.correlation import Candidate, Signal, Topology, correlate


def agreement(truth: Sequence[Hashable], found: Sequence[Hashable]) -> tuple[float, float]:
    """(adjusted Rand index, pair F1) of two partitions of the same items.

    Source: Hubert & Arabie, Comparing Partitions, Journal of Classification 2 (1985).
    """
    together = sum(comb(n, 2) for n in Counter(zip(truth, found, strict=True)).values())
    in_truth = sum(comb(n, 2) for n in Counter(truth).values())
    in_found = sum(comb(n, 2) for n in Counter(found).values())
    pairs = comb(len(truth), 2)
    expected = in_truth * in_found / pairs if pairs else 0.0
    highest = (in_truth + in_found) / 2
    ari = 1.0 if highest == expected else (together - expected) / (highest - expected)
    return ari, 2 * together / (in_truth + in_found) if in_truth + in_found else 1.0


def read(path: Path) -> list[dict]:
    with path.open() as lines:
        return [json.loads(line) for line in lines]


def signal(index: int, alert: dict) -> Signal:
    labels, annotations = alert["labels"], alert.get("annotations", {})
    return Signal(
        id=index,
        at=datetime.fromisoformat(alert["at"]).timestamp(),
        service=labels.get("service", ""),
        name=labels.get("alertname", ""),
        text=annotations.get("summary", ""),
        labels=labels,
    )


def predict(signals: Sequence[Signal], topology: Topology) -> dict[int, int]:
    """Signal → group, deciding each instant with what came before it alone."""
    groups: dict[int, list[Signal]] = {}
    found: dict[int, int] = {}
    for _, instant in groupby(signals, key=lambda one: one.at):
        candidates = [Candidate(number=n, signals=tuple(ones)) for n, ones in groups.items()]
        fresh: dict[int, int] = {}
        for decision in correlate(instant, candidates, topology):
            number = decision.number or fresh.setdefault(decision.group, len(groups) + 1)
            groups.setdefault(number, []).append(decision.signal)
            found[decision.signal.id] = number
    return found


def windows(signals: Sequence[Signal], *, seconds: float) -> dict[int, int]:
    """The baseline: whatever begins within a fixed window of the first is one group."""
    found: dict[int, int] = {}
    start = float("-inf")
    for one in signals:
        if one.at - start > seconds:
            start = one.at
        found[one.id] = int(start)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    if not (data / "alerts.jsonl").exists():
        print(f"skipped: no alerts.jsonl in {data}", file=sys.stderr)
        return 0
    alerts, labels = read(data / "alerts.jsonl"), read(data / "labels.jsonl")
    services = json.loads((data / "topology.json").read_text())["services"]
    streams: dict[int, list[tuple[Signal, str]]] = defaultdict(list)
    for label in labels:
        index = label["alert"]
        streams[label["stream"]].append((signal(index, alerts[index]), label["group"]))
    scores = defaultdict(list)
    started = perf_counter()
    for stream in streams.values():
        signals, truth = [one for one, _ in stream], [group for _, group in stream]
        topology = Topology({service["name"]: service["depends_on"] for service in services})
        for method, found in (
            ("correlation", predict(signals, topology)),
            ("15-minute window", windows(signals, seconds=900)),
            ("one group", dict.fromkeys(range(len(alerts)), 0)),
        ):
            scores[method].append(agreement(truth, [found[one.id] for one in signals]))
    report = {
        method: {
            "ari": round(sum(ari for ari, _ in pairs) / len(pairs), 3),
            "pair_f1": round(sum(f1 for _, f1 in pairs) / len(pairs), 3),
        }
        for method, pairs in scores.items()
    }
    seconds = round(perf_counter() - started, 2)
    summary = {"alerts": len(alerts), "streams": len(streams), "seconds": seconds}
    print(json.dumps({**summary, "metrics": report}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
