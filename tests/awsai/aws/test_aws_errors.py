from __future__ import annotations

import botocore.session
import pytest
from botocore import exceptions
from botocore.exceptions import ClientError, EventStreamError
from celery.exceptions import SoftTimeLimitExceeded
from urllib3.exceptions import ProtocolError

from awsai.ports import CallFailed, Trouble
from awsai.providers.aws import errors

SERVICES = ("bedrock-runtime", "bedrock-agent-runtime", "qbusiness", "comprehend", "textract")
# Their requests are wrong and stay so.
REFUSED = {
    "BadDocumentException",
    "BatchSizeLimitExceededException",
    "DocumentTooLargeException",
    "HumanLoopQuotaExceededException",
    "IdempotentParameterMismatchException",
    "InvalidJobIdException",
    "InvalidKMSKeyException",
    "InvalidParameterException",
    "InvalidRequestException",
    "InvalidS3ObjectException",
    "TextSizeLimitExceededException",
    "UnsupportedDocumentException",
    "UnsupportedLanguageException",
    "ValidationException",
}


def modelled_errors():
    """Every error that an operation we call can answer with, by the services' own models."""
    operations = {
        "bedrock-runtime": ["Converse", "ConverseStream", "ApplyGuardrail", "CountTokens"],
        "bedrock-agent-runtime": ["InvokeAgent", "Retrieve", "RetrieveAndGenerate", "Rerank"],
        "qbusiness": ["ChatSync", "SearchRelevantContent"],
        "comprehend": ["DetectSentiment", "BatchDetectSentiment", "DetectPiiEntities"],
        "textract": ["AnalyzeDocument", "StartDocumentAnalysis", "GetDocumentAnalysis"],
    }
    session = botocore.session.get_session()
    return sorted(
        {
            shape.metadata.get("error", {}).get("code", shape.name)
            for service, names in operations.items()
            for name in names
            for shape in session.get_service_model(service).operation_model(name).error_shapes
        }
    )


@pytest.mark.parametrize("code", modelled_errors())
def test_every_modelled_error_has_its_trouble_by_its_code_alone(code):
    """The JSON protocol answers 400 to all of them, so the status must not be needed."""
    assert (errors.trouble_of(code, 400) == Trouble.REFUSED) == (code in REFUSED)


def test_codes_inside_a_stream_are_the_same_codes():
    told = {"Error": {"Code": "throttlingException", "Message": "slow down"}}
    failed = errors.failure(EventStreamError(told, "ConverseStream"), service="bedrock-claude")
    assert (failed.trouble, failed.code, failed.service) == (
        Trouble.THROTTLED,
        "ThrottlingException",
        "bedrock-claude",
    )
    assert failed.may_pass


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        (401, Trouble.DENIED),
        (403, Trouble.DENIED),
        (404, Trouble.DENIED),
        (408, Trouble.TIMEOUT),
        (413, Trouble.REFUSED),
        (424, Trouble.UNAVAILABLE),
        (429, Trouble.THROTTLED),
        (502, Trouble.UNAVAILABLE),
    ],
)
def test_an_unknown_code_is_judged_by_its_status(status, trouble):
    told = {
        "Error": {"Code": "SomethingNew"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    assert errors.classify(ClientError(told, "Converse")) == (trouble, "SomethingNew")


@pytest.mark.parametrize(
    ("message", "trouble"),
    [
        ("Operation not allowed", Trouble.DENIED),
        ("The provided model identifier is invalid.", Trouble.DENIED),
        ("Invocation of model ID m with on-demand throughput isn't supported.", Trouble.DENIED),
        ("The maximum tokens you requested exceeds the model limit of 4096.", Trouble.REFUSED),
        ("Malformed input request, please reformat your input and try again.", Trouble.REFUSED),
    ],
)
def test_a_request_that_is_right_is_not_refused_for_what_the_account_may_not_have(message, trouble):
    told = {
        "Error": {"Code": "ValidationException", "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    assert errors.classify(ClientError(told, "Converse")) == (trouble, "ValidationException")


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (exceptions.ReadTimeoutError(endpoint_url="x"), Trouble.TIMEOUT),
        (exceptions.ConnectTimeoutError(endpoint_url="x"), Trouble.TIMEOUT),
        (exceptions.EndpointConnectionError(endpoint_url="x"), Trouble.UNAVAILABLE),
        (exceptions.ConnectionClosedError(endpoint_url="x"), Trouble.BROKEN),
        (exceptions.NoCredentialsError(), Trouble.DENIED),
        (exceptions.NoRegionError(), Trouble.DENIED),
        (exceptions.ParamValidationError(report="x"), Trouble.REFUSED),
        (ProtocolError("cut"), Trouble.BROKEN),
        (ConnectionResetError(), Trouble.BROKEN),
        (SoftTimeLimitExceeded(), Trouble.TIMEOUT),
        (CallFailed(Trouble.BLOCKED, "no"), Trouble.BLOCKED),
    ],
)
def test_what_never_reached_the_service_is_judged_by_its_kind(error, trouble):
    assert errors.classify(error)[0] == trouble


def test_what_botocore_wrapped_is_found():
    struck = SoftTimeLimitExceeded()
    assert errors.cause(exceptions.HTTPClientError(error=struck)) is struck
    closed = exceptions.ConnectionClosedError(endpoint_url="x", error=OSError())
    assert errors.cause(closed) is closed
    assert errors.cause(None) is None


def test_errors_of_our_own_are_not_translated():
    with pytest.raises(ZeroDivisionError), errors.translated("comprehend"):
        raise ZeroDivisionError
