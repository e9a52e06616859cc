"""How long the stretched specialists take: KILL_TEST_SECONDS, which only this package reads."""

from __future__ import annotations

import os
import time
from types import ModuleType
from typing import Any

SECONDS = float(os.environ.get("KILL_TEST_SECONDS", "0.1"))


class Stretched:
    """A specialist's own answers, each given after a pause."""

    def __init__(self, specialist: ModuleType) -> None:
        self._specialist = specialist

    def investigate(self, case: Any) -> Any:
        time.sleep(SECONDS)
        return self._specialist.investigate(case)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._specialist, name)
