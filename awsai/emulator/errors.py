"""What an AWS service answers instead of a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from awsai.ports import Trouble

INTERNAL = ("InternalServerException", "InternalServerError", "InternalErrorException")

# The first of these that an operation models is its word for the trouble.
TROUBLES: Mapping[Trouble, tuple[str, ...]] = {
    Trouble.THROTTLED: (
        "ThrottlingException",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
    ),
    Trouble.TIMEOUT: ("ModelTimeoutException", "ModelStreamErrorException", *INTERNAL),
    Trouble.UNAVAILABLE: ("ServiceUnavailableException", *INTERNAL),
    Trouble.DENIED: ("AccessDeniedException",),
    Trouble.REFUSED: (
        "UnsupportedDocumentException",
        "ValidationException",
        "InvalidRequestException",
        "InvalidParameterException",
    ),
    Trouble.BROKEN: (
        "ModelErrorException",
        "ModelStreamErrorException",
        "DependencyFailedException",
        *INTERNAL,
    ),
    Trouble.BLOCKED: ("AccessDeniedException",),
}

_STATUS = {
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ThrottlingException": 429,
    "ServiceUnavailableException": 503,
    **dict.fromkeys(INTERNAL, 500),
}


class AwsError(Exception):
    """An error of the service; `status` counts only where the service's model sets none.

    `detail` holds what some error shapes require beside the message.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.message = code, message
        self.status = status or _STATUS.get(code, 400)
        self.detail = dict(detail or {})


def invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def access_denied(message: str) -> AwsError:
    return AwsError("AccessDeniedException", message)
