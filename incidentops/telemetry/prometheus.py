"""Read series from a Prometheus server.

The URL is one an operator configured; nothing from an alert ever chooses where we connect.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/ (range queries).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from numpy.typing import NDArray

from incidentops.telemetry.promql import split_comparison

__all__ = ["RemoteSeries", "TelemetryUnavailable", "query_range", "split_comparison"]

TIMEOUT = httpx.Timeout(connect=2.0, read=5.0, write=5.0, pool=2.0)
TOTAL_SECONDS = 10.0  # a server that drips a byte at a time never hits the read time-out
MAX_BYTES = 8 * 1024 * 1024
MAX_POINTS = 11_000  # Prometheus refuses range queries with more steps


class TelemetryUnavailable(Exception):
    """A source of telemetry could not answer; `reason` is a sentence for people, without secrets."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True, eq=False)
class RemoteSeries:
    """A series as Prometheus evaluated it: `at` epoch seconds, ascending, and `values`, both (n,).

    Points that are NaN or infinite are left out: they say that there was no value.
    """

    labels: dict[str, str]
    at: NDArray[np.float64]
    values: NDArray[np.float64]


def query_range(
    url: str,
    query: str,
    *,
    since: datetime,
    until: datetime,
    step_seconds: float,
    limit_series: int = 50,
) -> list[RemoteSeries]:
    """Evaluate `query` over [since, until]; at most the first `limit_series` series, as answered.

    The step is widened where the server would refuse so many points.

    Raises:
        TelemetryUnavailable: the URL is unusable, the server did not answer in time or in the
            documented form, answered too much, or refused the query.
    """
    span = (until - since).total_seconds()
    if span <= 0:
        raise TelemetryUnavailable("The time range is empty.")
    step = max(step_seconds, 1.0, span / (MAX_POINTS - 1))
    body = _get(
        f"{_base(url)}/api/v1/query_range",
        {
            "query": query,
            "start": f"{since.timestamp():.3f}",
            "end": f"{until.timestamp():.3f}",
            "step": f"{math.ceil(step * 1000) / 1000:g}",
        },
    )
    try:
        return [_series(row) for row in _matrix(body)[:limit_series]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TelemetryUnavailable(
            f"Prometheus answered in an unknown form ({type(error).__name__})."
        ) from error


def _base(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise TelemetryUnavailable("The Prometheus URL is malformed.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise TelemetryUnavailable("The Prometheus URL must be http:// or https:// with a host.")
    return url.split("?", 1)[0].split("#", 1)[0].rstrip("/")


def _get(url: str, params: dict[str, str]) -> dict[str, Any]:
    try:
        with (
            # No proxy or credentials from the environment, no redirect to somewhere else.
            httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client,
            client.stream(
                "GET", url, params=params, headers={"Accept-Encoding": "identity"}
            ) as response,
        ):
            if response.is_redirect:
                raise TelemetryUnavailable("Prometheus answered with a redirect.")
            raw = _read(response)
            status = response.status_code
    except httpx.TimeoutException:
        raise TelemetryUnavailable("Prometheus did not answer in time.") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TelemetryUnavailable(
            f"Prometheus could not be reached ({type(error).__name__})."
        ) from error
    return _document(status, raw)


def _read(response: httpx.Response) -> bytes:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise TelemetryUnavailable("Prometheus answered with an encoding that was not asked for.")
    deadline = monotonic() + TOTAL_SECONDS
    raw = bytearray()
    for chunk in response.iter_raw():
        raw += chunk
        if len(raw) > MAX_BYTES:
            raise TelemetryUnavailable(f"Prometheus answered more than {MAX_BYTES} bytes.")
        if monotonic() > deadline:
            raise TelemetryUnavailable("Prometheus did not answer in time.")
    return bytes(raw)


def _document(status: int, raw: bytes) -> dict[str, Any]:
    """The decoded answer. A refused query comes as 400 or 422 with the error in the same form."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and document.get("status") == "error":
        reason = " ".join(str(document.get("error", "")).split())[:200]
        raise TelemetryUnavailable(f"Prometheus refused the query: {reason}")
    if status != HTTPStatus.OK:
        raise TelemetryUnavailable(f"Prometheus answered with HTTP status {status}.")
    if not isinstance(document, dict) or document.get("status") != "success":
        raise TelemetryUnavailable("Prometheus did not answer with its JSON document.")
    return document


def _matrix(document: dict[str, Any]) -> list[Any]:
    data = document["data"]
    if data["resultType"] != "matrix":
        raise ValueError(data["resultType"])
    result: list[Any] = data["result"]
    if not isinstance(result, list):
        raise TypeError(result)
    return result


def _series(row: dict[str, Any]) -> RemoteSeries:
    points = np.array(
        [(float(at), float(value)) for at, value in row.get("values", ())], dtype=np.float64
    ).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    return RemoteSeries(
        labels={str(name): str(value) for name, value in row["metric"].items()},
        at=points[:, 0].copy(),
        values=points[:, 1].copy(),
    )
