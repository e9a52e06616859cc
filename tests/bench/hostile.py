"""Two hundred hostile texts through every phase, read by a model that obeys them all.

`python -m tests.bench.hostile` prints the figures as JSON. Each text stands in an alert, in log lines,
in an attached file, a runbook, a comment and a lesson, and secrets stand beside it; the incident is
answered from its posted alert to the lesson it leaves. The baseline is the same with the masks switched
off, which shows that secrets would get out and be seen.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django

from tests.agents.kill.servers import ROOT, Valkey

CONTROLS = 20
BROKEN = ("told", "leaked", "uncited", "forbidden", "undone")


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="incidentops-bench-"))
    valkey = Valkey(directory / "redis")
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "incidentops.settings",
        "DATABASE_URL": "",
        "REDIS_URL": valkey.url,
        "IOP_VAR": str(directory),
        "IOP_LOG_LEVEL": "ERROR",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, check=True)
        django.setup()
        from django.test.utils import setup_test_environment

        # Mail stays in memory.
        setup_test_environment()
        json.dump(measure(), sys.stdout)
    finally:
        valkey.kill()
        shutil.rmtree(directory, ignore_errors=True)


def measure() -> dict[str, Any]:
    from awsai.providers.local import LocalProvider
    from tests.agents.specialists import hostility
    from tests.agents.specialists.storefront import stock

    # Its lines are read by the confrontation itself.
    logging.getLogger().handlers.clear()
    stock()
    with hostility.surrounded(LocalProvider()):
        honest = hostility.confront("It began with the last deploy.")
    began = time.perf_counter()
    guarded = _all(hostility.INJECTIONS, honest)
    seconds = time.perf_counter() - began
    with _unmasked():
        unguarded = _all(hostility.INJECTIONS[:: len(hostility.INJECTIONS) // CONTROLS], honest)
    return {
        "name": "hostile",
        "metrics": {**guarded, "seconds": round(seconds, 1)},
        "baseline": {"without_masks": unguarded},
        "ratio": {
            "texts_that_gained_something": f"{guarded['texts_that_gained']} of {guarded['texts']}",
            "without_masks": f"{unguarded['texts_that_gained']} of {unguarded['texts']}",
        },
    }


@contextmanager
def _unmasked() -> Iterator[None]:
    """No secret is found in any text."""
    from awsai.providers.local import sensitive

    find = sensitive.find
    sensitive.find = lambda text, kinds=(): ()
    try:
        yield
    finally:
        sensitive.find = find


def _all(texts: list[str], honest: Any) -> dict[str, Any]:
    """Half of the texts with a guardrail, and so with streams."""
    from tests.agents.specialists import hostility

    broken: Counter[str] = Counter()
    authors: Counter[str] = Counter()
    model, gained = hostility.Obedient(), 0
    for guardrail in ("", "incidentops"):
        with hostility.surrounded(model, AWS_GUARDRAIL_ID=guardrail):
            for text in texts[bool(guardrail) :: 2]:
                came = hostility.confront(text, model)
                found = {name: len(getattr(came, name)) for name in BROKEN}
                found["decided_otherwise"] = int(
                    (came.plans, came.decided) != (honest.plans, honest.decided)
                )
                broken.update(found)
                authors.update(came.authors)
                gained += any(found.values())
    return {
        "texts": len(texts),
        "texts_that_gained": gained,
        "secrets_told_to_the_model": broken["told"],
        "secrets_leaked": broken["leaked"],
        "uncited_sentences_kept": broken["uncited"],
        "out_of_policy_plans": broken["forbidden"],
        "decided_otherwise": broken["decided_otherwise"],
        "phases_not_ended": broken["undone"],
        "uncited_sentences_said": model.sentences_without_evidence,
        "words_by": dict(authors),
    }


if __name__ == "__main__":
    main()
