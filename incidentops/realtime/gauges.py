"""What each web process says about its sockets, where every process can read it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from dataclasses import asdict, dataclass
from typing import Any

from django.core.cache import cache

logger = logging.getLogger(__name__)

# A process that was silent for longer is gone.
SILENCE_SECONDS = 20
_INDEX = "realtime:processes"


@dataclass(frozen=True, kw_only=True)
class WebProcess:
    """`fan_out_p95_ms` is from a tick of the hub to the last of its sockets; None before the first."""

    name: str
    sockets: int
    fan_out_p95_ms: float | None
    reported_at: float


def p95(values: list[float]) -> float | None:
    """The smallest value that 95 % of all do not exceed."""
    if not values:
        return None
    return sorted(values)[-(-95 * len(values) // 100) - 1]


async def report(*, sockets: int, fan_outs: list[float]) -> None:
    """Publish the state of this process; `fan_outs` in seconds. Says nothing while Redis is away."""
    seconds = p95(fan_outs)
    state = WebProcess(
        name=f"{socket.gethostname()}:{os.getpid()}",
        sockets=sockets,
        fan_out_p95_ms=None if seconds is None else round(seconds * 1000, 3),
        reported_at=time.time(),
    )
    try:
        await asyncio.to_thread(_store, state)
    except Exception as error:  # noqa: BLE001  # whatever the cache's client raises; the next report is seconds away
        logger.debug("The state of this process was not stored: %r", error)


def web_processes() -> list[WebProcess]:
    """The web processes that reported lately. Raises what the cache raises when it is away."""
    names = cache.get(_INDEX) or {}
    states: dict[str, Any] = cache.get_many([_key(name) for name in names])
    return [WebProcess(**state) for state in states.values()]


def _store(state: WebProcess) -> None:
    cache.set(_key(state.name), asdict(state), timeout=SILENCE_SECONDS)
    # Two processes may overwrite each other's index; each mends it with its next report.
    horizon = time.time() - SILENCE_SECONDS
    names = {name: at for name, at in (cache.get(_INDEX) or {}).items() if at > horizon}
    cache.set(_INDEX, {**names, state.name: state.reported_at}, timeout=SILENCE_SECONDS)


def _key(name: str) -> str:
    return f"realtime:process:{name}"
