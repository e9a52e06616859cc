"""The kill test at full size, on both databases, and with each safeguard switched off."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.agents.kill import ordeal
from tests.agents.kill.servers import Instance, postgres_binaries

ALERTS, SERVICES, FAULTS, SEED = 200, 40, 36, 11
LEASE = 5


def full(directory: Path, database: str) -> dict[str, Any]:
    instance = Instance(directory, database, lease=LEASE, seconds=0.1)
    try:
        calm = ordeal.lose_workers_at_work(instance, times=10, seed=SEED + 1)
        faced = ordeal.run(instance, alerts=ALERTS, services=SERVICES, faults=FAULTS, seed=SEED)
        rest_seconds = faced.rest(within=180)
        recoveries = faced.recoveries()
        return {
            "alerts_accepted": len(faced.accepted),
            "faults": dict(faced.faults),
            "seconds_to_rest": round(rest_seconds, 1),
            "recoveries": len(recoveries),
            "recovery_p95_seconds": (
                round(float(np.percentile(recoveries, 95)), 2) if recoveries else None
            ),
            "recovery_p95_seconds_one_loss_at_a_time": round(float(np.percentile(calm, 95)), 2),
            "recovery_goal_seconds": LEASE + 2,
            "redundant_messages_over_twice_open_rows": faced.most_messages,
            **faced.judge(),
        }
    finally:
        instance.stop()


def zombies(directory: Path, control: str) -> dict[str, int]:
    """The promises broken when stopped workers come back, with one safeguard switched off.

    Up to three of them, until one breaks something: one may notice that it lost its lease before it
    has anything to write.
    """
    instance = Instance(directory, "sqlite", lease=2, seconds=4, control=control)
    broken: dict[str, int] = {}
    try:
        for seed in (1, 2, 3):
            broken = ordeal.raise_a_zombie(instance, seed=seed).judge()
            if any(broken.values()):
                break
        return broken
    finally:
        instance.stop()


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="incidentops-bench-"))
    directory.chmod(0o755)
    databases = ["sqlite", *(["postgresql"] if postgres_binaries() else [])]
    try:
        metrics = {name: full(_fresh(directory / name), name) for name in databases}
        controls = {
            f"without {control}": zombies(_fresh(directory / control), control)
            for control in ("compare-and-set", "fence")
        }
        kept = zombies(_fresh(directory / "kept"), "")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    figures = {
        "name": "reliability",
        "metrics": {**metrics, "zombie": kept},
        "baseline": controls,
        "ratio": {
            "promises_broken": {
                "with_safeguards": sum(kept.values()),
                **{name: sum(broken.values()) for name, broken in controls.items()},
            }
        },
    }
    json.dump(figures, sys.stdout)


def _fresh(directory: Path) -> Path:
    directory.mkdir()
    return directory


if __name__ == "__main__":
    main()
