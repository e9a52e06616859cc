from __future__ import annotations

import gc
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from celery.exceptions import SoftTimeLimitExceeded

from awsai import tokens
from awsai.models import AwsCall, AwsCallIntent
from awsai.ports import Answer, CallFailed, Piece, Question, Trouble
from awsai.purpose import serving
from incidentops.embedded import free_port
from tests.awsai.aws.calls import (
    HAIKU,
    NOVA,
    QUESTION,
    converse,
    converse_stream,
    reasoner,
    rows,
    the_row,
)
from tests.narrowing import known

pytestmark = pytest.mark.django_db


# --- Calls that answer at once -----------------------------------------------------------------


def test_an_answer_is_a_row_as_the_service_told_it(emulator):
    with serving(incident=7, agent="diagnosis", run_ref="run:3"):
        told = converse()
    row, logged = the_row(), emulator.log.entries()[-1]
    assert (row.service, row.operation, row.provider) == ("bedrock-claude", "Converse", "emulator")
    assert (row.outcome, row.stop_reason, row.error_code) == ("succeeded", "end_turn", "")
    assert row.tokens == logged.tokens
    assert row.tokens["input"] == told["usage"]["inputTokens"] > 0
    assert row.usage_confidence == "reported"
    assert row.request_id == logged.request_id == told["ResponseMetadata"]["RequestId"]
    assert (row.model_requested, row.model_invoked) == (HAIKU, HAIKU)
    assert (row.region, row.incident_number, row.run_ref) == ("us-east-1", 7, "run:3")
    (attempt,) = row.attempts
    assert (attempt["number"], attempt["http_status"], attempt["error"]) == (1, 200, "")
    assert known(row.latency_ms) >= attempt["latency_ms"]
    assert row.first_token_ms is None


def test_other_models_and_services_are_called_by_their_names(emulator):
    converse(model=NOVA)
    assert the_row().service == "bedrock-nova"


ONCE = [
    ("ThrottlingException", 429),
    ("ServiceUnavailableException", 503),
    ("InternalServerException", 500),
    # botocore takes these two for final.
    ("ModelTimeoutException", 408),
    ("ModelErrorException", 424),
]


@pytest.mark.parametrize(("code", "status"), ONCE)
def test_what_passes_is_tried_again_within_one_row(emulator, impatient, code, status):
    emulator.inject("error", operation="Converse", code=code, status=status)
    converse()
    row = the_row()
    assert row.outcome == "succeeded"
    assert [(one["number"], one["http_status"], one["error"]) for one in row.attempts] == [
        (1, status, code),
        (2, 200, ""),
    ]
    assert [one["request_id"] for one in row.attempts] == [
        entry.request_id for entry in emulator.log.entries()
    ]


STAYS = [
    ("ThrottlingException", 429, "throttled", 3),
    ("ServiceUnavailableException", 503, "unavailable", 3),
    ("InternalServerException", 500, "unavailable", 3),
    ("ModelTimeoutException", 408, "timeout", 2),
    ("ModelErrorException", 424, "unavailable", 2),
    ("AccessDeniedException", 403, "denied", 1),
    ("ResourceNotFoundException", 404, "denied", 1),
    ("ValidationException", 400, "refused", 1),
]


@pytest.mark.parametrize(("code", "status", "outcome", "attempts"), STAYS)
def test_what_stays_wrong_is_one_row_that_says_how(
    emulator, impatient, code, status, outcome, attempts
):
    emulator.inject("error", operation="Converse", code=code, status=status, times=9)
    with pytest.raises(ClientError):
        converse()
    row = the_row()
    assert (row.outcome, row.error_code, row.tokens) == (outcome, code, {})
    assert row.model_invoked == ""
    assert [one["http_status"] for one in row.attempts] == [status] * attempts
    assert len(emulator.log.entries()) == attempts


def test_a_reset_connection_is_tried_again_and_noted_without_a_status(emulator):
    emulator.inject("reset", operation="Converse")
    converse()
    first, second = the_row().attempts
    assert (first["http_status"], first["error"]) == (None, "ConnectionClosedError")
    assert second["http_status"] == 200


def test_connections_that_are_always_reset_are_a_broken_call(emulator):
    emulator.inject("reset", operation="Converse", times=9)
    with pytest.raises(CallFailed) as failed:
        reasoner().answer(QUESTION, model=HAIKU)
    assert failed.value.trouble == Trouble.BROKEN
    assert (the_row().outcome, len(the_row().attempts)) == ("broken", 3)


