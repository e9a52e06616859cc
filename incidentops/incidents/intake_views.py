"""Where alerts are posted. Every answer is JSON and none tells more than the sender may know."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables

from incidentops.access.permissions import public
from incidentops.incidents import deadletters, encoding, intake, rates, sources
from incidentops.incidents.encoding import TooLarge
from incidentops.incidents.models import Source
from incidentops.incidents.payloads import Malformed, NotJson
from incidentops.rest.problems import problem

logger = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024
SECONDS_TO_RETRY = 5

_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json", re.ASCII)
_KEY = re.compile(r"[\x21-\x7e]{1,200}", re.ASCII)


class Refusal(Exception):
    """An answer other than 202. `field` names what is wrong in the request."""

    def __init__(self, status: HTTPStatus, detail: str, *, field: str = "", **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.members = {"field": field} if field else {}
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@csrf_exempt
@public("A source shows its secret, in the Authorization header or in the path.")
@sensitive_variables("secret")
def receive(request: HttpRequest, source_id: str = "", secret: str = "") -> HttpResponse:
    """Take in one body."""
    try:
        response = _answer(request, source_id, secret)
    except Refusal as refusal:
        response = problem(
            refusal.status, refusal.detail, headers=refusal.headers, **refusal.members
        )
    except (OperationalError, InterfaceError) as error:
        logger.error("Intake cannot reach the database: %s", error)
        response = problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The database cannot be reached; nothing was stored.",
            headers={"Retry-After": str(SECONDS_TO_RETRY)},
        )
    except Exception:
        # Django would log the path with it, and the path may hold the secret.
        logger.exception("Intake failed for source %.12r", source_id)
        response = problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "Something failed here; nothing was stored."
        )
    # As above: Django logs the path of every answer from 400 on, unless told that it is logged.
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django's own mark
    return response


@csrf_exempt
@public("It only says that there is nothing.")
def nothing_here(request: HttpRequest) -> HttpResponse:
    response = problem(
        HTTPStatus.NOT_FOUND, "Alerts are posted to /intake/SOURCE/ or /intake/SOURCE/SECRET/."
    )
    response._has_been_logged = True  # type: ignore[attr-defined]  # as in `receive`
    return response


def _answer(request: HttpRequest, source_id: str, secret: str) -> HttpResponse:
    if request.method != "POST":
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Alerts are posted.", Allow="POST")
    source = _source(source_id, secret or _bearer(request))
    key = _idempotency_key(request)
    body = _body(request, source)
    try:
        receipt = intake.receive(source, body, key=key)
    except NotJson as error:
        return _malformed(error)
    except Malformed as error:
        letter = deadletters.bury(source, body, error)
        return _malformed(error, dead_letter=letter.pk)
    return JsonResponse(receipt.answer(), status=HTTPStatus.ACCEPTED)


def _source(source_id: str, secret: str) -> Source:
    source = sources.authenticate(source_id, secret)
    if source is None:
        raise Refusal(
            HTTPStatus.UNAUTHORIZED,
            "The source or its secret is wrong.",
            WWW_Authenticate='Bearer realm="intake"',
        )
    if not source.is_enabled:
        raise Refusal(HTTPStatus.FORBIDDEN, "This source is disabled.")
    return source


def _bearer(request: HttpRequest) -> str:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def _idempotency_key(request: HttpRequest) -> str:
    key = request.headers.get("Idempotency-Key", "")
    if key and not _KEY.fullmatch(key):
        raise Refusal(
            HTTPStatus.BAD_REQUEST,
            "Idempotency-Key must be 1 to 200 visible ASCII characters.",
            field="Idempotency-Key",
        )
    return key


def _body(request: HttpRequest, source: Source) -> bytes:
    """The plain body, checked in the order of what it costs."""
    kind = request.content_type or "application/json"
    if not _JSON.fullmatch(kind.lower()):
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "Send JSON as application/json.",
            field="Content-Type",
            Accept="application/json",
        )
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in encoding.ENCODINGS:
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Encoding must be one of {', '.join(encoding.ENCODINGS)}.",
            field="Content-Encoding",
            Accept_Encoding=", ".join(encoding.ENCODINGS),
        )
    try:
        raw = request.read(MAX_BODY + 1)
    except UnreadablePostError:
        raise Refusal(HTTPStatus.BAD_REQUEST, "The body could not be read.", field="body") from None
    if wait := rates.seconds_to_wait(source, size=len(raw)):
        raise Refusal(
            HTTPStatus.TOO_MANY_REQUESTS,
            "This source sends more bytes than it may.",
            Retry_After=str(wait),
        )
    try:
        if len(raw) > MAX_BODY:
            raise TooLarge
        return encoding.decode(raw, coding, limit=MAX_BODY)
    except TooLarge:
        raise Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"A body may have {MAX_BODY} bytes, also decompressed.",
            field="body",
        ) from None
    except NotJson as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, str(error), field=error.field) from None


def _malformed(error: Malformed, **members: Any) -> HttpResponse:
    return problem(
        HTTPStatus.BAD_REQUEST, str(error), field=error.field, reason=error.reason, **members
    )
