"""Fan-out of topics to many sockets: one hub per process and event loop.

Pure asyncio. What it needs from outside are two ports: `Storage`, which knows what was positioned,
and `Bus`, which brings hints of it quickly and may lose any of them. Positions are dense, so a loss
shows as a gap, or as a head in storage beyond ours, and is repaired from storage.

Events lie once, as text, in a bounded ring per topic; a client is a cursor into it. Frames leave in
ticks: at once when the hub is idle, at least `spacing` apart under load, one frame per client and
tick. A server may take frames faster than its client reads, so clients acknowledge positions: too
many unacknowledged frames and a client gets nothing more until it acknowledges. Who then finds its
cursor fallen off the ring gets the topic's latest state instead of its history.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from incidentops.realtime import frames

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Head:
    epoch: str
    position: int


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a topic that holds at least every event up to `position`; `data` is JSON text."""

    epoch: str
    position: int
    data: str


class NoSuchTopic(LookupError):
    """A topic's key names nothing; the first argument is the topic."""


class Storage(Protocol):
    """The source of truth. Methods raise when it cannot be reached."""

    async def heads(self, topics: list[str]) -> dict[str, Head]: ...

    async def entries(self, topic: str, *, after: int, limit: int) -> list[tuple[int, str]]:
        """(position, event text) in order; what retention removed is missing."""
        ...

    async def snapshot(self, topic: str) -> Snapshot:
        """Raises NoSuchTopic."""
        ...


