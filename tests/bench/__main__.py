"""Run benchmarks and write their figures, each beside its baseline, to `var/bench/NAME.json`.

`python -m tests.bench [NAME…]` runs the named ones, or all. Each runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
OUT = ROOT / "var" / "bench"
BENCHMARKS = ("pipeline", "intake", "reliability", "awsai", "hostile")


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }


def main(names: list[str]) -> int:
    if unknown := set(names) - set(BENCHMARKS):
        print(f"Unknown: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}.")
        return 2
    OUT.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in names or BENCHMARKS:
        started_at = time.monotonic()
        print(f"{name}: measuring …", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"tests.bench.{name}"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        took = time.monotonic() - started_at
        if done.returncode:
            failed.append(name)
            print(f"{name}: failed after {took:.0f} s", flush=True)
            continue
        figures = {**json.loads(done.stdout), "machine": machine()}
        (OUT / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
        print(f"{name}: {json.dumps(figures['ratio'])} in {took:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
