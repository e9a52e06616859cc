"""Read the bodies of REST requests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from io import BytesIO
from typing import IO, Any

from rest_framework import parsers
from rest_framework.exceptions import ValidationError

from incidentops.rest.nesting import MOST_LEVELS, TOO_DEEP, is_too_deep

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


class JSONParser(parsers.JSONParser):
    """REST framework's, for which a body nested too deeply to be walked is a bad request, too.

    The refusal names the member at fault, or `body` where none can be told.
    """

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        raw = stream.read()
        try:
            value: Any = super().parse(BytesIO(raw), media_type, parser_context)
        except RecursionError:
            raise ValidationError({_too_deep_member(raw): [TOO_DEEP]}) from None
        members = value if isinstance(value, dict) else {"body": value}
        if errors := {name: [TOO_DEEP] for name, member in members.items() if is_too_deep(member)}:
            raise ValidationError(errors)
        return value


def _too_deep_member(raw: bytes) -> str:
    """The first such member of a body that cannot be decoded, told from its text."""
    depth, name = 0, b'"body"'
    is_object = raw.lstrip().startswith(b"{")
    for token in _TOKEN.finditer(raw):
        if token[0] in b"[{":
            depth += 1
            if depth > MOST_LEVELS + 1:
                break
        elif token[0] in b"]}":
            depth -= 1
        elif depth == 1 and is_object:
            name = token[0]
    try:
        return str(json.loads(name))
    except ValueError:
        return "body"
