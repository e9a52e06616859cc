from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.core.signals import request_finished, request_started
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.utils.deprecation import MiddlewareMixin
from twisted.web import http

from incidentops import asgi

_asked_from_the_event_loop: list[bool] = []


class Looking(MiddlewareMixin):
    """Middleware that could run either way, as Django's own can."""

    def process_request(self, request: HttpRequest) -> None:
        _asked_from_the_event_loop.append(self.async_mode)


def view(request: HttpRequest) -> HttpResponse:
    _told.append(("view", threading.get_ident()))
    return HttpResponse("answer")


def endless(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"piece"
                await asyncio.sleep(0)
        finally:
            _told.append(("hung up", 0))

    return StreamingHttpResponse(pieces())


def short(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    return StreamingHttpResponse(pieces())


def broken(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"piece"
        raise ArithmeticError

    return StreamingHttpResponse(pieces())


urlpatterns = [
    path("view", view),
    path("endless", endless),
    path("short", short),
    path("broken", broken),
]
_told: list[tuple[str, int]] = []


@pytest.fixture
def bare(settings: Any) -> Iterator[None]:
    """Only the views above, and a note of each signal with the thread that gave it."""
    settings.ROOT_URLCONF, settings.MIDDLEWARE = __name__, []
    _told.clear()

    def begins(**_: Any) -> None:
        _told.append(("begins", threading.get_ident()))

    def ends(**_: Any) -> None:
        _told.append(("ends", threading.get_ident()))

    request_started.connect(begins)
    request_finished.connect(ends)
    yield
    request_started.disconnect(begins)
    request_finished.disconnect(ends)


def communicator_of(path: str) -> ApplicationCommunicator:
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    return ApplicationCommunicator(asgi._Http(), scope)


async def answer_to(path: str) -> tuple[int, bytes]:
    communicator = communicator_of(path)
    await communicator.send_input({"type": "http.request", "body": b""})
    start = await communicator.receive_output(10)
    body, more = b"", True
    while more:
        piece = await communicator.receive_output(10)
        body, more = body + piece.get("body", b""), piece.get("more_body", False)
    await communicator.wait(10)
    return start["status"], body


def test_a_request_goes_to_a_thread_once_and_not_for_each_middleware(settings: Any) -> None:
    settings.MIDDLEWARE = [f"{__name__}.Looking", *settings.MIDDLEWARE, f"{__name__}.Looking"]
    _asked_from_the_event_loop.clear()
    assert asyncio.run(answer_to("/healthz"))[0] == 200
    assert _asked_from_the_event_loop == [False, False]


@pytest.mark.usefixtures("bare")
def test_a_request_begins_is_answered_and_ends_once_in_one_thread() -> None:
    assert asyncio.run(answer_to("/view")) == (200, b"answer")
    assert [what for what, _ in _told] == ["begins", "view", "ends"]
    (thread,) = {thread for _, thread in _told}
    assert thread != threading.get_ident()


@pytest.mark.usefixtures("bare")
def test_a_streamed_answer_ends_after_its_last_piece() -> None:
    assert asyncio.run(answer_to("/short")) == (200, b"onetwo")
    assert [what for what, _ in _told] == ["begins", "ends"]


@pytest.mark.usefixtures("bare")
def test_a_streamed_answer_ends_when_its_reader_hangs_up() -> None:
    async def hang_up() -> None:
        communicator = communicator_of("/endless")
        await communicator.send_input({"type": "http.request", "body": b""})
        assert (await communicator.receive_output(10))["status"] == 200
        assert (await communicator.receive_output(10))["body"] == b"piece"
        await communicator.send_input({"type": "http.disconnect"})
        await communicator.wait(10)

    asyncio.run(hang_up())
    assert [what for what, _ in _told] == ["begins", "hung up", "ends"]


@pytest.mark.usefixtures("bare")
def test_a_streamed_answer_that_breaks_is_an_error_of_the_server() -> None:
    async def ask() -> None:
        communicator = communicator_of("/broken")
        await communicator.send_input({"type": "http.request", "body": b""})
        await communicator.wait(10)

    with pytest.raises(ArithmeticError):
        asyncio.run(ask())
    assert [what for what, _ in _told] == ["begins", "ends"]


@pytest.mark.usefixtures("bare")
def test_a_sender_that_hangs_up_before_its_body_ends_is_not_answered() -> None:
    async def hang_up() -> None:
        communicator = communicator_of("/view")
        await communicator.send_input({"type": "http.request", "body": b"{", "more_body": True})
        await communicator.send_input({"type": "http.disconnect"})
        await communicator.wait(10)
        assert await communicator.receive_nothing()

    asyncio.run(hang_up())
    assert _told == []


def test_the_type_of_a_body_is_taken_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # As Twisted came: another test may have loaded it together with our application.
    read: Any = getattr(http._parseContentType, "__wrapped__", http._parseContentType)
    monkeypatch.setattr(http, "_parseContentType", read)
    monkeypatch.setattr(http.HTTPFactory, "log", http.HTTPFactory.log)
    asgi._spare_twisted_some_work()
    asgi._spare_twisted_some_work()
    for kind in (
        b"application/json; charset=utf-8",
        b"multipart/form-data; boundary=x",
        b"",
        b"\xff",
    ):
        assert [http._parseContentType(kind) for _ in range(3)] == [read(kind)] * 3
    remembering: Any = http._parseContentType
    assert remembering.cache_info().misses == 4


def test_twisted_words_no_line_with_the_path_of_a_request() -> None:
    asgi._spare_twisted_some_work()
    factory: Any = http.HTTPFactory()
    factory._logFormatter = lambda *_: "/intake/source/secret/"
    factory._logFile = io.StringIO()
    factory.log(object())
    assert factory._logFile.getvalue() == ""
