"""The channel layer for synchronous code: one background event loop and connection per process.

`async_to_sync(layer.group_send)` opens a connection per call. Here a thread runs one loop, and a
send only queues the message for it. A message lost on the way is no loss: the hubs compare dense
positions with the database and repair.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)

T = TypeVar("T")

SEND_SECONDS = 5.0
# What waits here is a hint that may be dropped: the oldest goes first.
WAITING_LIMIT = 10_000
# Messages that wait for one group travel together, in a message of this type.
SEVERAL = "several"
TOGETHER = 100


class _Loop:
    """A thread with an event loop that sends what is queued, in order."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.waiting: deque[tuple[str, dict[str, Any]]] = deque(maxlen=WAITING_LIMIT)
        self.is_down = False
        self.wake = asyncio.Event()
        self.empty = asyncio.Event()
        self.thread = threading.Thread(target=self._run, name="channel-layer", daemon=True)
        self.thread.start()

    def send(self, group: str, message: dict[str, Any]) -> None:
        self.waiting.append((group, message))
        self.loop.call_soon_threadsafe(self._woken)

    def call(self, work: Coroutine[Any, Any, T], *, timeout: float) -> T:
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout), self.loop).result()

    def stop(self) -> None:
        if self.loop.is_running():
            self.loop.call_soon_threadsafe(self.sender.cancel)
            self.thread.join(timeout=2)

    async def sent(self) -> None:
        await self.empty.wait()

    def _woken(self) -> None:
        self.empty.clear()
        self.wake.set()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.sender = self.loop.create_task(self._send_forever())
        try:
            self.loop.run_until_complete(self.sender)
        except asyncio.CancelledError:
            pass
        finally:
            # Closing the loop also closes the layer's connection: the layer hooks into it.
            self.loop.close()

    async def _send_forever(self) -> None:
        while True:
            self.empty.set()
            await self.wake.wait()
            self.wake.clear()
            while self.waiting:
                for group, messages in self._take_waiting().items():
                    message = messages[0]
                    if len(messages) > 1:
                        message = {"type": SEVERAL, "messages": messages}
                    await self._send_one(group, message)

    def _take_waiting(self) -> dict[str, list[dict[str, Any]]]:
        """What has waited longest, by group, in order."""
        taken: dict[str, list[dict[str, Any]]] = {}
        for _ in range(min(len(self.waiting), TOGETHER)):
            group, message = self.waiting.popleft()
            taken.setdefault(group, []).append(message)
        return taken

    async def _send_one(self, group: str, message: dict[str, Any]) -> None:
        layer = get_channel_layer()
        if layer is None:
            return
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await layer.group_send(group, message)
        except Exception as error:  # noqa: BLE001  # whatever the layer's client raises, the sender must live on
            if not self.is_down:
                logger.warning("The channel layer does not take messages: %r", error)
            self.is_down = True
        else:
            self.is_down = False


_running: _Loop | None = None
_starting = threading.Lock()


def _current() -> _Loop:
    global _running
    with _starting:
        if _running is None or not _running.thread.is_alive():
            _running = _Loop()
        return _running


def _forget() -> None:
    """A forked child has the object but not its thread."""
    global _running, _starting
    _running, _starting = None, threading.Lock()


def _stop() -> None:
    if _running is not None:
        _running.stop()


os.register_at_fork(after_in_child=_forget)
atexit.register(_stop)


def group_send(group: str, message: dict[str, Any]) -> None:
    """Hand a message to the channel layer in the background. Never waits, never raises."""
    _current().send(group, message)


def flush(*, timeout: float = SEND_SECONDS) -> None:
    """Wait until everything handed over so far was sent, or failed.

    Raises:
        TimeoutError: that took longer than `timeout` seconds.
    """
    running = _current()
    running.call(running.sent(), timeout=timeout)


def call(work: Callable[[], Coroutine[Any, Any, T]], *, timeout: float) -> T:
    """Run a coroutine on the background loop and wait for its result."""
    return _current().call(work(), timeout=timeout)
