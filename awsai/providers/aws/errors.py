"""What goes wrong on the way to AWS, in the words of the ports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions
from botocore.eventstream import ParserError
from botocore.parsers import ResponseParserError
from celery.exceptions import SoftTimeLimitExceeded
from urllib3.exceptions import HTTPError, ReadTimeoutError

from awsai.ports import CallFailed, Trouble

_CODES = {
    Trouble.THROTTLED: """
        Throttling ThrottlingException ThrottledException RequestThrottled SlowDown
        RequestThrottledException TooManyRequestsException RequestLimitExceeded
        BandwidthLimitExceeded LimitExceededException ServiceQuotaExceededException
        ProvisionedThroughputExceededException
    """,
    Trouble.TIMEOUT: "ModelTimeoutException RequestTimeout RequestTimeoutException",
    Trouble.UNAVAILABLE: """
        ModelNotReadyException ModelErrorException DependencyFailedException BadGatewayException
        ConflictException ExternalResourceException InternalFailure InternalServerError
        InternalServerException ServiceUnavailable ServiceUnavailableException
    """,
    Trouble.DENIED: """
        AccessDenied AccessDeniedException ExpiredToken ExpiredTokenException InvalidClientTokenId
        InvalidSignatureException LicenseNotFoundException MissingAuthenticationToken
        MissingAuthenticationTokenException NotAuthorized OptInRequired ResourceNotFoundException
        SignatureDoesNotMatch SubscriptionRequiredException UnauthorizedException
        UnrecognizedClientException
    """,
    Trouble.BROKEN: "ModelStreamErrorException",
}
_BY_CODE = {code.lower(): trouble for trouble, codes in _CODES.items() for code in codes.split()}
# Bedrock says in the words of a ValidationException, too, that an account or a model is not served:
# the request is right, and the same one is answered where they are.
_NOT_SERVED = (
    "operation not allowed",
    "model identifier is invalid",
    "on-demand throughput isn",
    "not authorized to",
    "don't have access",
    "reached the end of its life",
)
_BY_STATUS = {
    401: Trouble.DENIED,
    403: Trouble.DENIED,
    404: Trouble.DENIED,
    408: Trouble.TIMEOUT,
    409: Trouble.UNAVAILABLE,
    424: Trouble.UNAVAILABLE,
    429: Trouble.THROTTLED,
}
# The first class that fits decides.
_BY_CLASS: tuple[tuple[Trouble, tuple[type[BaseException], ...]], ...] = (
    (
        Trouble.TIMEOUT,
        (
            exceptions.ReadTimeoutError,
            exceptions.ConnectTimeoutError,
            ReadTimeoutError,
            SoftTimeLimitExceeded,
        ),
    ),
    (
        Trouble.DENIED,
        (
            exceptions.NoCredentialsError,
            exceptions.NoAuthTokenError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.TokenRetrievalError,
            exceptions.ProfileNotFound,
            exceptions.BaseEndpointResolverError,
        ),
    ),
    (Trouble.UNAVAILABLE, (exceptions.ConnectionError,)),
    (
        Trouble.BROKEN,
        (
            exceptions.HTTPClientError,
            exceptions.IncompleteReadError,
            exceptions.ChecksumError,
            ParserError,
            ResponseParserError,
            HTTPError,
            OSError,
        ),
    ),
)
# What a call or its stream may raise because of AWS or the network; nothing else is translated.
WIRE_ERRORS = (
    exceptions.BotoCoreError,
    exceptions.ClientError,
    ParserError,
    ResponseParserError,
    HTTPError,
    OSError,
)


def trouble_of(code: str, status: int, message: str = "") -> Trouble:
    """By the code a service told, else by the status of its answer.

    The code goes first: the JSON protocol answers 400 even to throttled and to denied requests.
    """
    if code == "ValidationException" and any(one in message.lower() for one in _NOT_SERVED):
        return Trouble.DENIED
    if trouble := _BY_CODE.get(code.lower()):
        return trouble
    return _BY_STATUS.get(status, Trouble.UNAVAILABLE if status >= 500 else Trouble.REFUSED)


def classify(error: BaseException) -> tuple[Trouble, str]:
    """The trouble and its code: the service's own word, else the name of the exception."""
    if isinstance(error, CallFailed):
        return error.trouble, error.code or error.trouble.value
    if isinstance(error, exceptions.ClientError):
        told = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
        code = capitalised(str(told.get("Code", "")))
        return trouble_of(code, status, str(told.get("Message", ""))), code
    for trouble, classes in _BY_CLASS:
        if isinstance(error, classes):
            return trouble, type(error).__name__
    # What is left of botocore's own errors are requests that cannot be built.
    return Trouble.REFUSED, type(error).__name__


def capitalised(code: str) -> str:
    """One spelling: inside a stream the same codes begin with a small letter."""
    return code[:1].upper() + code[1:]


def cause(error: BaseException | None) -> BaseException | None:
    """What botocore wrapped: it takes whatever interrupts a request for a failure of HTTP."""
    if error is not None and type(error) is exceptions.HTTPClientError:
        wrapped = getattr(error, "kwargs", {}).get("error")
        return wrapped if isinstance(wrapped, BaseException) else error
    return error


def failure(error: BaseException, *, service: str) -> CallFailed:
    trouble, code = classify(error)
    return CallFailed(trouble, " ".join(str(error).split())[:500], code=code, service=service)


@contextmanager
def translated(service: str) -> Iterator[None]:
    """What goes wrong on the wire inside the block is raised as `CallFailed`."""
    try:
        yield
    except WIRE_ERRORS as error:
        raise failure(error, service=service) from error
