"""The hub alone: whatever is lost, late, stalled or resumed, clients end where storage stands."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from incidentops.realtime.hub import Head, Hub, Limits, NoSuchTopic, Snapshot

TIGHT = Limits(
    spacing=0.0,
    ring_events=8,
    frame_events=3,
    credit_frames=4,
    replayed_events=16,
    head_check=3600,
    retry=0.001,
)


class World:
    """Storage and bus of one topic, "t", whose state is the newest number of each key."""

    def __init__(self) -> None:
        self.epoch = "e1"
        self.head = 0
        self.entries_kept: list[tuple[int, str]] = []
        self.values: dict[str, int] = {}
        self.is_down = False
        self.joined: set[str] = set()
        self.snapshots_taken = 0

    def publish(self, key: str) -> tuple[int, str]:
        self.head += 1
        number = max(self.values.values(), default=0) + 1
        self.values[key] = number
        entry = self.head, json.dumps({"position": self.head, "key": key, "number": number})
        self.entries_kept.append(entry)
        return entry

    def _reach(self) -> None:
        if self.is_down:
            raise TimeoutError("storage is away")

    async def heads(self, topics: list[str]) -> dict[str, Head]:
        self._reach()
        head = Head(epoch=self.epoch, position=self.head)
        await asyncio.sleep(0)
        return {"t": head} if "t" in topics else {}

    async def entries(self, topic: str, *, after: int, limit: int) -> list[tuple[int, str]]:
        self._reach()
        await asyncio.sleep(0)
        return [entry for entry in self.entries_kept if entry[0] > after][:limit]

    async def snapshot(self, topic: str) -> Snapshot:
        self._reach()
        if topic != "t":
            raise NoSuchTopic(topic)
        self.snapshots_taken += 1
        epoch, position = self.epoch, self.head
        await asyncio.sleep(0)
        return Snapshot(epoch=epoch, position=position, data=json.dumps(self.values))

    async def join(self, topic: str) -> None:
        self._reach()
        self.joined.add(topic)

    async def leave(self, topic: str) -> None:
        self.joined.discard(topic)


class Reader:
    """A client that checks each frame against what it holds. A stalled one does not take frames."""

    def __init__(self, hub: Hub, topic: str = "t") -> None:
        self.hub = hub
        self.position = -1
        self.epoch = ""
        self.values: dict[str, int] = {}
        self.kinds: list[str] = []
        self.taking = asyncio.Event()
        self.taking.set()
        self.acknowledges = True
        self.ended: list[str | None] = []
        self.client = hub.connect([topic], self.take, self.ended.append)

    async def take(self, text: str) -> None:
        await self.taking.wait()
        frame = json.loads(text)
        self.kinds.append(frame["type"])
        if frame["type"] == "snapshot":
            self.epoch, self.position = frame["epoch"], frame["position"]
            self.values = dict(frame["data"])
        elif frame["type"] == "batch":
            assert frame["epoch"] == self.epoch
            assert frame["from"] == self.position + 1
            assert [e["position"] for e in frame["events"]] == list(
                range(frame["from"], frame["to"] + 1)
            )
            self.position = frame["to"]
            for event in frame["events"]:
                self.values[event["key"]] = event["number"]
        if self.acknowledges:
            self.acknowledge()

    def acknowledge(self) -> None:
        self.hub.acknowledge(self.client, "t", self.position)

    def rewind(self, by: int) -> None:
        self.position = max(0, self.position - by)
        self.hub.resume(self.client, "t", self.epoch, self.position)

    def is_level_with(self, world: World) -> bool:
        return (self.epoch, self.position, self.values) == (
            world.epoch,
            world.head,
            world.values,
        )


async def settle(seconds: float = 0.001) -> None:
    await asyncio.sleep(seconds)


async def until(condition, seconds: float = 3.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await settle()


STEPS = st.one_of(
    st.tuples(
        st.just("publish"),
        st.integers(1, 12),
        st.sampled_from(["delivered", "lost", "twice", "reversed"]),
    ),
    st.tuples(
        st.sampled_from(["stall", "read", "mute", "speak", "rewind", "confuse", "leave"]),
        st.integers(0, 3),
        st.integers(0, 20),
    ),
    st.tuples(
        st.sampled_from(["connect", "check", "prune", "epoch", "down", "up", "beat"]),
        st.just(0),
        st.just(0),
    ),
)


async def play(steps) -> None:
    world = World()
    hub = Hub(storage=world, bus=world, limits=TIGHT)
    readers = [Reader(hub)]
    await settle()
    for (name, number, more), is_followed_by_rest in steps:
        await step(world, hub, readers, name, number, more)
        if is_followed_by_rest:
            await settle()
    world.is_down = False
    for reader in readers:
        reader.taking.set()
        reader.acknowledges = True
        reader.acknowledge()
    await settle()
    await hub.check_heads()
    try:
        await until(lambda: all(reader.is_level_with(world) for reader in readers))
    except TimeoutError:
        pytest.fail(f"{[(r.epoch, r.position, r.kinds) for r in readers]} but {world.head=}")
    finally:
        await hub.stop()


async def step(world, hub, readers, name, number, more) -> None:
    match name:
        case "publish":
            publish(world, hub, number, how=more)
        case "connect":
            readers.append(Reader(hub))
        case "check" if not world.is_down:
            await hub.check_heads()
        case "beat":
            hub.beat()
        case "prune":
            del world.entries_kept[:-3]
        case "epoch":
            world.epoch += "'"
        case "down" | "up":
            world.is_down = name == "down"
        case "leave" if len(readers) > 1:
            hub.disconnect(readers.pop(number % len(readers)).client)
        case _:
            await step_of(readers[number % len(readers)], name, more)


async def step_of(reader: Reader, name: str, more: int) -> None:
    match name:
        case "stall":
            reader.taking.clear()
        case "read":
            reader.taking.set()
        case "mute" | "speak":
            reader.acknowledges = name == "speak"
        case "rewind" if reader.taking.is_set() and reader.position > 0:
            await settle()
            reader.rewind(more)
        case "confuse":
            reader.hub.resume(reader.client, "t", "never", more)


def publish(world: World, hub: Hub, count: int, *, how: str) -> None:
    published = [world.publish(f"k{each % 5}") for each in range(count)]
    first, texts = published[0][0], [text for _, text in published]
    if how in ("delivered", "twice"):
        hub.offer("t", world.epoch, first, texts)
    if how == "twice":
        hub.offer("t", world.epoch, first, texts)
    if how == "reversed":
        for position, text in reversed(published):
            hub.offer("t", world.epoch, position, [text])


@given(st.lists(st.tuples(STEPS, st.booleans()), max_size=40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_course_of_losses_stalls_and_resumes_ends_in_the_servers_state(steps):
    asyncio.run(play(steps))


@pytest.fixture
async def world():
    return World()


@pytest.fixture
async def hub(world):
    hub = Hub(storage=world, bus=world, limits=TIGHT)
    yield hub
    await hub.stop()


def deliver(world: World, hub: Hub, count: int = 1) -> None:
    for number in range(count):
        position, text = world.publish(f"k{number}")
        hub.offer("t", world.epoch, position, [text])


async def test_a_group_is_joined_for_the_first_client_and_left_after_the_last(world, hub):
    first, second = Reader(hub), Reader(hub)
    await until(lambda: world.joined == {"t"})
    hub.disconnect(first.client)
    await settle()
    assert world.joined == {"t"}
    hub.disconnect(second.client)
    await until(lambda: not world.joined)


async def test_a_lost_last_event_is_found_by_the_check_of_heads(world, hub):
    reader = Reader(hub)
    await until(lambda: reader.is_level_with(world))
    world.publish("k")
    await settle()
    assert reader.position == 0
    await hub.check_heads()
    await until(lambda: reader.is_level_with(world))
    assert reader.kinds == ["snapshot", "batch"]


async def test_clients_that_come_together_share_one_snapshot(world, hub):
    deliver(world, hub, 5)
    readers = [Reader(hub) for _ in range(50)]
    await until(lambda: all(reader.is_level_with(world) for reader in readers))
    assert world.snapshots_taken == 1


async def test_who_does_not_acknowledge_gets_no_more_and_then_the_latest_state(world, hub):
    mute, other = Reader(hub), Reader(hub)
    await until(lambda: mute.is_level_with(world))
    mute.acknowledges = False
    for _ in range(30):
        deliver(world, hub)
        await until(lambda: other.is_level_with(world))
    assert len(mute.kinds) <= 1 + TIGHT.credit_frames
    assert len(mute.client.subscriptions["t"].unacknowledged) <= TIGHT.credit_frames
    assert other.kinds.count("snapshot") == 1
    mute.acknowledges = True
    mute.acknowledge()
    await until(lambda: mute.is_level_with(world))
    assert mute.kinds.count("snapshot") == 2


async def test_a_socket_that_takes_nothing_holds_up_nobody(world, hub):
    stalled, other = Reader(hub), Reader(hub)
    await until(lambda: other.is_level_with(world))
    stalled.taking.clear()
    for _ in range(50):
        deliver(world, hub)
        await until(lambda: other.is_level_with(world))
    assert other.kinds.count("snapshot") == 1


async def test_frames_leave_at_once_when_idle_and_apart_under_load(world):
    spacing = 0.4
    hub = Hub(storage=world, bus=world, limits=Limits(spacing=spacing))
    reader = Reader(hub)
    await until(lambda: reader.is_level_with(world))
    # Joining the group brings a second tick, one spacing after the first.
    await settle(2 * spacing)
    loop = asyncio.get_running_loop()
    started = loop.time()
    deliver(world, hub)
    await until(lambda: reader.position == 1)
    assert loop.time() - started < spacing
    for _ in range(100):
        deliver(world, hub)
        await settle()
    await until(lambda: reader.is_level_with(world))
    assert reader.kinds.count("batch") <= (loop.time() - started) / spacing + 2
    await hub.stop()


async def test_a_topic_that_does_not_exist_ends_the_client(world, hub):
    reader = Reader(hub, "nothing")
    await until(lambda: reader.ended == ["nothing"])


async def test_a_gone_socket_ends_its_client(world, hub):
    async def gone(text: str) -> None:
        raise ConnectionResetError

    ended: list[str | None] = []
    hub.connect(["t"], gone, ended.append)
    await until(lambda: ended == [None])


async def test_a_heartbeat_tells_the_head_after_what_leads_there(world, hub):
    reader = Reader(hub)
    await until(lambda: reader.is_level_with(world))
    hub.beat()
    await until(lambda: reader.kinds[-1] == "heartbeat")
    deliver(world, hub)
    hub.beat()
    await until(lambda: reader.kinds[-2:] == ["batch", "heartbeat"])


async def test_an_event_larger_than_a_frame_is_sent_alone(world):
    limits = Limits(spacing=0.0, frame_bytes=200, credit_bytes=3200)
    hub = Hub(storage=world, bus=world, limits=limits)
    reader = Reader(hub)
    await until(lambda: reader.is_level_with(world))
    for key in ("a", "b" * 1000, "c"):
        position, text = world.publish(key)
        hub.offer("t", world.epoch, position, [text])
    await until(lambda: reader.is_level_with(world))
    assert reader.kinds.count("batch") == 3
    await hub.stop()
