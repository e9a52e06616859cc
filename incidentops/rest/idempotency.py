"""POST once, however often it is sent."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase
from django.utils.timezone import now
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from incidentops.rest.models import StoredAnswer

if TYPE_CHECKING:
    from rest_framework.views import APIView as _Base
else:
    _Base = object

LIFETIME = timedelta(hours=24)
_LONGEST_KEY = 255


class KeyReused(APIException):
    """The key was used before, for another request."""

    status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"
    default_detail = "This Idempotency-Key was used before with another request."


class KeyInvalid(APIException):
    status_code = HTTPStatus.BAD_REQUEST
    default_code = "idempotency_key_invalid"
    default_detail = "Idempotency-Key must be 1 to 255 printable ASCII characters."


class _Replay(APIException):
    """Carries the stored answer past the handler."""

    def __init__(self, answer: StoredAnswer) -> None:
        super().__init__()
        self.answer = answer


class IdempotentPosts(_Base):
    """Mixin for REST views, to the left of the view class.

    A POST with an `Idempotency-Key` runs in one transaction together with the note of its answer.
    The same caller's same key and request get that answer again for 24 hours, with
    `Idempotency-Replayed: true`; another request under the key gets 422. Who sends it twice at once
    waits for the first. A refusal (4xx) undoes everything and leaves the key free.

    `secret_fields` are members of the answer that are shown once: a repetition has null there.
    """

    secret_fields: tuple[str, ...] = ()
    _claimed: StoredAnswer | None = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not _has_key(request):
            return super().dispatch(request, *args, **kwargs)
        with transaction.atomic():
            response = super().dispatch(request, *args, **kwargs)
            if response.status_code >= HTTPStatus.BAD_REQUEST:
                transaction.set_rollback(True)
        return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if _has_key(request._request):
            self._claimed = _claim(request)

    def handle_exception(self, exc: Exception) -> Response:
        if not isinstance(exc, _Replay):
            return super().handle_exception(exc)
        headers = {"Idempotency-Replayed": "true"}
        if exc.answer.location:
            headers["Location"] = exc.answer.location
        data = json.loads(exc.answer.body) if exc.answer.body else None
        return Response(data, status=exc.answer.status, headers=headers)

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        final = super().finalize_response(request, response, *args, **kwargs)
        if self._claimed is not None and final.status_code < HTTPStatus.BAD_REQUEST:
            _keep(self._claimed, final, self.secret_fields)
        return final


def prune() -> int:
    """Delete answers that are no longer repeated; returns how many."""
    deleted, _ = StoredAnswer.objects.filter(created_at__lt=now() - LIFETIME).delete()
    return deleted


def _has_key(request: HttpRequest) -> bool:
    return request.method == "POST" and "Idempotency-Key" in request.headers


def _claim(request: Request) -> StoredAnswer:
    """Take the key for this request; whoever holds it is waited for.

    Raises:
        _Replay: this request was answered before.
        KeyReused: another request was.
        KeyInvalid: it is empty, too long or not printable.
    """
    key, actor = request.headers["Idempotency-Key"], _actor(request)
    if not 1 <= len(key) <= _LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise KeyInvalid
    digest = _digest(request)
    expired = now() - LIFETIME
    StoredAnswer.objects.filter(actor=actor, key=key, created_at__lt=expired).delete()
    answer, is_new = StoredAnswer.objects.get_or_create(
        actor=actor, key=key, defaults={"request_digest": digest}
    )
    if is_new:
        return answer
    if answer.request_digest != digest:
        raise KeyReused
    raise _Replay(answer)


def _keep(answer: StoredAnswer, response: Any, secret_fields: tuple[str, ...]) -> None:
    answer.status = response.status_code
    if isinstance(response, Response):
        data = response.data
        if isinstance(data, dict):
            data = {name: None if name in secret_fields else data[name] for name in data}
        answer.body = "" if data is None else JSONRenderer().render(data).decode()
    else:
        answer.body = response.content.decode()
    answer.location = response.headers.get("Location", "")
    answer.save(update_fields=["status", "body", "location"])


def _actor(request: Request) -> str:
    if request.auth is not None:
        return f"token:{request.auth.pk}"
    return f"user:{request.user.pk}"


def _digest(request: Request) -> str:
    """Of where and what is asked: of a form its fields, as every sending draws a new boundary."""
    is_form = request._request.content_type == "multipart/form-data"
    if is_form and isinstance(form := request.data, QueryDict):
        fields = [(name, _told(value)) for name, values in form.lists() for value in values]
        body = json.dumps(fields).encode()
    else:
        body = request._request.body
    asked = f"{request._request.get_full_path()}\n".encode()
    return hashlib.sha256(asked + body).hexdigest()


def _told(value: str | UploadedFile[bytes]) -> str | list[str | None]:
    if isinstance(value, str):
        return value
    content = hashlib.sha256()
    for chunk in value.chunks():
        content.update(chunk)
    value.seek(0)
    return [value.name, value.content_type, content.hexdigest()]
