from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin
from twisted.web import http

from incidentops import asgi

_asked_from_the_event_loop: list[bool] = []


class Looking(MiddlewareMixin):
    """Middleware that could run either way, as Django's own can."""

    def process_request(self, request: HttpRequest) -> None:
        _asked_from_the_event_loop.append(self.async_mode)


def test_a_request_goes_to_a_thread_once_and_not_for_each_middleware(settings: Any) -> None:
    settings.MIDDLEWARE = [f"{__name__}.Looking", *settings.MIDDLEWARE, f"{__name__}.Looking"]
    _asked_from_the_event_loop.clear()
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/healthz",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }

    async def ask() -> int:
        communicator = ApplicationCommunicator(asgi._Http(), scope)
        await communicator.send_input({"type": "http.request", "body": b""})
        start = await communicator.receive_output(10)
        await communicator.wait()
        return int(start["status"])

    assert asyncio.run(ask()) == 200
    assert _asked_from_the_event_loop == [False, False]


def test_the_type_of_a_body_is_taken_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # As Twisted came: another test may have loaded it together with our application.
    read: Any = getattr(http._parseContentType, "__wrapped__", http._parseContentType)
    monkeypatch.setattr(http, "_parseContentType", read)
    asgi._read_each_type_once()
    asgi._read_each_type_once()
    for kind in (
        b"application/json; charset=utf-8",
        b"multipart/form-data; boundary=x",
        b"",
        b"\xff",
    ):
        assert [http._parseContentType(kind) for _ in range(3)] == [read(kind)] * 3
    remembering: Any = http._parseContentType
    assert remembering.cache_info().misses == 4
