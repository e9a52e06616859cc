"""The reader against a local server that speaks the documented API."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from incidentops.telemetry import prometheus
from incidentops.telemetry.prometheus import TelemetryUnavailable, query_range

UNTIL = datetime(2026, 11, 1, 12, tzinfo=UTC)
SINCE = UNTIL - timedelta(hours=1)
MATRIX = {
    "status": "success",
    "data": {
        "resultType": "matrix",
        "result": [
            {
                "metric": {"__name__": "up", "job": "web"},
                "values": [[1793530800, "1"], [1793530815.5, "NaN"], [1793530830, "0.5"]],
            },
            {"metric": {}, "values": [[1793530800, "+Inf"]]},
        ],
    },
}


@contextmanager
def serving(answer):
    """A server whose every GET is answered by `answer(handler)`; yields its URL and the requests."""
    requests: list[str] = []
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            try:
                answer(self, released)
            except OSError:
                pass  # the reader hung up, as it should

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def answering(status: int, body: bytes, **headers: str):
    def answer(handler, released):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def ask(url: str, **changes):
    options: dict[str, Any] = {"since": SINCE, "until": UNTIL, "step_seconds": 15} | changes
    return query_range(url, "up", **options)


def refusal(url: str, **changes) -> str:
    with pytest.raises(TelemetryUnavailable) as caught:
        ask(url, **changes)
    return caught.value.reason


def test_a_range_comes_back_as_arrays_without_undefined_points():
    with serving(answering(200, json.dumps(MATRIX).encode())) as (url, requests):
        up, empty = ask(url + "/prefix/")
    assert up.labels == {"__name__": "up", "job": "web"}
    assert up.at.tolist() == [1793530800, 1793530830]
    assert up.values.tolist() == [1, 0.5]
    assert empty.at.shape == empty.values.shape == (0,)
    asked = urlsplit(requests[0])
    assert asked.path == "/prefix/api/v1/query_range"
    assert parse_qs(asked.query) == {
        "query": ["up"],
        "start": [f"{SINCE.timestamp():.3f}"],
        "end": [f"{UNTIL.timestamp():.3f}"],
        "step": ["15"],
    }


def test_only_so_many_series_are_kept():
    with serving(answering(200, json.dumps(MATRIX).encode())) as (url, _):
        assert len(ask(url, limit_series=1)) == 1


def test_a_long_range_widens_the_step_to_what_the_server_allows():
    with serving(answering(200, json.dumps(MATRIX).encode())) as (url, requests):
        ask(url, since=UNTIL - timedelta(days=30))
    step = float(parse_qs(urlsplit(requests[0]).query)["step"][0])
    assert 30 * 86_400 / step <= 11_000 - 1


def test_a_refused_query_is_told_with_the_servers_reason():
    body = b'{"status":"error","errorType":"bad_data","error":"parse\\nerror at char 3"}'
    with serving(answering(400, body)) as (url, _):
        assert refusal(url) == "Prometheus refused the query: parse error at char 3"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answering(503, b"Service Unavailable"), "HTTP status 503"),
        (answering(200, b"<html>"), "its JSON document"),
        (answering(200, b"[" * 100_000), "its JSON document"),
        (answering(200, b'{"status":"success"}'), "unknown form"),
        (answering(200, b'{"status":"success","data":{"resultType":"vector","result":[]}}'), "unknown form"),
        (answering(200, b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"x"]]}]}}'), "unknown form"),
        (answering(200, b'{"status":"success","data":{"resultType":"matrix","result":[7]}}'), "unknown form"),
        (answering(302, b"", Location="http://169.254.169.254/"), "redirect"),
        (answering(200, b"\x1f\x8b", Content_Encoding="gzip"), "encoding"),
    ],
)  # fmt: skip
def test_an_answer_out_of_form_is_unavailable_with_the_reason(answer, reason):
    with serving(answer) as (url, _):
        assert reason in refusal(url)


def test_an_endless_answer_is_cut_off(monkeypatch):
    monkeypatch.setattr(prometheus, "MAX_BYTES", 100_000)

    def endless(handler, released):
        handler.send_response(200)
        handler.end_headers()
        while not released.is_set():
            handler.wfile.write(b" " * 65_536)

    with serving(endless) as (url, _):
        assert "more than 100000 bytes" in refusal(url)


def test_a_silent_server_costs_no_more_than_the_time_out(monkeypatch):
    monkeypatch.setattr(prometheus, "TIMEOUT", httpx.Timeout(0.2))
    with serving(lambda handler, released: released.wait(20)) as (url, _):
        assert "in time" in refusal(url)


def test_a_dripping_server_costs_no_more_than_the_total_time(monkeypatch):
    monkeypatch.setattr(prometheus, "TOTAL_SECONDS", 0.2)

    def drip(handler, released):
        handler.send_response(200)
        handler.end_headers()
        while not released.wait(0.02):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    with serving(drip) as (url, _):
        assert "in time" in refusal(url)


def test_a_server_that_is_down_is_unavailable_and_the_password_stays_out_of_the_reason():
    with serving(answering(200, b"")) as (url, _):
        pass
    reason = refusal(url.replace("http://", "http://reader:hidden@"))
    assert "could not be reached" in reason
    assert "hidden" not in reason


@pytest.mark.parametrize(
    "url", ["", "file:///etc/passwd", "ftp://a", "http://", "http://[::1", "http://a:99999999"]
)
def test_only_an_http_url_with_a_host_is_asked(url):
    assert "URL" in refusal(url)


def test_an_empty_range_is_refused_without_asking():
    with serving(answering(200, b"")) as (url, requests):
        assert "empty" in refusal(url, since=UNTIL)
    assert requests == []
