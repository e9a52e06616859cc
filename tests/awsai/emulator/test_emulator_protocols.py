"""The wire itself: routes, validation, shapes, frames, keep-alive and limits."""

from __future__ import annotations

import json
import re
import socket
import threading
import warnings
from contextlib import closing
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsai.emulator import eventstream, shapes
from awsai.emulator.emulator import Emulator
from awsai.emulator.errors import AwsError
from awsai.emulator.exchange import Request
from awsai.emulator.handlers import HANDLERS
from awsai.emulator.operations import service_model
from awsai.emulator.server import MAX_BODY_BYTES
from tests.awsai.emulator.clients import (
    HAIKU,
    NOVA,
    ClientError,
    EventStreamBuffer,
    client,
    last,
    signed,
    streamed,
    user,
)
from tests.awsai.emulator.word_counter import WordCounter

RUNTIME = service_model("bedrock-runtime")
CONVERSE = f"/model/{quote(NOVA, safe='')}/converse"


def post(emulator: Emulator, path: str, document: object, *, service: str = "bedrock", **headers):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    given = signed(emulator, path=path, body=body, service=service, headers=headers)
    return httpx.post(emulator.url + path, headers=given, content=body, trust_env=False)


# --- Routes ------------------------------------------------------------------------------------


def test_every_operation_that_is_served_is_found_by_its_own_request(emulator):
    """The URI of each model, filled with labels, leads back to the operation."""
    found = {}
    for service, handlers in emulator._handlers.items():
        model = service_model(service)
        for name in handlers:
            operation = model.operation_model(name)
            uri = re.sub(r"\{\w+\+?\}", "a%3Ab%2Fc", operation.http["requestUri"])
            headers = {}
            body = b""
            if model.resolved_protocol == "json":
                headers["x-amz-target"] = f"{model.metadata['targetPrefix']}.{name}"
            if model.resolved_protocol == "query":
                headers["content-type"] = "application/x-www-form-urlencoded"
                body = f"Action={name}".encode()
            request = Request(
                method=operation.http["method"], target=uri, headers=headers, body=body
            )
            route, labels = emulator._router.find(request)
            found[service, name] = (route.service, route.name)
            assert set(labels.values()) <= {"a:b/c"}
    assert all(key == value for key, value in found.items())
    assert len(found) == 31


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/nowhere", {}),
        ("/model/x/imagine", {}),
        ("/", {"X-Amz-Target": "Comprehend_20171127.DetectNothing"}),
        ("/", {"Content-Type": "application/x-www-form-urlencoded"}),
    ],
)
def test_what_is_not_served_says_so(emulator, path, headers):
    refused = post(emulator, path, b"", **headers)
    assert refused.status_code == 404
    assert refused.headers["x-amzn-errortype"] == "UnknownOperationException"


def test_everything_is_labelled_as_the_emulator_s(emulator):
    answers = [
        post(emulator, CONVERSE, {"messages": user("hello")}),
        post(emulator, "/nowhere", {}),
        httpx.get(f"{emulator.url}/_emulator/log", trust_env=False),
        httpx.request("BREW", emulator.url, trust_env=False),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 200, 501]
    assert {answer.headers["x-iop-provider"] for answer in answers} == {"emulator"}
    response = client(emulator).converse_stream(modelId=NOVA, messages=user("hello"))
    with closing(response["stream"]):
        headers = response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-iop-provider"] == "emulator"
    assert headers["content-type"] == "application/vnd.amazon.eventstream"


# --- Validation --------------------------------------------------------------------------------


def content(**block: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": [block]}]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"messages": [{"role": "robot", "content": []}]}, "enum value set: [user"),
        ({"messages": [{"role": "user"}]}, "'messages.1.member.content': Member must not be null"),
        ({"messages": content(text="x", cachePoint={"type": "default"})}, "Exactly one member"),
        ({"messages": content(hologram={})}, "Exactly one member"),
        (
            {"messages": user("x"), "inferenceConfig": {"maxTokens": 0}},
            "greater than or equal to 1",
        ),
        ({"messages": user("x"), "inferenceConfig": {"temperature": 1.5}}, "less than or equal to"),
        ({"messages": user("x"), "system": [{"text": ""}]}, "length greater than or equal to 1"),
        (
            {"messages": user("x"), "requestMetadata": {str(n): "v" for n in range(17)}},
            "length less than or equal to 16",
        ),
        ({"messages": user("x"), "requestMetadata": {"k": "{}"}}, "regular expression pattern"),
    ],
)
def test_what_the_model_forbids_is_refused(emulator, document, why):
    refused = post(emulator, CONVERSE, document)
    assert refused.status_code == 400
    assert refused.headers["x-amzn-errortype"] == "ValidationException"
    assert why in refused.json()["message"]


