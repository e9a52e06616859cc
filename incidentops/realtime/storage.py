"""The hub's ports on Django and Channels: positions from the database, hints from the layer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from channels.db import database_sync_to_async
from channels.layers import get_channel_layer

from incidentops.realtime import channel, control, frames, hub, topics
from incidentops.realtime.models import TopicEntry, TopicHead
from incidentops.realtime.names import group_of
from incidentops.realtime.outbox import text_of

logger = logging.getLogger(__name__)

# Sockets must not take the database's connections from the requests, however many they are.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="live-path")


def in_database(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a coroutine function, run in the few threads the sockets share."""
    awaitable: Callable[..., Any] = database_sync_to_async(
        function, thread_sensitive=False, executor=_threads
    )
    return awaitable


class TopicStorage:
    """Implements `hub.Storage`."""

    async def heads(self, names: list[str]) -> dict[str, hub.Head]:
        heads: dict[str, hub.Head] = await in_database(_heads)(names)
        return heads

    async def entries(self, topic: str, *, after: int, limit: int) -> list[tuple[int, str]]:
        rows: list[tuple[int, str]] = await in_database(_entries)(topic, after, limit)
        return rows

    async def snapshot(self, topic: str) -> hub.Snapshot:
        snapshot: hub.Snapshot = await in_database(_snapshot)(topic)
        return snapshot


def _heads(names: list[str]) -> dict[str, hub.Head]:
    return {
        head.topic: hub.Head(epoch=head.epoch, position=head.position)
        for head in TopicHead.objects.filter(topic__in=names)
    }


def _entries(topic: str, after: int, limit: int) -> list[tuple[int, str]]:
    rows = TopicEntry.objects.filter(topic=topic, position__gt=after).select_related("event")
    return [
        (
            entry.position,
            text_of(entry.event, position=entry.position, data=frames.dumps(entry.data)),
        )
        for entry in rows.order_by("position")[:limit]
    ]


def _snapshot(topic: str) -> hub.Snapshot:
    """The head is read before the data: the data may know more than the head, never less."""
    try:
        head = TopicHead.objects.filter(topic=topic).first()
        if head is None:
            # Not for a topic that does not exist.
            topics.snapshot(topic)
            head, _ = TopicHead.objects.get_or_create(topic=topic)
        data = topics.snapshot(topic)
    except LookupError:
        raise hub.NoSuchTopic(topic) from None
    return hub.Snapshot(epoch=head.epoch, position=head.position, data=frames.dumps(data))


class ChannelBus:
    """Implements `hub.Bus`: one channel of the layer for all of this process's sockets."""

    RETRY_SECONDS = 1.0

    def __init__(
        self,
        *,
        on_batch: Callable[[str, str, int, list[str]], None],
        on_revoke: Callable[[str], None],
    ) -> None:
        self._on_batch = on_batch
        self._on_revoke = on_revoke
        self._channel: str | None = None

    async def join(self, topic: str) -> None:
        if self._channel is None:
            raise ConnectionError("not subscribed yet")
        await self._layer().group_add(group_of(topic), self._channel)

    async def leave(self, topic: str) -> None:
        if self._channel is not None:
            await self._layer().group_discard(group_of(topic), self._channel)

    async def read(self) -> None:
        """Pass on what arrives, for ever. The layer itself comes back after its server was away."""
        channel_name = await self._subscribe()
        while True:
            self._pass_on(await self._layer().receive(channel_name))

    def _pass_on(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "batch":
                self._on_batch(
                    message["topic"], message["epoch"], message["first"], message["events"]
                )
            case "revoke":
                self._on_revoke(message["subject"])
            case channel.SEVERAL:
                for each in message["messages"]:
                    self._pass_on(each)

    async def _subscribe(self) -> str:
        is_logged = False
        while True:
            try:
                name: str = await self._layer().new_channel()
                await self._layer().group_add(control.GROUP, name)
            except Exception as error:  # noqa: BLE001  # whatever the layer's client raises while its server is away
                if not is_logged:
                    logger.warning("The channel layer cannot be subscribed to: %r", error)
                is_logged = True
                await asyncio.sleep(self.RETRY_SECONDS)
            else:
                self._channel = name
                return name

    @staticmethod
    def _layer() -> Any:
        return get_channel_layer()
