from __future__ import annotations

from agents.specialists import communication
from tests.agents.kill.slow.pace import Stretched

_stretched = Stretched(communication)


def __getattr__(name: str) -> object:
    return getattr(_stretched, name)