@pytest.mark.parametrize(
    "document",
    [
        b"{",
        b"[]",
        b"\xff",
        {"messages": "hello"},
        {"messages": [3]},
        {"messages": user("x"), "inferenceConfig": {"maxTokens": "3"}},
        {"messages": user("x"), "inferenceConfig": {"maxTokens": True}},
        {"messages": content(image={"format": "png", "source": {"bytes": "no base64"}})},
    ],
)
def test_what_is_no_document_of_the_shape_is_refused(emulator, document):
    refused = post(emulator, CONVERSE, document)
    assert refused.status_code == 400
    assert refused.headers["x-amzn-errortype"] == "SerializationException"


def test_the_server_validates_what_a_client_does_not(emulator):
    with pytest.raises(ClientError, match="ValidationException"):
        client(emulator, parameter_validation=False).converse(
            modelId=HAIKU, messages=[{"role": "user", "content": [{"text": "x", "image": {}}]}]
        )
    with pytest.raises(ClientError, match="SerializationException"):
        client(emulator, "comprehend", parameter_validation=False).detect_sentiment(
            Text=["x"], LanguageCode="en"
        )


def test_members_of_a_later_model_are_ignored(emulator):
    answered = post(emulator, CONVERSE, {"messages": user("hello"), "telepathy": {"on": True}})
    assert answered.status_code == 200


class Careless(WordCounter):
    """Answers that AWS's models forbid."""

    def text_analyst(self):
        return self

    def sentiments(self, texts):
        found = WordCounter().text_analyst().sentiments(texts)
        first = found.results[0]
        assert first is not None
        object.__setattr__(first, "label", "ecstatic")
        return found


def test_an_invalid_answer_is_an_error_that_says_what_is_wrong():
    with Emulator(Careless()) as emulator:
        comprehend = client(emulator, "comprehend")
        with pytest.raises(comprehend.exceptions.InternalServerException, match="ECSTATIC"):
            comprehend.detect_sentiment(Text="good", LanguageCode="en")
        assert "ECSTATIC" in last(emulator).problem


def test_an_invalid_event_ends_the_stream_with_an_error(emulator, monkeypatch):
    monkeypatch.setattr(
        "awsai.emulator.handlers.bedrock_runtime._delta", lambda text: {"delta": {"text": text}}
    )
    stream = client(emulator).converse_stream(modelId=HAIKU, messages=user("x"))["stream"]
    with closing(stream), pytest.raises(Exception, match="contentBlockIndex"):
        list(stream)
    assert "contentBlockIndex" in last(emulator).problem


# --- Shapes ------------------------------------------------------------------------------------


def test_values_survive_json():
    shape = RUNTIME.shape_for("ConverseRequest")
    value = {
        "modelId": NOVA,
        "messages": content(image={"format": "png", "source": {"bytes": b"\x00\xff"}}),
        "inferenceConfig": {"temperature": 0.5, "maxTokens": 3},
        "additionalModelRequestFields": {"any": [1, None, {"thing": True}]},
        "requestMetadata": {"incident": "7"},
    }
    assert shapes.problems(shape, value) == []
    wire = json.loads(json.dumps(shapes.encode(shape, value)))
    assert shapes.decode(shape, wire) == value


@given(st.integers(0, 7_000_000_000_000))
def test_times_survive_every_form(milliseconds):
    moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
    shape = service_model("qbusiness").shape_for("Timestamp")
    for form in ("iso8601", "unixTimestamp"):
        assert shapes.decode(shape, shapes.format_time(moment, form)) == moment
    to_the_second = moment.replace(microsecond=0)
    assert shapes.decode(shape, shapes.format_time(to_the_second, "rfc822")) == to_the_second


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "role", "content", "text", "system", "image", "toolUse"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_either_read_or_refused(document):
    shape = RUNTIME.shape_for("ConverseRequest")
    try:
        found = shapes.problems(shape, shapes.decode(shape, document))
    except AwsError as error:
        found = [error.code]
    # It has no modelId, so it is never right.
    assert found == ["SerializationException"] or "Value null at 'modelId'" in found[0]


def test_own_answers_may_have_no_member_that_the_model_lacks():
    shape = RUNTIME.shape_for("CountTokensResponse")
    assert shapes.problems(shape, {"inputTokens": 1}) == []
    assert shapes.problems(shape, {"inputTokens": 1, "colour": "red"}) == [
        "Value at 'colour': Member is unknown"
    ]
    assert shapes.problems(shape, {"inputTokens": True}) != []


def test_every_pattern_is_either_read_or_known_to_be_java_s():
    unread = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for service in HANDLERS:
            model = service_model(service)
            for name in model.shape_names:
                pattern = model.shape_for(name).metadata.get("pattern", "")
                if pattern and shapes._pattern(pattern) is None:
                    unread.add(pattern)
    assert unread
    assert all(r"\p" in pattern or r"\P" in pattern for pattern in unread)


# --- Frames ------------------------------------------------------------------------------------


@given(
    headers=st.dictionaries(
        st.text("abc:-", min_size=1, max_size=20), st.text(max_size=40), max_size=4
    ),
    payload=st.binary(max_size=200),
)
def test_botocore_reads_our_frames(headers, payload):
    buffer = EventStreamBuffer()
    buffer.add_data(eventstream.frame(headers, payload))
    (message,) = list(buffer)
    assert (message.headers, message.payload) == (headers, payload)