def test_a_service_that_stalls_is_a_timeout_after_three_attempts(emulator, impatient):
    emulator.inject("stall", operation="Converse", seconds=2, times=9)
    with pytest.raises(CallFailed) as failed:
        reasoner().answer(QUESTION, model=HAIKU)
    row = the_row()
    assert failed.value.trouble == Trouble.TIMEOUT
    assert (row.outcome, row.error_code) == ("timeout", "ReadTimeoutError")
    assert len(row.attempts) == 3
    assert all(300 <= one["latency_ms"] < 1500 for one in row.attempts)


def test_no_attempt_begins_after_the_limit_of_the_call(emulator, impatient, settings):
    settings.AWSAI_CALL_LIMIT = timedelta(seconds=0.2)
    emulator.inject("stall", operation="Converse", seconds=2, times=9)
    with pytest.raises(CallFailed):
        reasoner().answer(QUESTION, model=HAIKU)
    row = the_row()
    assert (row.outcome, len(row.attempts)) == ("timeout", 1)
    assert 150 <= known(row.latency_ms) < 300


def test_an_emulator_that_is_gone_is_a_row_too(settings):
    settings.AWSAI_PROVIDER = "emulator"
    settings.AWS_EMULATOR_URL = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(CallFailed) as failed:
        reasoner().answer(QUESTION, model=HAIKU)
    assert failed.value.trouble == Trouble.UNAVAILABLE
    row = the_row()
    assert (row.outcome, row.error_code) == ("unavailable", "EndpointConnectionError")
    assert {one["http_status"] for one in row.attempts} == {None}


def test_a_request_that_cannot_be_built_is_refused_and_never_intended(emulator):
    impossible = Question(task="summary", instruction="Sum up", max_tokens=0)
    with pytest.raises(CallFailed) as failed:
        reasoner().answer(impossible, model=HAIKU)
    assert (failed.value.trouble, failed.value.code) == (Trouble.REFUSED, "ParamValidationError")
    assert isinstance(failed.value.__cause__, ParamValidationError)
    assert not AwsCallIntent.objects.exists()
    assert not emulator.log.entries()


def test_the_end_of_a_task_is_not_taken_for_a_failure_of_http(emulator, monkeypatch):
    # Where the signal strikes is up to the signal: here, while the request is on its way.
    def strike(*_args, **_kwargs):
        raise SoftTimeLimitExceeded

    monkeypatch.setattr("urllib3.connectionpool.HTTPConnectionPool.urlopen", strike)
    with pytest.raises(SoftTimeLimitExceeded):
        reasoner().answer(QUESTION, model=HAIKU)
    row = the_row()
    assert (row.outcome, row.error_code) == ("timeout", "SoftTimeLimitExceeded")
    assert len(row.attempts) == 1


def test_an_answer_of_the_emulator_is_labelled_whatever_was_configured(
    emulator, settings, monkeypatch
):
    settings.AWSAI_PROVIDER = "aws"
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    converse()
    assert the_row().provider == "emulator"


# --- Streams -----------------------------------------------------------------------------------


def test_a_stream_that_was_read_is_one_row_with_what_it_told(emulator):
    *pieces, answer = list(reasoner().stream(QUESTION, model=HAIKU))
    row, logged = the_row(), emulator.log.entries()[-1]
    assert isinstance(answer, Answer)
    assert answer.text == "".join(piece.text for piece in pieces)
    assert (row.operation, row.outcome, row.stop_reason) == (
        "ConverseStream",
        "succeeded",
        "end_turn",
    )
    assert (row.tokens, row.usage_confidence) == (logged.tokens, "reported")
    assert answer.served.call == row.sequence
    assert answer.served.usage.tokens == row.tokens
    assert known(row.first_token_ms) <= known(row.latency_ms)


STREAM_EXCEPTIONS = [
    ("ThrottlingException", "throttled"),
    ("InternalServerException", "unavailable"),
    ("ModelStreamErrorException", "broken"),
    ("ValidationException", "refused"),
    ("ServiceUnavailableException", "unavailable"),
]


@pytest.mark.parametrize(("code", "outcome"), STREAM_EXCEPTIONS)
def test_an_exception_inside_a_stream_is_one_row_with_its_code(emulator, code, outcome):
    emulator.inject("stream_exception", operation="ConverseStream", code=code, after=3)
    with pytest.raises(CallFailed) as failed:
        list(reasoner().stream(QUESTION, model=HAIKU))
    assert (failed.value.trouble, failed.value.code) == (outcome, code)
    row = the_row()
    assert (row.outcome, row.error_code, row.usage_confidence) == (outcome, code, "estimated")
    assert 0 < row.tokens["output"] <= emulator.log.entries()[-1].tokens["output"]


