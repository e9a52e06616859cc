"""One HTTP request and its response, apart from the socket they travel on."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, kw_only=True)
class Request:
    """`target` is path and query as they came, percent-encoded; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True)


@dataclass(frozen=True, kw_only=True)
class Response:
    """With `frames`, the body is those, sent as each is ready."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    frames: Generator[bytes, None, None] | None = None


class ConnectionReset(Exception):
    """Instead of a response the connection is to be reset."""


class ConnectionCut(Exception):
    """In the middle of a response the connection is to end."""
