"""The ASGI application: HTTP by Django, the live socket, and who may open it."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import sys
from contextlib import closing
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import django
from asgiref.sync import sync_to_async
from channels.routing import ProtocolTypeRouter

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "incidentops.settings")
django.setup(set_prefix=False)

# What follows imports models, which the line above has made ready.
from django.conf import settings  # noqa: E402
from django.contrib import auth  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.exceptions import RequestAborted  # noqa: E402
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix  # noqa: E402
from django.core.signals import request_started  # noqa: E402
from django.http import HttpRequest, parse_cookie  # noqa: E402
from django.http.request import split_domain_port, validate_host  # noqa: E402
from django.http.response import HttpResponseBase  # noqa: E402
from django.urls import set_script_prefix  # noqa: E402

from incidentops.access import roles, tokens  # noqa: E402
from incidentops.realtime import sockets  # noqa: E402
from incidentops.realtime.consumers import FORBIDDEN, NOT_FOUND, UNAUTHENTICATED, live  # noqa: E402
from incidentops.realtime.sockets import Identity, Refused, Scope  # noqa: E402
from incidentops.realtime.storage import in_database  # noqa: E402
from incidentops.request_threads import KeptThread  # noqa: E402

_PUBLIC = frozenset({"demo"}) if settings.PUBLIC_DEMO else frozenset()


class _Http(ASGIHandler):
    """Django's handler, with all that is synchronous in one thread and in one go.

    By itself it would go to a thread and back for each middleware that may run either way, for the
    beginning of a request and for its end: more than half of what a short request costs. And it would
    watch every request for a sender that hangs up, though a thread cannot be told to stop.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with KeptThread():
            await self.handle(scope, receive, send)

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with closing(body):
            set_script_prefix(get_script_prefix(scope))
            request, refusal = self.create_request(scope, body)
            response: Any = await self.run_get_response(request) if request else refusal
            if response.streaming:
                await self._stream(response, receive, send)
            else:
                await self.send_response(response, send)

    async def _stream(self, response: Any, receive: Any, send: Any) -> None:
        """Send until the end, or until nobody listens any more."""
        tasks = [
            asyncio.create_task(self.send_response(response, send)),
            asyncio.create_task(self.listen_for_disconnect(receive)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            sent, _ = await asyncio.gather(*tasks, return_exceptions=True)
            await sync_to_async(response.close)()
        if isinstance(sent, Exception):
            raise sent

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)
        chain: Any = self._middleware_chain  # type: ignore[has-type]  # absent from the stubs

        def respond(request: HttpRequest) -> HttpResponseBase:
            assert isinstance(request, ASGIRequest)
            request_started.send(sender=type(self), scope=request.scope)
            response: HttpResponseBase = chain(request)
            if not response.streaming:
                response._handler_class = type(self)  # type: ignore[attr-defined]  # who tells of its end
                response.close()
                request.close()
            return response

        self._middleware_chain = self.adapt_method_mode(is_async, respond, False)


def _header(scope: Scope, name: bytes) -> str | None:
    return next(
        (value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name), None
    )


def _is_our_origin(origin: str, host: str) -> bool:
    """Whether a page of this instance speaks: its public URL, or the very host that was called.

    Another port of the same machine is another origin, though it is sent our cookies.
    """
    asked, public = urlsplit(origin), urlsplit(settings.PUBLIC_URL)
    if asked.scheme not in ("http", "https") or not asked.netloc:
        return False
    if (asked.scheme, asked.netloc.lower()) == (public.scheme, public.netloc.lower()):
        return True
    domain, _ = split_domain_port(host)
    return asked.netloc.lower() == host.lower() and validate_host(domain, settings.ALLOWED_HOSTS)


async def authenticate(scope: Scope) -> Identity:
    """Who opens this socket: by bearer token, else by session, else whom the demo is public for.

    Raises:
        Refused: a foreign origin, no credentials, or none that hold.
    """
    origin, authorization = _header(scope, b"origin"), _header(scope, b"authorization")
    if origin is None:
        if authorization is None:
            raise Refused(FORBIDDEN, "Without an origin a token is needed.")
    elif not _is_our_origin(origin, _header(scope, b"host") or ""):
        raise Refused(FORBIDDEN, "This origin may not connect.")
    if authorization is not None:
        identity = await in_database(_token_identity)(authorization)
    else:
        identity = await in_database(_session_identity)(_header(scope, b"cookie") or "")
    if isinstance(identity, Identity):
        return identity
    if _PUBLIC and authorization is None:
        return Identity(subject="anonymous", credential="", permissions=frozenset(), public=_PUBLIC)
    raise Refused(UNAUTHENTICATED, "Sign in, or send a valid token.")


def _token_identity(authorization: str) -> Identity | None:
    text = tokens.bearer(authorization)
    token = tokens.authenticate(text) if text else None
    if token is None:
        return None
    return Identity(
        subject=token.subject,
        credential=_credential(authorization),
        permissions=roles.PERMISSIONS[roles.Role(token.role)],
        public=_PUBLIC,
    )


def _session_identity(cookies: str) -> Identity | None:
    # As HTTP reads them: the standard library drops all cookies for one that is not to its taste,
    # and browsers send those of every other program on this host.
    key = parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME)
    if not key:
        return None
    request = HttpRequest()
    request.session = SessionStore(key)
    user = auth.get_user(request)
    if not user.is_authenticated:
        return None
    return Identity(
        subject=f"user:{user.pk}",
        credential=_credential(key),
        permissions=roles.permissions_of(roles.roles_of(user)),
        public=_PUBLIC,
    )


def _credential(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_live = live(authenticate)


async def _websocket(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"].rstrip("/") == "/dashboard/ws":
        await _live(scope, receive, send)
    else:
        await receive()
        await send({"type": "websocket.close", "code": NOT_FOUND})


_router = ProtocolTypeRouter({"http": _Http(), "websocket": _websocket})


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The router, and this process's report of itself from its first request on."""
    sockets.here().start_gauge()
    await _router(scope, receive, send)


def _spare_twisted_some_work() -> None:
    """Under Daphne, leave out what Twisted does for each request and nobody has any use of.

    It has the email package take the content type of every POST apart, an eighth of what a delivery
    costs. And it words a line of an access log, path and all, that goes nowhere: a path may hold a
    secret. Daphne's own access log is another one.
    """
    http: Any = sys.modules.get("twisted.web.http")
    if http is None:
        return
    read = getattr(http, "_parseContentType", None)
    if read is not None and not hasattr(read, "cache_info"):
        http._parseContentType = lru_cache(maxsize=128)(read)
    http.HTTPFactory.log = lambda factory, request: None


_spare_twisted_some_work()

# What is loaded by now stays: were it looked through again and again, nobody would be served for a
# tenth of a second each time.
gc.collect()
gc.freeze()