@pytest.mark.parametrize(
    ("kind", "outcome", "code"),
    [
        ("stream_cut", "broken", "ProtocolError"),
        ("stream_bad_crc", "broken", "ChecksumMismatch"),
        ("stream_stall", "timeout", "ReadTimeoutError"),
    ],
)
def test_a_stream_that_breaks_is_one_row_with_what_had_come(
    emulator, impatient, kind, outcome, code
):
    emulator.inject(kind, operation="ConverseStream", after=3, seconds=2)
    came: list[Piece] = []
    with pytest.raises(CallFailed) as failed:
        came.extend(reasoner().stream(QUESTION, model=HAIKU))
    said = "".join(piece.text for piece in came)
    assert failed.value.trouble == outcome
    row = the_row()
    assert (row.outcome, row.error_code) == (outcome, code)
    assert said
    assert row.tokens["output"] == tokens.estimate(said)
    assert row.usage_confidence == "estimated"


def test_a_stream_that_breaks_before_its_first_word_is_asked_once_more(emulator):
    emulator.inject("stream_cut", operation="ConverseStream", after=0)
    *_, answer = list(reasoner().stream(QUESTION, model=HAIKU))
    broken, succeeded = rows()
    assert (broken.outcome, broken.tokens) == ("broken", {})
    assert (succeeded.outcome, succeeded.sequence) == ("succeeded", answer.served.call)


def test_a_stream_that_breaks_twice_is_not_asked_a_third_time(emulator):
    emulator.inject("stream_cut", operation="ConverseStream", after=0, times=9)
    with pytest.raises(CallFailed):
        list(reasoner().stream(QUESTION, model=HAIKU))
    assert [row.outcome for row in rows()] == ["broken", "broken"]


def test_a_stream_that_never_ends_is_stopped_at_the_limit_of_the_call(emulator, settings):
    settings.AWSAI_CALL_LIMIT = timedelta(seconds=1.2)
    # No gap is long enough for a time-out of the socket, even if the call began late.
    for place in range(1, 5):
        emulator.inject("stream_stall", operation="ConverseStream", after=place, seconds=0.4)
    with pytest.raises(CallFailed) as failed:
        list(reasoner().stream(QUESTION, model=HAIKU))
    assert (failed.value.trouble, failed.value.code) == (Trouble.TIMEOUT, "CallLimit")
    row = the_row()
    assert (row.outcome, row.error_code, row.usage_confidence) == (
        "timeout",
        "CallLimit",
        "estimated",
    )
    assert row.tokens["output"] > 0


def test_asking_once_more_does_not_begin_the_limit_anew(emulator, settings):
    settings.AWSAI_CALL_LIMIT = timedelta(seconds=0.5)
    emulator.inject("stream_stall", operation="ConverseStream", after=0, seconds=0.3)
    emulator.inject("stream_cut", operation="ConverseStream", after=0)
    emulator.inject("stream_stall", operation="ConverseStream", after=0, seconds=0.3)
    with pytest.raises(CallFailed):
        list(reasoner().stream(QUESTION, model=HAIKU))
    assert [row.outcome for row in rows()] == ["broken", "timeout"]
    assert sum(known(row.latency_ms) for row in rows()) < 600


def test_a_refused_stream_is_a_row_like_any_other(emulator):
    with pytest.raises(CallFailed) as failed:
        list(reasoner().stream(QUESTION, model="amazon.nova-nothing-v9:0"))
    assert failed.value.trouble == Trouble.DENIED
    assert (the_row().outcome, the_row().operation) == ("denied", "ConverseStream")


def assert_abandoned(output: int) -> None:
    row = the_row()
    assert (row.outcome, row.error_code, row.usage_confidence) == ("abandoned", "", "estimated")
    assert row.tokens["input"] > 0
    assert row.tokens.get("output", 0) == output


def test_closing_a_stream_is_leaving_it(emulator):
    stream = reasoner().stream(QUESTION, model=HAIKU)
    first = next(stream)
    assert isinstance(first, Piece)
    stream.close()
    assert_abandoned(tokens.estimate(first.text))


def test_a_reader_that_fails_leaves_the_stream(emulator):
    with pytest.raises(ZeroDivisionError):
        [1 / 0 for _ in reasoner().stream(QUESTION, model=HAIKU)]
    gc.collect()
    assert_abandoned(tokens.estimate("Sum up: "))


def test_a_stream_that_nobody_ever_reads_has_its_row_when_it_is_forgotten(emulator):
    stream = converse_stream()
    assert not AwsCall.objects.exists()
    del stream
    gc.collect()
    assert_abandoned(0)


def test_a_stream_that_told_everything_is_not_abandoned_by_closing_it(emulator):
    stream = converse_stream()
    while "metadata" not in next(stream):
        pass
    stream.close()
    assert (the_row().outcome, the_row().usage_confidence) == ("succeeded", "reported")


def test_what_is_left_of_a_stream_is_not_read_into_the_next_call(emulator):
    next(converse_stream())
    gc.collect()
    converse()
    assert [row.outcome for row in rows()] == ["abandoned", "succeeded"]
