"""What a phase costs beside a Celery chord that writes the same rows, and many incidents at once.

`python -m tests.bench.pipeline` prints the figures as JSON. Both sides run on the same private
workers, database and broker, in turns, with specialists that do nothing; so the difference is what
leads the phases: claims and wake-ups, or chains, a chord and a result backend.
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
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.chord.drive", str(SINGLE), *map(str, CROWDS)],
            env=instance.environ,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    finally:
        instance.stop()
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
    ours = {name: round(statistics.median(one["ours"]), 2) for name, one in found.items()}
    chord = {name: round(statistics.median(one["chord"]), 2) for name, one in found.items()}
    figures = {
        "name": "pipeline",
        "metrics": {
            "phase_ms": ours,
            "incidents_at_once": {name: one["together"] for name, one in found.items()},
        },
        "baseline": {"chord_phase_ms": chord},
        "ratio": {name: round(ours[name] / chord[name], 3) for name in ours},
    }
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
