"""The socket as a browser sees it: a real server process, a real Redis, a real writer."""

from __future__ import annotations

import itertools
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.incidentops.realtime.conftest import wait_until
from tests.incidentops.realtime.follower import follow

_number = itertools.count(1)


@pytest.fixture
def viewer(live):
    return live.do("token", name=f"viewer {next(_number)}", role="viewer")["text"]


def _is_level(live):
    state = live.do("state")
    return lambda client: (
        client.epoch == state["epoch"]
        and client.position >= state["position"]
        and client.values == state["temperatures"]
    )


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
async def test_a_client_gets_a_snapshot_then_every_event_in_order(live, viewer, server):
    live.do("measure", place="oslo", degrees=1)
    async with follow(live.port(server), token=viewer) as client:
        first = await client.read_one()
        assert first["type"] == "snapshot"
        assert first["data"]["temperatures"]["oslo"] == 1
        live.do("measure", place="rome", degrees=20, count=30)
        await client.read(_is_level(live))
        assert client.values["rome"] == 49
        event = next(frame for frame in client.frames if frame["type"] == "batch")["events"][0]
        assert set(event) == {"position", "type", "at", "version", "data"}
        assert event["type"] == "weather.measured"


async def test_a_ping_is_answered_with_its_own_time(live, viewer):
    async with follow(live.port(), token=viewer) as client:
        await client.say(type="ping", t=12.5)
        await client.read(lambda client: {"type": "pong", "t": 12.5} in client.frames)


async def test_a_client_resumes_after_what_it_has(live, viewer):
    live.do("measure", place="oslo", degrees=1)
    async with follow(live.port(), token=viewer) as client:
        await client.read_one()
        live.do("measure", place="oslo", degrees=1, count=20)
        await client.read(_is_level(live))
        client.position -= 15
        await client.say(
            type="resume", topic="weather", epoch=client.epoch, position=client.position
        )
        await client.read(_is_level(live))
        assert client.kinds().count("snapshot") == 1


async def test_positions_older_than_the_process_are_resumed_from_the_database(live, viewer):
    live.do("measure", place="bern", degrees=1, count=20)
    wait_until(lambda: not live.do("state")["unpositioned"], what="the relay")
    async with follow(live.port(), token=viewer) as client:
        await client.read_one()
        client.position -= 20
        await client.say(
            type="resume", topic="weather", epoch=client.epoch, position=client.position
        )
        await client.read(_is_level(live))
        assert client.kinds().count("snapshot") == 1


async def test_a_resume_in_an_unknown_epoch_is_answered_with_a_snapshot(live, viewer):
    async with follow(live.port(), token=viewer) as client:
        await client.read_one()
        await client.say(type="resume", topic="weather", epoch="of old", position=3)
        await client.read(lambda client: client.kinds().count("snapshot") == 2)


async def test_a_new_epoch_is_noticed_and_answered_with_a_snapshot(live, viewer):
    live.do("measure", place="oslo", degrees=1)
    async with follow(live.port(), token=viewer) as client:
        await client.read_one()
        live.do("new_epoch")
        await client.read(lambda client: client.epoch == "another")
        live.do("measure", place="oslo", degrees=7)
        await client.read(_is_level(live))


async def test_a_session_opens_the_socket_from_a_page_of_this_host(live):
    cookie = live.do("session", role="viewer")["cookie"]
    port = live.port()
    headers = {"Cookie": cookie}
    async with follow(port, headers=headers, origin=f"http://127.0.0.1:{port}") as client:
        assert (await client.read_one())["type"] == "snapshot"


async def test_cookies_of_other_programs_on_this_host_do_not_hide_the_session(live):
    cookie = live.do("session", role="viewer")["cookie"]
    port = live.port()
    headers = {"Cookie": f'prefs={{"rows": 20}}; {cookie}; x[0]=1'}
    async with follow(port, headers=headers, origin=f"http://127.0.0.1:{port}") as client:
        assert (await client.read_one())["type"] == "snapshot"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://127.0.0.1:1", "null", "http://127.0.0.1.evil.example", None],
)
async def test_a_session_from_another_origin_is_refused(live, origin):
    cookie = live.do("session", role="viewer")["cookie"]
    async with follow(live.port(), headers={"Cookie": cookie}, origin=origin) as client:
        assert await client.close_code() == 4403
        assert client.frames == []


async def test_a_token_from_another_origin_is_refused(live, viewer):
    async with follow(live.port(), token=viewer, origin="https://evil.example") as client:
        assert await client.close_code() == 4403


@pytest.mark.parametrize("headers", [{}, {"Cookie": "sessionid=unknown"}, {"Cookie": "a=b; ="}])
async def test_without_a_session_the_socket_closes_as_unauthenticated(live, headers):
    port = live.port()
    async with follow(port, headers=headers, origin=f"http://127.0.0.1:{port}") as client:
        assert await client.close_code() == 4401


@pytest.mark.parametrize("token", ["nonsense", "iop_" + "a" * 36])
async def test_an_unknown_token_closes_as_unauthenticated(live, token):
    async with follow(live.port(), token=token) as client:
        assert await client.close_code() == 4401


async def test_a_topic_beyond_ones_rights_is_refused(live, viewer):
    async with follow(live.port(), "dashboard=region:known", token=viewer) as client:
        assert await client.close_code() == 4403
        assert client.frames == []


