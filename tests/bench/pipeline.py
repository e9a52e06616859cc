"""What a phase and a published event cost, and many incidents at once.

`python -m tests.bench.pipeline` prints the figures as JSON. Both sides run on the same private
workers, database and broker, in turns, with specialists that do nothing; so the difference is what
leads the agents: claims and wake-ups, or chains, chords and a result backend. What publishing costs
is measured by `tests.bench.publishing`, on the same broker.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.agents.kill.servers import ROOT, Instance, postgres_binaries

SINGLE = 20
CROWDS = (10, 50)


def measure(directory: Path, database: str) -> dict[str, Any]:
    directory.mkdir()
    instance = Instance(directory, database, lease=30, seconds=0, package="tests.bench.chord")
    try:
        figures = _run(instance, "tests.bench.chord.drive", str(SINGLE), *map(str, CROWDS))
        return figures | {"publishing": _run(instance, "tests.bench.publishing")}
    finally:
        instance.stop()


def _run(instance: Instance, module: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=instance.environ,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="incidentops-bench-"))
    directory.chmod(0o755)
    databases = ["sqlite", *(["postgresql"] if postgres_binaries() else [])]
    try:
        found = {name: measure(directory / name, name) for name in databases}
    finally:
        shutil.rmtree(directory, ignore_errors=True)

    def phase_ms(way: str) -> dict[str, float]:
        return {name: round(statistics.median(one[way]), 2) for name, one in found.items()}

    ours, chord, by_phase = phase_ms("ours"), phase_ms("chord"), phase_ms("chord_by_phase")
    publishing = found["sqlite"]["publishing"]
    figures = {
        "name": "pipeline",
        "metrics": {
            "phase_ms": ours,
            "incidents_at_once": {name: one["together"] for name, one in found.items()},
            "publish_us": publishing["publish_us"],
            "publish_one_at_a_time_us": publishing["single_us"],
        },
        "baseline": {
            "chord_phase_ms": chord,
            "chord_by_phase_phase_ms": by_phase,
            "async_to_sync_group_send_us": publishing["async_to_sync_us"],
        },
        "ratio": {
            "phase_to_chord": {name: round(ours[name] / chord[name], 3) for name in ours},
            "phase_to_chord_by_phase": {
                name: round(ours[name] / by_phase[name], 3) for name in ours
            },
            "async_to_sync_to_publish": publishing["ratio"],
            "async_to_sync_to_publish_one_at_a_time": publishing["single_ratio"],
        },
    }
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
