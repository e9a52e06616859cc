"""What a client sees of the faults that were asked for."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsai import tokens
from awsai.emulator import faults
from awsai.emulator.emulator import Emulator
from awsai.emulator.faults import Fault, Faults, Kind
from tests.awsai.emulator.clients import (
    HAIKU,
    ChecksumMismatch,
    ClientError,
    ConnectionClosedError,
    EventStreamError,
    ReadTimeoutError,
    client,
    drain,
    last,
    signed,
    text_of,
    user,
)
from tests.awsai.emulator.word_counter import WordCounter

MESSAGES = user("one two three")


def converse(emulator, **config: Any):
    return client(emulator, **config).converse(modelId=HAIKU, messages=MESSAGES)


def stream(emulator, **config: Any):
    response = client(emulator, **config).converse_stream(modelId=HAIKU, messages=MESSAGES)
    return drain(response["stream"])


# --- Before the answer -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ThrottlingException", 429),
        ("InternalServerException", 500),
        ("ServiceUnavailableException", 503),
        ("AccessDeniedException", 403),
        ("ModelTimeoutException", 408),
        ("ModelErrorException", 424),
        ("ModelNotReadyException", 429),
    ],
)
def test_an_error_comes_with_the_status_the_service_models(emulator, code, status):
    emulator.inject("error", operation="Converse", code=code)
    with pytest.raises(ClientError, match=code) as failed:
        converse(emulator)
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert (last(emulator).faults, last(emulator).status) == (("error",), status)
    assert last(emulator).tokens == {}


def test_an_error_that_nobody_models_comes_with_the_status_asked_for(emulator):
    emulator.inject("error", code="TeapotException", status=418, message="short and stout")
    with pytest.raises(ClientError, match="short and stout") as failed:
        converse(emulator)
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 418


def test_a_client_that_tries_again_gets_through_once_the_fault_is_spent(emulator):
    emulator.inject("error", operation="Converse", code="ThrottlingException", times=1)
    assert text_of(converse(emulator, attempts=3)) == "one two three "
    first, second = emulator.log.entries()
    assert (first.status, second.status) == (429, 200)
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.invocation_id == second.invocation_id != ""
    assert first.params_digest == second.params_digest
    assert first.request_id != second.request_id


def test_other_operations_do_not_meet_the_fault(emulator):
    emulator.inject("error", operation="Converse", code="ThrottlingException")
    client(emulator, "comprehend").detect_sentiment(Text="good", LanguageCode="en")
    assert len(emulator.faults.armed()) == 1


def test_a_stall_outlasts_the_patience_of_the_client(emulator):
    emulator.inject("stall", seconds=30)
    with pytest.raises(ReadTimeoutError):
        converse(emulator, read_timeout=0.2)


def test_a_short_stall_only_delays(emulator):
    emulator.inject("stall", seconds=0.2)
    started = time.monotonic()
    converse(emulator)
    assert time.monotonic() - started >= 0.2


def test_a_reset_connection_has_no_answer_and_no_bill(emulator):
    emulator.inject("reset")
    with pytest.raises(ConnectionClosedError):
        converse(emulator)
    assert (last(emulator).status, last(emulator).faults) == (None, ("reset",))
    assert last(emulator).tokens == {}


def test_a_reset_is_a_reset_of_tcp(emulator):
    emulator.inject("reset")
    body = json.dumps({"messages": MESSAGES}).encode()
    path = f"/model/{HAIKU}/converse"
    headers = signed(emulator, path=path, body=body)
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    raw = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
    with socket.create_connection(address_of(emulator), timeout=5) as connection:
        connection.sendall(raw)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


# --- In a stream -------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_exception_ends_a_stream_after_so_many_events(emulator, after):
    emulator.inject("stream_exception", code="ThrottlingException", after=after)
    events, error = stream(emulator)
    assert len(events) == after
    assert isinstance(error, EventStreamError)
    assert "throttlingException" in str(error)
    assert last(emulator).ended == "exception"


def test_an_exception_that_no_stream_models_arrives_all_the_same(emulator):
    emulator.inject("stream_exception", code="TeapotException", message="short", after=1)
    events, error = stream(emulator)
    assert len(events) == 1
    assert isinstance(error, EventStreamError)
    assert "TeapotException" in str(error)


def test_a_cut_stream_ends_without_its_end(emulator):
    emulator.inject("stream_cut", after=2)
    events, error = stream(emulator)
    assert len(events) == 2
    assert type(error).__module__.startswith("urllib3")
    assert last(emulator).ended == "cut"


def test_a_damaged_event_does_not_pass_its_checksum(emulator):
    emulator.inject("stream_bad_crc", after=2)
    events, error = stream(emulator)
    assert len(events) == 2
    assert isinstance(error, ChecksumMismatch)


def test_a_stall_in_the_middle_outlasts_the_patience_of_the_client(emulator):
    emulator.inject("stream_stall", after=2, seconds=30)
    events, error = stream(emulator, read_timeout=0.2)
    assert len(events) == 2
    assert type(error).__name__ == "ReadTimeoutError"


def test_what_was_written_before_a_fault_is_billed(emulator):
    emulator.inject("stream_cut", after=2)
    events, _ = stream(emulator)
    assert events[-1]["contentBlockDelta"]["delta"]["text"] == "one "
    # The word that was to be the next event had been written too.
    wait_for(lambda: last(emulator).tokens.get("output") == tokens.estimate("one two "))


def test_several_faults_meet_one_stream(emulator):
    emulator.inject("stall", seconds=0.05)
    emulator.inject("stream_stall", after=1, seconds=0.05)
    emulator.inject("stream_bad_crc", after=3)
    events, error = stream(emulator)
    assert len(events) == 3
    assert isinstance(error, ChecksumMismatch)
    assert last(emulator).faults == ("stall", "stream_stall", "stream_bad_crc")
    assert stream(emulator)[1] is None


def test_faults_of_streams_wait_for_a_stream(emulator):
    emulator.inject("stream_cut")
    converse(emulator)
    assert len(emulator.faults.armed()) == 1
    assert stream(emulator)[1] is not None


def test_a_stopped_emulator_waits_for_no_stall():
    emulator = Emulator(WordCounter())
    with emulator:
        emulator.inject("stream_stall", after=1, seconds=200)
        response = client(emulator).converse_stream(modelId=HAIKU, messages=MESSAGES)
        events = iter(response["stream"])
        next(events)
        started = time.monotonic()
    assert time.monotonic() - started < 5
    response["stream"].close()


# --- How they are asked for --------------------------------------------------------------------


def test_one_request_asks_for_its_own_fault(emulator):
    runtime = client(emulator)

    def ask(request, **_: object) -> None:
        request.headers["x-iop-fault"] = json.dumps(
            {"kind": "error", "code": "ServiceUnavailableException"}
        )

    runtime.meta.events.register_first("before-sign.bedrock-runtime.Converse", ask)
    with pytest.raises(ClientError, match="ServiceUnavailableException"):
        runtime.converse(modelId=HAIKU, messages=MESSAGES)
    converse(emulator)


def test_a_header_that_asks_for_nonsense_is_refused(emulator):
    runtime = client(emulator)

    def ask(request, **_: object) -> None:
        request.headers["x-iop-fault"] = '{"kind": "earthquake"}'

    runtime.meta.events.register_first("before-sign.bedrock-runtime.Converse", ask)
    with pytest.raises(ClientError, match="earthquake"):
        runtime.converse(modelId=HAIKU, messages=MESSAGES)


def test_faults_are_armed_shown_and_cleared_over_http(emulator):
    url = f"{emulator.url}/_emulator/faults"
    with httpx.Client(trust_env=False) as admin:
        armed = admin.post(url, json=[{"kind": "error", "times": 2}, {"kind": "reset"}])
        assert armed.status_code == 201
        assert [one["kind"] for one in admin.get(url).json()["faults"]] == ["error", "reset"]
        with pytest.raises(ClientError):
            converse(emulator)
        assert admin.get(url).json()["faults"][0]["times"] == 1
        assert admin.delete(url).json() == {"faults": []}
        converse(emulator)
        assert admin.get(f"{emulator.url}/_emulator/nothing").status_code == 404


@pytest.mark.parametrize(
    "document",
    [
        "nonsense",
        "[1]",
        '{"kind": "earthquake"}',
        '{"operation": "Converse"}',
        '{"kind": "stall", "seconds": -1}',
        '{"kind": "stall", "seconds": 1e9}',
        '{"kind": "stall", "seconds": "long"}',
        '{"kind": "stall", "colour": "red"}',
        '{"kind": "error", "times": true}',
        '{"kind": "error", "code": 7}',
        '{"kind": "error", "status": 99}',
    ],
)
def test_nonsense_is_refused_and_arms_nothing(emulator, document):
    url = f"{emulator.url}/_emulator/faults"
    refused = httpx.post(url, content=document, trust_env=False)
    assert refused.status_code == 400
    assert refused.json()["error"]
    assert emulator.faults.armed() == []


@given(
    armed=st.lists(
        st.builds(Fault, kind=st.sampled_from(Kind), times=st.integers(1, 3)), max_size=6
    ),
    requests=st.lists(st.booleans(), max_size=12),
)
def test_every_fault_is_met_as_often_as_it_was_armed_and_ends_a_request_once(armed, requests):
    registry = Faults()
    registry.arm(armed)
    met = []
    for is_stream in requests:
        taken = registry.take("Converse", region="us-east-1", is_stream=is_stream, asked_for=())
        assert [fault.is_stall for fault in taken[:-1]] == [True] * len(taken[:-1])
        assert is_stream or not any(fault.is_in_stream for fault in taken)
        met += taken
    left = sum(fault["times"] for fault in registry.armed())
    assert len(met) + left == sum(fault.times for fault in armed)


def test_one_object_is_a_list_of_one():
    assert faults.parse('{"kind": "stall", "seconds": 2}') == [Fault(kind=Kind.STALL, seconds=2)]


def address_of(emulator) -> tuple[str, int]:
    host, _, port = emulator.url.removeprefix("http://").partition(":")
    return host, int(port)


def wait_for(condition, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