async def test_a_user_without_a_role_is_refused(live):
    cookie, port = live.do("session", role=None)["cookie"], live.port()
    headers = {"Cookie": cookie}
    async with follow(port, headers=headers, origin=f"http://127.0.0.1:{port}") as client:
        assert await client.close_code() == 4403


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("dashboard=nothing", 4404),
        ("dashboard=region:nowhere", 4404),
        ("dashboard=weather&incident=x", 4404),
        ("dashboard=weather&incident=%00", 4404),
        ("", 4400),
    ],
)
async def test_what_is_not_there_is_refused(live, query, code):
    auditor = live.do("token", name=f"auditor {next(_number)}", role="auditor")["text"]
    async with follow(live.port(), query, token=auditor) as client:
        assert await client.close_code() == code


async def test_one_socket_follows_two_topics(live):
    auditor = live.do("token", name=f"auditor {next(_number)}", role="auditor")["text"]
    query = "dashboard=weather&dashboard=region:known"
    async with follow(live.port(), query, token=auditor, topic="region:known") as client:
        await client.read(lambda client: client.kinds().count("snapshot") == 2)
        live.do("measure", place="nice", degrees=25, region="known")
        live.do("measure", place="lyon", degrees=20)
        await client.read(lambda client: client.values.get("nice") == 25)
        assert "lyon" not in client.values


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("{", 4400),
        ("[]", 4400),
        ('{"type":"sing"}', 4400),
        ('{"type":"ack","topic":"weather","position":-1}', 4400),
        ('{"type":"ack","topic":"weather","position":true}', 4400),
        ('{"type":"resume","topic":1,"epoch":"","position":1}', 4400),
        ("[" * 10_000, 4400),
        (b"\x00", 4400),
        (json.dumps({"type": "ping", "t": "x" * 20_000}), 4429),
        (json.dumps({"type": "ping", "t": "x" * 200}), 4429),
    ],
)
async def test_a_frame_that_is_not_in_the_protocol_closes_the_socket(live, viewer, said, code):
    async with follow(live.port(), token=viewer) as client:
        await client.read_one()
        await client.socket.send(said)
        assert await client.close_code() == code


async def test_a_flood_of_messages_closes_the_socket(live, viewer):
    async with follow(live.port(), token=viewer) as client:
        for _ in range(1000):
            await client.socket.send('{"type":"ping","t":1}')
        assert await client.close_code() == 4429


async def test_lost_rights_reach_the_open_sockets_of_their_subject_alone(live, viewer):
    lost = live.do("token", name=f"lost {next(_number)}", role="viewer")
    async with (
        follow(live.port(), token=lost["text"]) as loser,
        follow(live.port(), token=viewer) as other,
    ):
        await loser.read_one()
        await other.read_one()
        live.do("revoke", subject=lost["subject"])
        assert await loser.close_code(seconds=5) == 4403
        assert loser.frames[-1] == {"type": "revoked"}
        live.do("measure", place="oslo", degrees=3)
        await other.read(_is_level(live))


async def test_an_idle_socket_lives_and_still_gets_events(live, viewer):
    async with follow(live.port(), token=viewer) as client:
        await client.read_one()
        await client.listen(12)
        live.do("measure", place="oslo", degrees=-12)
        await client.read(_is_level(live))
        assert client.kinds().count("snapshot") == 1
        await client.read(lambda client: "heartbeat" in client.kinds(), seconds=20)


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


async def test_clients_that_stop_reading_cost_little_and_converge_later(live, viewer):
    """Ten stalled clients, 6 MB of events each: unbounded queues would hold 60 MB."""
    port = live.port()
    async with AsyncExitStack() as stack:
        stalled = [
            await stack.enter_async_context(
                follow(port, token=viewer, max_queue=1, compression=None)
            )
            for _ in range(10)
        ]
        healthy = await stack.enter_async_context(follow(port, token=viewer))
        for client in [*stalled, healthy]:
            await client.read_one()
        before = _resident_mb(live.pid())
        for round in range(15):
            live.do("measure", place=f"far {round % 3}", degrees=0, count=50, pad=8000)
            await healthy.read(_is_level(live))
        assert _resident_mb(live.pid()) - before < 30
        assert healthy.kinds().count("snapshot") == 1
        for client in stalled:
            await client.read(_is_level(live))
        assert any(client.kinds().count("snapshot") > 1 for client in stalled)


async def test_a_killed_and_emptied_redis_delays_events_and_loses_none(live, viewer):
    async with follow(live.port(), token=viewer) as client:
        await client.read_one()
        live.kill_redis()
        try:
            live.do("measure", place="oslo", degrees=100, count=5)
            await client.read(_is_level(live))
        finally:
            live.start_redis()
        live.do("measure", place="oslo", degrees=200, count=5)
        await client.read(_is_level(live))
        assert client.kinds().count("snapshot") == 1


async def test_a_new_socket_opens_while_redis_is_away(live, viewer):
    live.kill_redis()
    try:
        async with follow(live.port(), token=viewer) as client:
            assert (await client.read_one())["type"] == "snapshot"
            live.do("measure", place="oslo", degrees=300)
            await client.read(_is_level(live))
    finally:
        live.start_redis()


async def test_the_process_tells_others_of_its_sockets(live, viewer):
    async with follow(live.port(), token=viewer) as client:
        await client.read_one()
        wait_until(lambda: sum(live.do("processes")) >= 1, what="the report")


async def test_no_other_path_is_a_socket(live, viewer):
    url = f"ws://127.0.0.1:{live.port()}/other"
    with pytest.raises(InvalidStatus):
        await connect(url, additional_headers={"Authorization": f"Bearer {viewer}"})