# --- Connections -------------------------------------------------------------------------------


def raw_request(emulator: Emulator, path: str, body: bytes, **headers: str) -> bytes:
    given = signed(emulator, path=path, body=body) | {"Content-Length": str(len(body))} | headers
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {text}" for name, text in given.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def address_of(emulator: Emulator) -> tuple[str, int]:
    host, _, port = emulator.url.removeprefix("http://").partition(":")
    return host, int(port)


def read_response(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    file = connection.makefile("rb")
    with file:
        status = int(file.readline().split()[1])
        headers = {}
        while line := file.readline().strip():
            name, _, text = line.decode().partition(": ")
            headers[name.lower()] = text
        return status, headers, file.read(int(headers["content-length"]))


def test_one_connection_serves_many_requests(emulator):
    body = json.dumps({"messages": user("hello")}).encode()
    with socket.create_connection(address_of(emulator), timeout=5) as connection:
        for path in (CONVERSE, "/nowhere", CONVERSE):
            connection.sendall(raw_request(emulator, path, body))
            status, _, _ = read_response(connection)
            assert status == (404 if path == "/nowhere" else 200)
    assert len(emulator.log.entries()) == 3


def test_a_stream_ends_so_that_its_connection_can_be_used_again(emulator):
    runtime = client(emulator)
    before = threading.active_count()
    for _ in range(3):
        list(runtime.converse_stream(modelId=HAIKU, messages=user("x"))["stream"])
    assert threading.active_count() <= before + 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": str(MAX_BODY_BYTES + 1)}, 413),
        ({"Content-Length": "-1"}, 400),
        ({"Content-Length": "many"}, 400),
        ({"Transfer-Encoding": "chunked"}, 411),
    ],
)
def test_bodies_without_a_bound_are_refused_unread(emulator, headers, status):
    with socket.create_connection(address_of(emulator), timeout=5) as connection:
        connection.sendall(raw_request(emulator, CONVERSE, b"", **headers))
        refused, given, _ = read_response(connection)
        assert refused == status
        assert given["connection"] == "close"
        assert connection.recv(1) == b""


def test_a_large_body_within_the_bound_is_read(emulator):
    text = "x" * 2_000_000
    answered = post(emulator, CONVERSE, {"messages": user(text)})
    assert answered.json()["usage"]["inputTokens"] == 500_000


def test_only_the_loopback_interface_is_listened_on(emulator):
    assert emulator.url.startswith("http://127.0.0.1:")


def test_what_clients_were_told_can_be_counted_again_from_the_log(emulator):
    runtime = client(emulator, attempts=3)
    emulator.inject("error", code="ThrottlingException", times=1)
    emulator.inject("reset", times=1)
    system = [{"text": "word " * 2000}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    usages = [
        runtime.converse(modelId=HAIKU, system=system, messages=user("word " * size))["usage"]
        for size in (1, 10, 100)
    ]
    _, events = streamed(runtime.converse_stream(modelId=HAIKU, messages=user("streamed")))
    usages.append(events["metadata"]["usage"])

    entries = httpx.get(f"{emulator.url}/_emulator/log", trust_env=False).json()["entries"]
    assert [entry["status"] for entry in entries] == [429, None, 200, 200, 200, 200]
    for meter, member in (
        ("input", "inputTokens"),
        ("output", "outputTokens"),
        ("cache_read", "cacheReadInputTokens"),
        ("cache_write_1h", "cacheWriteInputTokens"),
    ):
        counted = sum(entry["tokens"].get(meter, 0) for entry in entries)
        assert counted == sum(usage[member] for usage in usages) > 0
    assert {entry["model_invoked"] for entry in entries if entry["status"] == 200} == {
        "anthropic.claude-haiku-4-5-20251001-v1:0"
    }


def test_what_a_provider_opened_is_closed_in_the_thread_that_opened_it(provider):
    opened, closed = [], []

    class Opening(WordCounter):
        def reasoner(self, region: str = ""):
            opened.append(threading.get_ident())
            return super().reasoner()

    with Emulator(
        Opening(), after_request=lambda: closed.append(threading.get_ident())
    ) as emulator:
        runtime = client(emulator)
        runtime.converse(modelId=HAIKU, messages=user("x"))
        list(runtime.converse_stream(modelId=HAIKU, messages=user("x"))["stream"])
    assert opened == closed != []


def test_an_answer_s_entry_is_in_the_log_before_the_answer_arrives(emulator):
    runtime = client(emulator)
    for count in range(1, 20):
        runtime.converse(modelId=HAIKU, messages=user("x"))
        assert len(emulator.log.entries()) == count


def test_the_environment_points_stock_boto3_here(emulator):
    assert emulator.environment["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] == emulator.url
    assert emulator.environment["AWS_ENDPOINT_URL_QBUSINESS"] == emulator.url
    assert len([name for name in emulator.environment if "ENDPOINT" in name]) == len(HANDLERS)
