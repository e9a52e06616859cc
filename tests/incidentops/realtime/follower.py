"""A client of the live socket that keeps a topic's state, as the pages do, and checks every frame."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.narrowing import known


class Follower:
    """Call `read` until a condition holds. Frames of other topics than `topic` are only kept."""

    def __init__(self, socket: ClientConnection, topic: str = "weather") -> None:
        self.socket = socket
        self.topic = topic
        self.epoch = ""
        self.position = -1
        self.values: dict[str, int] = {}
        self.frames: list[dict] = []
        self.acknowledges = True

    def kinds(self) -> list[str]:
        return [frame["type"] for frame in self.frames]

    async def say(self, **message) -> None:
        await self.socket.send(json.dumps(message))

    async def read_one(self, seconds: float = 30.0) -> dict:
        async with asyncio.timeout(seconds):
            frame: dict = json.loads(await self.socket.recv())
        self.frames.append(frame)
        if frame.get("topic") == self.topic:
            await self.apply(frame)
        return frame

    async def apply(self, frame: dict) -> None:
        if frame["type"] == "snapshot":
            self.epoch, self.position = frame["epoch"], frame["position"]
            self.values = dict(frame["data"]["temperatures"])
        elif frame["type"] == "batch":
            positions = [event["position"] for event in frame["events"]]
            assert frame["epoch"] == self.epoch
            assert positions == list(range(frame["from"], frame["to"] + 1))
            assert frame["from"] == self.position + 1, "a gap or a repetition"
            self.position = frame["to"]
            for event in frame["events"]:
                self.values[event["data"]["place"]] = event["data"]["degrees"]
        elif frame["type"] == "heartbeat":
            if frame["position"] > self.position:
                await self.say(
                    type="resume", topic=self.topic, epoch=self.epoch, position=self.position
                )
            return
        if self.acknowledges:
            await self.say(type="ack", topic=self.topic, position=self.position)

    async def read(self, until, seconds: float = 30.0) -> Follower:
        try:
            async with asyncio.timeout(seconds):
                while not until(self):
                    await self.read_one(seconds)
        except TimeoutError:
            pytest.fail(f"Waited {seconds} s in vain; frames were {self.kinds()[-20:]}")
        return self

    async def listen(self, seconds: float) -> None:
        """Take what comes for a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await self.read_one(2 * seconds)

    async def close_code(self, seconds: float = 10.0) -> int:
        """Read to the end and tell with which code the server closed."""
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(seconds):
                while True:
                    await self.read_one(seconds)
        return known(self.socket.close_code)


@contextlib.asynccontextmanager
async def follow(port: int, query: str = "dashboard=weather", *, token="", **options):
    headers = dict(options.pop("headers", {}))
    if token:
        headers["Authorization"] = f"Bearer {token}"
    url = f"ws://127.0.0.1:{port}/dashboard/ws?{query}"
    topic = options.pop("topic", "weather")
    async with connect(url, additional_headers=headers, ping_interval=None, **options) as socket:
        yield Follower(socket, topic)
