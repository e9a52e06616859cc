"""Who signed a request: Signature Version 4, or the bearer token of Bedrock.

The signature is computed anew with botocore's own signer and compared in constant time.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

# botocore ships no types.

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import botocore.credentials
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from awsai.emulator.errors import AwsError
from awsai.emulator.exchange import Request
from awsai.emulator.operations import Operation

MAX_SKEW = timedelta(minutes=5)
DEFAULT_REGION = "us-east-1"
_STAMP = "%Y%m%dT%H%M%SZ"
_ALPHABET = string.ascii_uppercase + string.digits
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)"
    r"/aws4_request, ?SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
# The query protocol keeps the names of an older time.
_QUERY_WORDS = {
    "UnrecognizedClientException": "InvalidClientTokenId",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "IncompleteSignatureException": "IncompleteSignature",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "ExpiredTokenException": "ExpiredToken",
}


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A pair of keys, of the account itself or, with a token and an end, of an assumed role."""

    access_key_id: str
    secret_access_key: str
    principal_arn: str
    principal_id: str
    session_token: str = ""
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who a request came from, and the region it was meant for."""

    principal_arn: str
    principal_id: str
    region: str


class Keyring:
    """The credentials that the emulated account honours."""

    def __init__(self, *, credentials: Credentials, bearer_token: str = "") -> None:
        self._bearer_token = bearer_token
        self._owner = credentials
        self._by_key = {credentials.access_key_id: credentials}
        self._lock = threading.Lock()

    def lend(self, *, principal_arn: str, principal_id: str, until: datetime) -> Credentials:
        """Temporary credentials of an assumed role."""
        lent = Credentials(
            access_key_id="ASIA" + "".join(secrets.choice(_ALPHABET) for _ in range(16)),
            secret_access_key=secrets.token_urlsafe(30),
            session_token=secrets.token_urlsafe(96),
            principal_arn=principal_arn,
            principal_id=principal_id,
            expires_at=until,
        )
        with self._lock:
            self._by_key[lent.access_key_id] = lent
        return lent

    def verify(self, operation: Operation, request: Request, *, at: datetime) -> Caller:
        """Raises: AwsError, as AWS words it, when the request is not signed as it must be."""
        authorization = request.headers.get("authorization", "")
        scheme, _, token = authorization.partition(" ")
        if scheme == "Bearer":
            return self._bearer(operation, token)
        try:
            return self._signed(operation, request, authorization, at)
        except AwsError as error:
            if operation.protocol == "query":
                error.code = _QUERY_WORDS.get(error.code, error.code)
            raise

    def _bearer(self, operation: Operation, token: str) -> Caller:
        known = self._bearer_token.encode()
        if (
            not operation.takes_bearer_token
            or not known
            or not hmac.compare_digest(token.encode(), known)
        ):
            raise _forbidden(
                "AccessDeniedException",
                "Authentication failed: Please make sure your API Key is valid.",
            )
        return Caller(
            principal_arn=self._owner.principal_arn,
            principal_id=self._owner.principal_id,
            region=DEFAULT_REGION,
        )

    def _signed(
        self, operation: Operation, request: Request, authorization: str, at: datetime
    ) -> Caller:
        if not authorization:
            raise _forbidden("MissingAuthenticationTokenException", "Missing Authentication Token")
        claim = _AUTHORIZATION.fullmatch(authorization)
        if claim is None:
            raise _forbidden(
                "IncompleteSignatureException", "The Authorization header is not of Signature V4."
            )
        with self._lock:
            credentials = self._by_key.get(claim["key"])
        if credentials is None or not _has_token(request, credentials):
            raise _forbidden(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            )
        _check_scope(operation, claim)
        stamp = request.headers.get("x-amz-date", "")
        _check_time(stamp, claim["day"], at)
        _check_signature(request, claim, credentials, stamp)
        if credentials.expires_at and credentials.expires_at <= at:
            raise _forbidden(
                "ExpiredTokenException", "The security token included in the request is expired"
            )
        return Caller(
            principal_arn=credentials.principal_arn,
            principal_id=credentials.principal_id,
            region=claim["region"],
        )


def _has_token(request: Request, credentials: Credentials) -> bool:
    given = request.headers.get("x-amz-security-token", "")
    return hmac.compare_digest(given.encode(), credentials.session_token.encode())


def _check_scope(operation: Operation, claim: re.Match[str]) -> None:
    if claim["service"] != operation.signing_name:
        raise _forbidden(
            "InvalidSignatureException",
            f"Credential should be scoped to correct service: '{operation.signing_name}'.",
        )


def _check_time(stamp: str, day: str, at: datetime) -> None:
    try:
        signed_at = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        raise _forbidden(
            "IncompleteSignatureException", "X-Amz-Date is missing or malformed."
        ) from None
    if stamp[:8] != day:
        raise _forbidden(
            "InvalidSignatureException", "Date in Credential scope does not match X-Amz-Date."
        )
    if signed_at < at - MAX_SKEW:
        raise _forbidden("InvalidSignatureException", f"Signature expired: {stamp} is too old.")
    if signed_at > at + MAX_SKEW:
        raise _forbidden("InvalidSignatureException", f"Signature not yet current: {stamp}.")


class _Signer(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs over a body whose hash is known; botocore would prepare the request for sending first."""

    def __init__(self, body_hash: str, *keys: Any) -> None:
        super().__init__(*keys)
        self._body_hash = body_hash

    def payload(self, request: AWSRequest) -> str:
        return self._body_hash


def _check_signature(
    request: Request, claim: re.Match[str], credentials: Credentials, stamp: str
) -> None:
    names = claim["headers"].split(";")
    if not {"host", "x-amz-date"} <= set(names) or not set(names) <= set(request.headers):
        raise _mismatch()
    body_hash = hashlib.sha256(request.body).hexdigest()
    if request.headers.get("x-amz-content-sha256") not in (None, body_hash):
        raise _mismatch()
    signed: Mapping[str, str] = {name: request.headers[name] for name in names}
    anew = AWSRequest(
        method=request.method,
        # Signed over http, the body is always under the signature.
        url=f"http://{request.headers['host']}{request.target}",
        headers=signed,
    )
    anew.context["timestamp"] = stamp
    keys = botocore.credentials.Credentials(
        credentials.access_key_id, credentials.secret_access_key
    )
    signer = _Signer(body_hash, keys, claim["service"], claim["region"])
    expected = signer.signature(signer.string_to_sign(anew, signer.canonical_request(anew)), anew)
    if not hmac.compare_digest(claim["signature"], expected):
        raise _mismatch()


def _mismatch() -> AwsError:
    return _forbidden(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided.",
    )


def _forbidden(code: str, message: str) -> AwsError:
    return AwsError(code, message, status=HTTPStatus.FORBIDDEN)
