"""The socket of the dashboards: authenticate, subscribe, answer.

A plain ASGI application: a Channels consumer would open a channel per socket and hop to a thread
for every message it gets.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from incidentops.realtime import frames, sockets, topics
from incidentops.realtime.hub import Client
from incidentops.realtime.sockets import Authenticate, Identity, Refused, Scope

BAD_REQUEST, UNAUTHENTICATED, FORBIDDEN, NOT_FOUND, TOO_MUCH = 4400, 4401, 4403, 4404, 4429
GONE = 1011

MAX_FRAME_BYTES = 16 * 1024
# Pongs have no part in the credit: who pings and does not read must not fill our memory with them.
MAX_PONG = 128
MESSAGES_PER_SECOND, MESSAGES_AT_ONCE = 200.0, 400.0
# A resume may cost a query each time.
RESUMES_PER_SECOND, RESUMES_AT_ONCE = 2.0, 20.0

Receive = Callable[[], Awaitable[dict[str, Any]]]
SendMessage = Callable[[dict[str, Any]], Awaitable[None]]


class Allowance:
    """A token bucket: `burst` at once, then `rate` a second."""

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst = rate, burst
        self.left, self.at = burst, now

    def take(self, now: float) -> bool:
        self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


def topics_of(query: str) -> list[str]:
    """The topics a connection asks for, from its query string.

    Raises:
        Refused: it asks for none, or for something that is not there.
    """
    asked = parse_qs(query)
    names = list(dict.fromkeys(asked.get("dashboard", [])))
    for number in dict.fromkeys(asked.get("incident", [])):
        if not (number.isascii() and number.isdigit() and len(number) <= 18):
            raise Refused(NOT_FOUND, "No such incident.")
        names.append(f"incident:{int(number)}")
    if not names:
        raise Refused(BAD_REQUEST, "Name a dashboard.")
    if len(names) > 4 or not all(topics.find(name) for name in names):
        raise Refused(NOT_FOUND, "No such dashboard.")
    return names


def live(authenticate: Authenticate) -> Callable[[Scope, Receive, SendMessage], Awaitable[None]]:
    """The socket as an ASGI application that lets in whom `authenticate` knows."""

    async def application(scope: Scope, receive: Receive, send: SendMessage) -> None:
        here = sockets.here()
        here.start(authenticate)
        here.count += 1
        try:
            await _LiveSocket(scope, receive, send, here).serve(authenticate)
        finally:
            here.count -= 1

    return application


class _LiveSocket:
    def __init__(
        self, scope: Scope, receive: Receive, send: SendMessage, here: sockets.Sockets
    ) -> None:
        self.scope = scope
        self.here = here
        self.topics: list[str] = []
        self.identity = Identity(subject="", credential="", permissions=frozenset())
        self._receive = receive
        self._send = send
        self._client: Client | None = None
        self._is_closing = False
        self._closing: asyncio.Task[None] | None = None
        now = asyncio.get_running_loop().time()
        self._messages = Allowance(rate=MESSAGES_PER_SECOND, burst=MESSAGES_AT_ONCE, now=now)
        self._resumes = Allowance(rate=RESUMES_PER_SECOND, burst=RESUMES_AT_ONCE, now=now)

    async def serve(self, authenticate: Authenticate) -> None:
        await self._receive()
        # A socket that is refused before it is accepted sees an HTTP status and no close code.
        await self._send({"type": "websocket.accept"})
        try:
            await self._let_in(authenticate)
            while (message := await self._receive())["type"] != "websocket.disconnect":
                await self._hear(message)
        except Refused as refused:
            await self._close(refused.code, str(refused))
            # The server tells of the end of the closing handshake, or of a peer that is gone.
            while (await self._receive())["type"] != "websocket.disconnect":
                pass
        finally:
            self._let_go()

    async def _let_in(self, authenticate: Authenticate) -> None:
        if self.here.count > sockets.MAX_SOCKETS:
            raise Refused(TOO_MUCH, "Too many connections.")
        self.identity = await authenticate(self.scope)
        self.topics = topics_of(self.scope.get("query_string", b"").decode("latin-1"))
        if not all(self.identity.may_read(topic) for topic in self.topics):
            raise Refused(FORBIDDEN, "You may not read this.")
        self.here.open.add(self)
        self._client = self.here.hub.connect(self.topics, self._send_text, self._ended)

    def _let_go(self) -> None:
        self.here.open.discard(self)
        if self._client is not None:
            self.here.hub.disconnect(self._client)
            self._client = None

    # Outbound ---------------------------------------------------------------------------------

    async def _send_text(self, text: str) -> None:
        if not self._is_closing:
            await self._send({"type": "websocket.send", "text": text})

    async def _close(self, code: int, reason: str) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self._let_go()
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def _ended(self, topic: str | None) -> None:
        if topic is None:
            self._closing = asyncio.create_task(self._close(GONE, "Not reachable."))
        else:
            self._closing = asyncio.create_task(self._close(NOT_FOUND, f"No such topic: {topic}."))

    def revoke(self) -> None:
        """The subject has lost its rights: say so and close."""
        self._closing = asyncio.create_task(self._revoke())

    async def _revoke(self) -> None:
        await self._send_text(frames.REVOKED)
        await self._close(FORBIDDEN, "Your rights have changed.")

    # Inbound ----------------------------------------------------------------------------------

    async def _hear(self, message: dict[str, Any]) -> None:
        if self._is_closing or self._client is None:
            return
        now = asyncio.get_running_loop().time()
        if not self._messages.take(now):
            raise Refused(TOO_MUCH, "Too many messages.")
        said = _parse(message)
        match said.get("type"):
            case "ping":
                pong = frames.pong(said.get("t"))
                if len(pong) > MAX_PONG:
                    raise Refused(TOO_MUCH, "t is too long.")
                await self._send_text(pong)
            case "ack":
                self.here.hub.acknowledge(self._client, _text(said, "topic"), _position(said))
            case "resume":
                if not self._resumes.take(now):
                    raise Refused(TOO_MUCH, "Too many resumes.")
                self.here.hub.resume(
                    self._client, _text(said, "topic"), _text(said, "epoch"), _position(said)
                )
            case _:
                raise Refused(BAD_REQUEST, "Unknown type.")


def _parse(message: dict[str, Any]) -> dict[str, Any]:
    text, data = message.get("text"), message.get("bytes")
    size = len(text.encode()) if text is not None else len(data or b"")
    if size > MAX_FRAME_BYTES:
        raise Refused(TOO_MUCH, "Frame too large.")
    if text is None:
        raise Refused(BAD_REQUEST, "Not a text frame.")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise Refused(BAD_REQUEST, "Not JSON.") from None
    if not isinstance(said, dict):
        raise Refused(BAD_REQUEST, "Not an object.")
    return said


def _text(said: dict[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str):
        raise Refused(BAD_REQUEST, f"{name} must be a string.")
    return value


def _position(said: dict[str, Any]) -> int:
    value = said.get("position")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise Refused(BAD_REQUEST, "position must be a number.")
    return value
