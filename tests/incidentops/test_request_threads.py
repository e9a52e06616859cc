from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from incidentops import request_threads
from incidentops.request_threads import KeptThread


@pytest.fixture(autouse=True)
def no_thread_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_threads, "_idle", type(request_threads._idle)())


async def in_a_request(work: Callable[[], Any]) -> Any:
    async with KeptThread():
        return await sync_to_async(work)()


def test_one_request_after_the_other_runs_in_the_same_thread() -> None:
    async def ask() -> list[int]:
        return [await in_a_request(threading.get_ident) for _ in range(3)]

    assert len({threading.get_ident(), *asyncio.run(ask())}) == 2


def test_all_work_of_a_request_runs_in_one_thread() -> None:
    async def ask() -> set[int]:
        async with KeptThread():
            return {await sync_to_async(threading.get_ident)() for _ in range(3)}

    assert len(asyncio.run(ask())) == 1


def test_requests_at_the_same_time_do_not_wait_for_each_other() -> None:
    everybody = threading.Barrier(3)

    async def ask() -> None:
        await asyncio.gather(*(in_a_request(lambda: everybody.wait(10)) for _ in range(3)))

    asyncio.run(ask())


def test_a_request_that_was_broken_off_keeps_its_thread_until_its_work_has_ended() -> None:
    begun, go_on = threading.Event(), threading.Event()
    busy: list[int] = []

    def work() -> None:
        busy.append(threading.get_ident())
        begun.set()
        assert go_on.wait(10)

    async def ask() -> tuple[int, int]:
        broken_off = asyncio.create_task(in_a_request(work))
        await asyncio.to_thread(begun.wait, 10)
        broken_off.cancel()
        await asyncio.wait([broken_off])
        meanwhile = await in_a_request(threading.get_ident)
        go_on.set()
        while len(request_threads._idle) < 2:
            await asyncio.sleep(0)
        return meanwhile, await in_a_request(threading.get_ident)

    meanwhile, afterwards = asyncio.run(ask())
    assert meanwhile != busy[0]
    assert afterwards == busy[0]


def test_only_so_many_threads_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_threads, "MOST_IDLE", 2)
    everybody = threading.Barrier(4)

    async def ask() -> None:
        await asyncio.gather(*(in_a_request(lambda: everybody.wait(10)) for _ in range(4)))

    asyncio.run(ask())
    assert len(request_threads._idle) == 2
