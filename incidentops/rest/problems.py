"""Errors of the API as RFC 9457 problem+json."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.http import JsonResponse
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
