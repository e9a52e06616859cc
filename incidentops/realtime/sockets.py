"""Every socket of this process: who opened it, whether they still may, how many there are."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from incidentops.realtime import gauges, topics
from incidentops.realtime.hub import Hub
from incidentops.realtime.storage import ChannelBus, TopicStorage

logger = logging.getLogger(__name__)

Scope = dict[str, Any]

RIGHTS_CHECK_SECONDS = 30.0
GAUGE_SECONDS = 5.0
MAX_SOCKETS = 5000


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who opened a socket, as the injected authentication found out.

    `subject` is what `control.revoke` names. `credential` tells apart what one subject signed in
    with. `public` are topic prefixes that need no permission.
    """

    subject: str
    credential: str
    permissions: frozenset[str]
    public: frozenset[str] = frozenset()

    def may_read(self, topic: str) -> bool:
        found = topics.find(topic)
        if found is None:
            return False
        return found.prefix in self.public or found.permission in self.permissions


class Refused(Exception):
    """The socket is not to be served, and closes with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


# Raises Refused.
Authenticate = Callable[[Scope], Awaitable[Identity]]


class Socket(Protocol):
    scope: Scope
    topics: list[str]
    identity: Identity

    def revoke(self) -> None: ...


class Sockets:
    """The sockets on one event loop, with the hub that serves them."""

    def __init__(self) -> None:
        self.open: set[Socket] = set()
        # Counts those that are still being let in, too.
        self.count = 0
        self.bus = ChannelBus(on_batch=self._offer, on_revoke=self.revoke)
        self.hub = Hub(storage=TopicStorage(), bus=self.bus)
        self._tasks: list[asyncio.Task[None]] = []

    def start_gauge(self) -> None:
        """Tell other processes about this one from now on."""
        if not self._tasks:
            self._tasks.append(asyncio.create_task(self._report()))

    def start(self, authenticate: Authenticate) -> None:
        """Begin to listen for events and orders and to check rights, once."""
        self.start_gauge()
        if len(self._tasks) == 1:
            self._tasks.append(asyncio.create_task(self.bus.read()))
            self._tasks.append(asyncio.create_task(self._check_rights(authenticate)))

    def revoke(self, subject: str) -> None:
        for socket in list(self.open):
            if socket.identity.subject == subject:
                socket.revoke()

    def _offer(self, topic: str, epoch: str, first: int, texts: list[str]) -> None:
        self.hub.offer(topic, epoch, first, texts)

    async def _check_rights(self, authenticate: Authenticate) -> None:
        while True:
            await asyncio.sleep(RIGHTS_CHECK_SECONDS)
            by_credential: dict[tuple[str, str], list[Socket]] = defaultdict(list)
            for socket in self.open:
                identity = socket.identity
                by_credential[identity.subject, identity.credential].append(socket)
            for sockets in by_credential.values():
                await self._check(sockets, authenticate)

    @staticmethod
    async def _check(sockets: list[Socket], authenticate: Authenticate) -> None:
        """Ask once for all sockets of one credential."""
        try:
            identity = await authenticate(sockets[0].scope)
        except Refused:
            for socket in sockets:
                socket.revoke()
            return
        except Exception:
            # The database is away: who was let in stays until it can be asked again.
            logger.exception("Rights of open sockets could not be checked")
            return
        for socket in sockets:
            if not all(identity.may_read(topic) for topic in socket.topics):
                socket.revoke()

    async def _report(self) -> None:
        while True:
            await gauges.report(sockets=self.count, fan_outs=list(self.hub.fan_outs))
            await asyncio.sleep(GAUGE_SECONDS)


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Sockets] = WeakKeyDictionary()


def here() -> Sockets:
    """The sockets of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _by_loop:
        _by_loop[loop] = Sockets()
    return _by_loop[loop]
