from __future__ import annotations

from agents.specialists import diagnosis
from tests.agents.kill.slow.pace import Stretched

_stretched = Stretched(diagnosis)


def __getattr__(name: str) -> object:
    return getattr(_stretched, name)
