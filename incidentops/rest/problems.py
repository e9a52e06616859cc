"""Errors of the API as RFC 9457 problem+json."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import csrf as django_csrf
from django.views import defaults
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler


class Conflict(APIException):
    """The request is well-formed, but what it asks is not possible in the present state."""

    status_code = HTTPStatus.CONFLICT
    default_code = "conflict"


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> JsonResponse:
    """A problem answer outside REST views; `members` are further JSON members such as `field`."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    return JsonResponse(
        {**body, "detail": detail, **members},
        status=status,
        content_type="application/problem+json",
        headers=dict(headers or {}),
    )


def wants_problem(request: HttpRequest) -> bool:
    """Is the caller a program? The API always answers one; elsewhere it says so itself."""
    if request.path.startswith("/api/") and not request.path.startswith("/api/docs/"):
        return True
    accepts = request.headers.get("Accept", "")
    return "json" in accepts and "text/html" not in accepts


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    if wants_problem(request):
        return problem(HTTPStatus.NOT_FOUND, f"Nothing is at {request.path}.")
    return defaults.page_not_found(request, exception)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400: a body or header it refused to read."""
    if isinstance(exception, RequestDataTooBig) and wants_problem(request):
        return problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"A body may have {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes.",
        )
    if wants_problem(request):
        return problem(HTTPStatus.BAD_REQUEST, "The request cannot be read.")
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: what went wrong is in the log, not in the answer."""
    if wants_problem(request):
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something failed here; it was logged.")
    return defaults.server_error(request)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF_FAILURE_VIEW."""
    if wants_problem(request):
        return problem(HTTPStatus.FORBIDDEN, reason)
    return django_csrf.csrf_failure(request, reason=reason)


def as_problem(error: Exception, context: dict[str, Any]) -> Response | None:
    """REST framework's exception handler: same status and headers, problem+json body."""
    response = exception_handler(error, context)
    if response is None:
        return None
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(response.status_code).phrase,
        "status": response.status_code,
    }
    if isinstance(error, ValidationError):
        body["detail"] = "The request has invalid fields."
        body["errors"] = response.data
    elif isinstance(response.data, dict):
        body["detail"] = str(response.data.get("detail", ""))
    response.data = body
    response.content_type = "application/problem+json"
    return response
