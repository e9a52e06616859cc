"""Bounded bodies of pushed rows, as JSON or one JSON document a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any

from rest_framework.exceptions import APIException, UnsupportedMediaType, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.views import APIView

from incidentops.telemetry import rows
from incidentops.telemetry.rows import InvalidRow

if TYPE_CHECKING:
    _Base = APIView
else:
    _Base = object

MAX_BYTES = 1024 * 1024


class TooLarge(APIException):
    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"
    default_detail = f"At most {MAX_BYTES} bytes and {rows.MAX_ROWS} rows a request."


class BoundedBody(_Base):
    """Mixin for REST views: refuses a body that says it is too large before it is read."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType(
                request.headers["Content-Encoding"],
                "Send the body without Content-Encoding.",
            )
        length = request.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > MAX_BYTES:
            raise TooLarge


class JsonRows(BaseParser):
    media_type = "application/json"
    decode: Callable[..., list[Any]] = staticmethod(rows.decode_json)

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The rows under the name that the view gives them."""
        raw = stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise TooLarge
        try:
            return type(self).decode(raw, name=(parser_context or {})["view"].rows_name)
        except InvalidRow as error:
            raise refusal(error) from error


class NdjsonRows(JsonRows):
    media_type = "application/x-ndjson"
    decode = staticmethod(rows.decode_ndjson)


def refusal(error: InvalidRow) -> ValidationError:
    return ValidationError({error.field: [error.reason]})
