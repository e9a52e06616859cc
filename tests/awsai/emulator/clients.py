"""Stock boto3 clients that are pointed at an emulator."""

# botocore ships no types.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import functools
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EventStreamError,
    ReadTimeoutError,
)

from awsai.emulator.emulator import Emulator

__all__ = [
    "ChecksumMismatch",
    "ClientError",
    "ConnectionClosedError",
    "EventStreamBuffer",
    "EventStreamError",
    "ReadTimeoutError",
]

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA = "amazon.nova-lite-v1:0"


_made: list[Any] = []
_STAMP = "%Y%m%dT%H%M%SZ"


@functools.cache
def session() -> Any:
    # Loading the service models is what takes long, so it is done once.
    return boto3.session.Session(region_name="us-east-1")


def stock_client(service: str) -> Any:
    """A client that knows nothing but its environment."""
    return boto3.session.Session().client(service)


def client(
    emulator: Emulator,
    service: str = "bedrock-runtime",
    *,
    attempts: int = 1,
    read_timeout: float = 5,
    keys: dict[str, str] | None = None,
    **config: Any,
) -> Any:
    given = {
        "aws_access_key_id": emulator.credentials.access_key_id,
        "aws_secret_access_key": emulator.credentials.secret_access_key,
    }
    made = session().client(
        service,
        endpoint_url=emulator.url,
        **(given | (keys or {})),
        config=Config(
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=2,
            read_timeout=read_timeout,
            max_pool_connections=20,
            **config,
        ),
    )
    _made.append(made)
    return made


def close_clients() -> None:
    """Let go of the connections that the clients of a test keep."""
    while _made:
        _made.pop().close()


def user(*texts: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"text": text} for text in texts]}]


def text_of(response: Any) -> str:
    return str(response["output"]["message"]["content"][0]["text"])


def streamed(response: Any) -> tuple[str, dict[str, Any]]:
    """The text of a stream, and its other events by name."""
    text, events = "", {}
    for event in response["stream"]:
        ((name, value),) = event.items()
        if name == "contentBlockDelta":
            text += value["delta"]["text"]
        else:
            events[name] = value
    return text, events


def signed(
    emulator: Emulator,
    *,
    path: str,
    body: bytes,
    service: str = "bedrock",
    at: datetime | None = None,
    headers: dict[str, str] | None = None,
) -> dict[str, str]:
    """The headers of a POST that is signed as boto3 would sign it, for requests it would not send."""
    request = AWSRequest(method="POST", url=emulator.url + path, data=body, headers=headers or {})
    request.context["timestamp"] = (at or datetime.now(UTC)).strftime(_STAMP)
    keys = emulator.credentials
    signer = SigV4Auth(
        Credentials(keys.access_key_id, keys.secret_access_key), service, "us-east-1"
    )
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    signer._inject_signature_to_request(request, signature)
    return {"Host": emulator.url.removeprefix("http://"), **dict(request.headers.items())}


def drain(stream: Any) -> tuple[list[Any], Exception | None]:
    """What came of an event stream, and what ended it if that was not its own end."""
    events: list[Any] = []
    with closing(stream):
        try:
            events.extend(event for event in stream)
        except Exception as error:  # noqa: BLE001  # the caller says which it must be
            return events, error
    return events, None


def last(emulator: Emulator) -> Any:
    return emulator.log.entries()[-1]