class Bus(Protocol):
    """Brings `Hub.offer` what is positioned while a topic is joined. Methods raise on failure."""

    async def join(self, topic: str) -> None: ...

    async def leave(self, topic: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Times are in seconds."""

    spacing: float = 0.025
    longest_spacing: float = 0.5
    ring_events: int = 1024
    ring_bytes: int = 4 * 2**20
    frame_events: int = 200
    frame_bytes: int = 64 * 2**10
    credit_frames: int = 32
    # Counted at `frame_bytes` at most per frame, so that who acknowledges every eighth frame, as
    # asked, never runs dry, however large a single event or snapshot is.
    credit_bytes: int = 2**20
    replayed_events: int = 1000
    head_check: float = 1.0
    heartbeat: float = 15.0
    snapshot_age: float = 1.0
    retry: float = 1.0
    bus_timeout: float = 5.0


Send = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class _Frame:
    last: int
    text: str


class Subscription:
    """A client's cursor into one topic. `epoch` is None when it needs a snapshot."""

    __slots__ = (
        "client",
        "cursor",
        "epoch",
        "has_heartbeat_due",
        "has_started",
        "is_replaying",
        "stream",
        "unacknowledged",
        "unacknowledged_bytes",
    )

    def __init__(self, client: Client, stream: Stream) -> None:
        self.client = client
        self.stream = stream
        self.epoch: str | None = None
        self.cursor = 0
        self.has_started = False
        self.is_replaying = False
        self.has_heartbeat_due = False
        self.unacknowledged: deque[tuple[int, int]] = deque()
        self.unacknowledged_bytes = 0

    def has_credit(self, limits: Limits) -> bool:
        return (
            len(self.unacknowledged) < limits.credit_frames
            and self.unacknowledged_bytes < limits.credit_bytes
        )

    def is_due(self) -> bool:
        """Whether there is something to send, credit aside."""
        if self.epoch is None:
            return True
        if self.epoch != self.stream.epoch:
            return False
        return self.cursor < self.stream.head or self.has_heartbeat_due

    def sent(self, last: int, size: int) -> None:
        self.unacknowledged.append((last, size))
        self.unacknowledged_bytes += size

    def acknowledge(self, position: int) -> None:
        while self.unacknowledged and self.unacknowledged[0][0] <= position:
            self.unacknowledged_bytes -= self.unacknowledged.popleft()[1]

    def forget_unacknowledged(self) -> None:
        self.unacknowledged.clear()
        self.unacknowledged_bytes = 0


class Client:
    """One socket: its subscriptions and the task that writes to it.

    `ended` is called once when the hub cannot serve it any more: with the name of a topic that does
    not exist, or None when the socket does not take frames.
    """

    def __init__(self, send: Send, ended: Callable[[str | None], None]) -> None:
        self.send = send
        self.ended = ended
        self.subscriptions: dict[str, Subscription] = {}
        self.wake = asyncio.Event()
        self.writer: asyncio.Task[None] | None = None
        self.turn = 0

    def in_turn(self) -> list[Subscription]:
        """The subscriptions, another one first each time, so that none starves the others."""
        subscriptions = list(self.subscriptions.values())
        if len(subscriptions) < 2:
            return subscriptions
        self.turn = (self.turn + 1) % len(subscriptions)
        return subscriptions[self.turn :] + subscriptions[: self.turn]


class Stream:
    """One topic in this process: the newest events, as texts, and who follows them.

    `epoch` is None until storage has told where the topic stands.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.epoch: str | None = None
        self.head = 0
        self.ring: deque[str] = deque()
        self.ring_size = 0
        self.subscriptions: set[Subscription] = set()
        self.frames: dict[int, _Frame] = {}
        self.snapshot: Snapshot | None = None
        self.snapshot_text = ""
        self.snapshot_at = 0.0
        self.taking: asyncio.Task[Snapshot] | None = None
        self.needs_repair = False
        self.repairing: asyncio.Task[None] | None = None

    @property
    def first(self) -> int:
        """The position of the oldest event in the ring; head + 1 when it is empty."""
        return self.head - len(self.ring) + 1

    def append(self, texts: Iterable[str], limits: Limits) -> None:
        for text in texts:
            self.ring.append(text)
            self.ring_size += len(text)
            self.head += 1
        while self.ring and (
            len(self.ring) > limits.ring_events or self.ring_size > limits.ring_bytes
        ):
            self.ring_size -= len(self.ring.popleft())

    def stand_at(self, head: Head) -> None:
        """Go on from `head` without what led there."""
        self.epoch, self.head = head.epoch, head.position
        self.ring.clear()
        self.ring_size = 0
        self.frames.clear()

    def frame_after(self, cursor: int, limits: Limits, sent_at: int) -> _Frame:
        """The next batch for whoever has everything up to `cursor`, shared within a tick."""
        frame = self.frames.get(cursor)
        if frame is None:
            texts: list[str] = []
            size = 0
            for index in range(cursor + 1 - self.first, len(self.ring)):
                text = self.ring[index]
                size += len(text)
                if texts and (size > limits.frame_bytes or len(texts) >= limits.frame_events):
                    break
                texts.append(text)
            frame = self._frame(cursor, texts, sent_at)
            if len(self.frames) < 16:
                self.frames[cursor] = frame
        return frame

    def _frame(self, cursor: int, texts: list[str], sent_at: int) -> _Frame:
        last = cursor + len(texts)
        text = frames.batch(
            self.topic,
            self.epoch or "",
            first=cursor + 1,
            last=last,
            sent_at=sent_at,
            events=texts,
        )
        return _Frame(last, text)

    def replayed(self, rows: list[tuple[int, str]], cursor: int, sent_at: int) -> _Frame | None:
        """A batch from stored rows, None when they do not follow `cursor` without a gap."""
        if not rows or rows[0][0] != cursor + 1 or rows[-1][0] != cursor + len(rows):
            return None
        return self._frame(cursor, [text for _, text in rows], sent_at)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Hub:
    def __init__(self, *, storage: Storage, bus: Bus, limits: Limits | None = None) -> None:
        self.storage = storage
        self.bus = bus
        self.limits = limits or Limits()
        self.clients: set[Client] = set()
        # Seconds from a tick to the last socket that took its frame, newest last.
        self.fan_outs: deque[float] = deque(maxlen=512)
        self._streams: dict[str, Stream] = {}
        self._joined: set[str] = set()
        self._membership = asyncio.Event()
        self._dirty: set[Stream] = set()
        self._due: set[Client] = set()
        self._timer: asyncio.Handle | None = None
        self._ticked_at = float("-inf")
        self._fan_out = 0.0
        self._heartbeat_at = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_running = False
        self._troubles: set[str] = set()

    # Clients ----------------------------------------------------------------------------------

    def connect(
        self, topics: Iterable[str], send: Send, ended: Callable[[str | None], None]
    ) -> Client:
        """Serve a socket: first a snapshot of each topic, then what follows it."""
        self._start()
        client = Client(send, ended)
        for topic in topics:
            stream = self._streams.get(topic)
            if stream is None:
                stream = self._streams[topic] = Stream(topic)
                self._membership.set()
                self.repair(stream)
            subscription = Subscription(client, stream)
            client.subscriptions[topic] = subscription
            stream.subscriptions.add(subscription)
        self.clients.add(client)
        client.writer = self._spawn(self._write(client))
        self._wake(client)
        return client

    def disconnect(self, client: Client) -> None:
        self.clients.discard(client)
        self._due.discard(client)
        for subscription in client.subscriptions.values():
            stream = subscription.stream
            stream.subscriptions.discard(subscription)
            if not stream.subscriptions and self._streams.get(stream.topic) is stream:
                del self._streams[stream.topic]
                self._membership.set()
        client.subscriptions.clear()
        if client.writer is not None:
            client.writer.cancel()

    def acknowledge(self, client: Client, topic: str, position: int) -> None:
        if subscription := client.subscriptions.get(topic):
            subscription.acknowledge(position)
            if subscription.is_due():
                self._wake(client)

    def resume(self, client: Client, topic: str, epoch: str, position: int) -> None:
        """Go on after `position`: by events where the ring or storage has them, else by snapshot."""
        subscription = client.subscriptions.get(topic)
        if subscription is None or not subscription.has_started:
            return
        subscription.forget_unacknowledged()
        stream = subscription.stream
        if epoch == stream.epoch and position <= stream.head:
            subscription.epoch, subscription.cursor = epoch, position
            subscription.is_replaying = True
        else:
            subscription.epoch = None
            self.repair(stream)
        self._wake(client)

    async def stop(self) -> None:
        for client in list(self.clients):
            self.disconnect(client)
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Events -----------------------------------------------------------------------------------

    def offer(self, topic: str, epoch: str, first: int, texts: list[str]) -> None:
        """Take what the bus brought: events of `topic` from position `first` on."""
        stream = self._streams.get(topic)
        if stream is None:
            return
        if epoch != stream.epoch or first > stream.head + 1:
            self.repair(stream)
            return
        fresh = texts[stream.head + 1 - first :]
        if fresh:
            stream.append(fresh, self.limits)
            self._touch(stream)

    def repair(self, stream: Stream) -> None:
        """Bring a stream to where storage stands. Calls during a repair make one more round."""
        stream.needs_repair = True
        if stream.repairing is None:
            stream.repairing = self._spawn(self._repair(stream))

    async def check_heads(self) -> None:
        """Compare every stream with storage; the way a lost last message is found."""
        before = {topic: stream.head for topic, stream in self._streams.items()}
        if not before:
            return
        for topic, head in (await self.storage.heads(list(before))).items():
            stream = self._streams.get(topic)
            if stream is None:
                continue
            has_moved = head.position > stream.head or head.position < before[topic]
            if head.epoch != stream.epoch or has_moved:
                self.repair(stream)

    def beat(self) -> None:
        """Let every client know its topics' heads, as soon as it has what leads there."""
        for stream in self._streams.values():
            for subscription in stream.subscriptions:
                subscription.has_heartbeat_due = True
            self._touch(stream)

    # Ticks and writers ------------------------------------------------------------------------

    def _touch(self, stream: Stream) -> None:
        self._dirty.add(stream)
        self._arm()

    def _wake(self, client: Client) -> None:
        self._due.add(client)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        # A window shorter than the fan-out itself would only queue up frames.
        spacing = max(self.limits.spacing, 2 * self._fan_out)
        wait = self._ticked_at + min(spacing, self.limits.longest_spacing) - loop.time()
        self._timer = loop.call_soon(self._tick) if wait <= 0 else loop.call_later(wait, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._fan_out:
            self.fan_outs.append(self._fan_out)
        self._fan_out = 0.0
        self._ticked_at = asyncio.get_running_loop().time()
        due, self._due = self._due, set()
        dirty, self._dirty = self._dirty, set()
        for stream in self._streams.values():
            stream.frames.clear()
        for stream in dirty:
            due.update(subscription.client for subscription in stream.subscriptions)
        for client in due:
            client.wake.set()

    async def _write(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await client.wake.wait()
            client.wake.clear()
            tick = self._ticked_at
            try:
                text = await self._next_text(client)
            except NoSuchTopic as error:
                client.ended(str(error))
                return
            except Exception as error:  # noqa: BLE001  # storage is away, in whatever way it says so
                self._note_trouble("storage", error)
                loop.call_later(self.limits.retry, self._wake, client)
                continue
            if text is not None:
                try:
                    await client.send(text)
                except (OSError, RuntimeError):
                    # The server's words for a socket that is gone.
                    client.ended(None)
                    return
            if text is not None and tick == self._ticked_at:
                self._fan_out = loop.time() - tick
            if self._has_work(client):
                self._wake(client)

    def _has_work(self, client: Client) -> bool:
        return any(
            subscription.is_due() and subscription.has_credit(self.limits)
            for subscription in client.subscriptions.values()
        )

    async def _next_text(self, client: Client) -> str | None:
        for subscription in client.in_turn():
            if subscription.is_due() and subscription.has_credit(self.limits):
                text = await self._text_for(subscription)
                if text is not None:
                    return text
        return None

    async def _text_for(self, subscription: Subscription) -> str | None:
        stream = subscription.stream
        if subscription.epoch is None:
            return await self._snapshot_for(subscription)
        if subscription.cursor >= stream.head:
            subscription.has_heartbeat_due = False
            # Just after a snapshot a client may be ahead of the stream.
            head = max(stream.head, subscription.cursor)
            return frames.heartbeat(stream.topic, position=head, server_time=_now_ms())
        cursor = subscription.cursor
        frame: _Frame | None = None
        if cursor + 1 >= stream.first:
            frame = stream.frame_after(cursor, self.limits, _now_ms())
        elif subscription.is_replaying and stream.head - cursor <= self.limits.replayed_events:
            rows = await self.storage.entries(
                stream.topic, after=cursor, limit=self.limits.frame_events
            )
            if subscription.cursor != cursor or subscription.epoch != stream.epoch:
                return None
            frame = stream.replayed(rows, cursor, _now_ms())
        if frame is None:
            subscription.epoch = None
            return await self._snapshot_for(subscription)
        subscription.cursor = frame.last
        subscription.sent(frame.last, min(len(frame.text), self.limits.frame_bytes))
        return frame.text

    # Snapshots --------------------------------------------------------------------------------

    async def _snapshot_for(self, subscription: Subscription) -> str:
        stream = subscription.stream
        snapshot = await self._snapshot(stream, at_least=subscription.cursor)
        subscription.epoch, subscription.cursor = snapshot.epoch, snapshot.position
        subscription.has_started = True
        subscription.is_replaying = False
        subscription.forget_unacknowledged()
        if snapshot.epoch != stream.epoch or snapshot.position > stream.head:
            self.repair(stream)
        text = (
            stream.snapshot_text
            if snapshot is stream.snapshot
            else self._text_of(stream.topic, snapshot)
        )
        subscription.sent(snapshot.position, min(len(text), self.limits.frame_bytes))
        return text

    async def _snapshot(self, stream: Stream, *, at_least: int) -> Snapshot:
        """The topic's state, shared by everyone who asks within a short time.

        A held one serves as long as the ring has all that followed it.
        """
        held = stream.snapshot
        age = asyncio.get_running_loop().time() - stream.snapshot_at
        if (
            held is not None
            and age <= self.limits.snapshot_age
            and held.epoch == stream.epoch
            and held.position >= max(at_least, stream.first - 1)
        ):
            return held
        if stream.taking is None:
            stream.taking = self._spawn(self._take(stream))
        return await asyncio.shield(stream.taking)

    async def _take(self, stream: Stream) -> Snapshot:
        try:
            snapshot = await self.storage.snapshot(stream.topic)
        finally:
            stream.taking = None
        if stream.epoch is None:
            # Go on from here: a head read later would skip what came between the two.
            stream.stand_at(Head(epoch=snapshot.epoch, position=snapshot.position))
        stream.snapshot = snapshot
        stream.snapshot_text = self._text_of(stream.topic, snapshot)
        stream.snapshot_at = asyncio.get_running_loop().time()
        return snapshot

    @staticmethod
    def _text_of(topic: str, snapshot: Snapshot) -> str:
        return frames.snapshot(
            topic, snapshot.epoch, position=snapshot.position, data=snapshot.data
        )

    # Repair -----------------------------------------------------------------------------------

    async def _repair(self, stream: Stream) -> None:
        try:
            while stream.needs_repair:
                stream.needs_repair = False
                before = stream.head
                head = (await self.storage.heads([stream.topic])).get(stream.topic)
                if head is not None:
                    await self._bring_to(stream, head, before)
                    self._realign(stream)
                    self._touch(stream)
            self._troubles.discard("storage")
        except Exception as error:  # noqa: BLE001  # storage is away; the next check of heads comes back to it
            self._note_trouble("storage", error)
        finally:
            stream.repairing = None

    async def _bring_to(self, stream: Stream, head: Head, before: int) -> None:
        # Offers may have moved the stream since `head` was read, but not below `before`.
        if head.epoch != stream.epoch or head.position < before:
            stream.stand_at(head)
        while stream.head < head.position:
            if head.position - stream.head > self.limits.ring_events:
                stream.stand_at(head)
                return
            rows = await self.storage.entries(
                stream.topic, after=stream.head, limit=self.limits.ring_events
            )
            fresh = [(position, text) for position, text in rows if position > stream.head]
            if stream.head >= head.position:
                return
            if not fresh or fresh[0][0] != stream.head + 1:
                stream.stand_at(head)
                return
            stream.append((text for _, text in fresh), self.limits)

    def _realign(self, stream: Stream) -> None:
        """Whoever stands in another epoch, or beyond the head, needs a snapshot."""
        for subscription in stream.subscriptions:
            if subscription.epoch is None:
                continue
            if subscription.epoch != stream.epoch or subscription.cursor > stream.head:
                subscription.epoch, subscription.cursor = None, 0

    # Life -------------------------------------------------------------------------------------

    def _start(self) -> None:
        if not self._is_running:
            self._is_running = True
            self._spawn(self._keep_membership())
            self._spawn(self._watch())

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.limits.head_check)
            try:
                await self.check_heads()
            except Exception as error:  # noqa: BLE001  # without storage there is no head to tell
                self._note_trouble("storage", error)
                continue
            if loop.time() - self._heartbeat_at >= self.limits.heartbeat:
                self._heartbeat_at = loop.time()
                self.beat()

    async def _keep_membership(self) -> None:
        """Join and leave groups, one after the other, until they are those that have clients."""
        while True:
            await self._membership.wait()
            self._membership.clear()
            try:
                async with asyncio.timeout(self.limits.bus_timeout):
                    await self._join_and_leave()
                self._troubles.discard("bus")
            except Exception as error:  # noqa: BLE001  # the bus is away; checks of heads serve meanwhile
                self._note_trouble("bus", error)
                asyncio.get_running_loop().call_later(self.limits.retry, self._membership.set)

    async def _join_and_leave(self) -> None:
        for topic in self._joined - self._streams.keys():
            await self.bus.leave(topic)
            self._joined.discard(topic)
        for topic in self._streams.keys() - self._joined:
            await self.bus.join(topic)
            self._joined.add(topic)
            if stream := self._streams.get(topic):
                # What was positioned before the join took hold did not reach us.
                self.repair(stream)

    def _note_trouble(self, what: str, error: BaseException) -> None:
        """Log an outage once."""
        if what not in self._troubles:
            self._troubles.add(what)
            logger.warning("The live path has lost its %s: %r", what, error)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Those who await it see the error; nobody awaiting is no error.
            task.exception()
