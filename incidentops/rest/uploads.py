"""Files that people send: bounded before they are read."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

if TYPE_CHECKING:
    from rest_framework.views import APIView as _Base
else:
    _Base = object

MOST_BYTES = 5 * 1024 * 1024
# A form is a little larger than the file in it.
_MOST_FORM_BYTES = MOST_BYTES + 64 * 1024


class TooLarge(ValidationError):
    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"

    def __init__(self, field: str = "file") -> None:
        super().__init__({field: [f"At most {MOST_BYTES // 1024**2} MB ({MOST_BYTES} bytes)."]})


class BoundedUploads(_Base):
    """Mixin for REST views, to the left of the view class: larger requests are not even parsed."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # Before anything else: even the check of a CSRF token would read the form for it.
        length = request.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > _MOST_FORM_BYTES:
            raise TooLarge
        super().initial(request, *args, **kwargs)
