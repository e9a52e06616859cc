"""Who may call: Signature Version 4 and Bedrock's bearer token."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from awsai.emulator.emulator import Emulator
from tests.awsai.emulator.clients import HAIKU, ClientError, client, signed, user

BODY = b'{"messages": [{"role": "user", "content": [{"text": "hello"}]}]}'
PATH = "/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse"


def post(emulator: Emulator, headers: dict[str, str], *, body: bytes = BODY, path: str = PATH):
    return httpx.post(emulator.url + path, headers=headers, content=body, trust_env=False)


def headers_of(emulator: Emulator, **changes: Any) -> dict[str, str]:
    return signed(emulator, path=PATH, body=BODY, **changes)


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.headers["x-amzn-errortype"]


def test_a_request_signed_by_hand_is_answered(emulator):
    assert post(emulator, headers_of(emulator)).status_code == 200


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"aws_secret_access_key": "not the secret"}, "InvalidSignatureException"),
        ({"aws_access_key_id": "AKIDNOBODY"}, "UnrecognizedClientException"),
    ],
)
def test_wrong_keys_are_refused(emulator, keys, code):
    with pytest.raises(ClientError, match=code) as refused:
        client(emulator, keys=keys).converse(modelId=HAIKU, messages=user("hello"))
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_sts_refuses_in_the_words_of_its_protocol(emulator):
    keys = {"aws_secret_access_key": "not the secret"}
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client(emulator, "sts", keys=keys).get_caller_identity()


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_clock_more_than_five_minutes_off_is_refused(emulator, minutes):
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    response = post(emulator, headers_of(emulator, at=at))
    assert error_of(response) == (403, "InvalidSignatureException")


@pytest.mark.parametrize("minutes", [-4, 4])
def test_a_clock_less_than_five_minutes_off_is_not(emulator, minutes):
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    assert post(emulator, headers_of(emulator, at=at)).status_code == 200


def test_nothing_under_the_signature_can_be_changed(emulator):
    headers = headers_of(emulator)
    for changed in (
        post(emulator, headers, body=BODY.replace(b"hello", b"hullo")),
        post(emulator, headers, path=PATH.replace("haiku", "hiaku")),
        post(emulator, headers, path=f"{PATH}?more=1"),
        post(emulator, headers | {"X-Amz-Date": _a_second_later(headers["X-Amz-Date"])}),
    ):
        assert error_of(changed) == (403, "InvalidSignatureException")


def test_a_signature_for_another_service_is_refused(emulator):
    response = post(emulator, headers_of(emulator, service="comprehend"))
    assert response.status_code in (403, 404)
    with_target = signed(
        emulator,
        path="/",
        body=b"{}",
        service="textract",
        headers={"X-Amz-Target": "Comprehend_20171127.DetectSentiment"},
    )
    refused = post(emulator, with_target, body=b"{}", path="/")
    assert error_of(refused) == (403, "InvalidSignatureException")
    assert "comprehend" in refused.text


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Authorization": ""}, "MissingAuthenticationTokenException"),
        ({"Authorization": "AWS4-HMAC-SHA256 nonsense"}, "IncompleteSignatureException"),
        ({"X-Amz-Date": "yesterday"}, "IncompleteSignatureException"),
    ],
)
def test_a_request_without_a_whole_signature_is_refused(emulator, change, code):
    headers = headers_of(emulator) | change
    if not headers["Authorization"]:
        del headers["Authorization"]
    assert error_of(post(emulator, headers)) == (403, code)


def test_a_body_that_is_not_the_one_its_hash_promises_is_refused(emulator):
    headers = signed(
        emulator, path=PATH, body=BODY, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    )
    assert error_of(post(emulator, headers)) == (403, "InvalidSignatureException")


def test_bedrock_takes_its_bearer_token_and_no_other(provider):
    with Emulator(provider, bearer_token="the-key") as emulator:
        assert post(emulator, {"Authorization": "Bearer the-key"}).status_code == 200
        for token in ("another-key", ""):
            refused = post(emulator, {"Authorization": f"Bearer {token}".strip()})
            assert error_of(refused) == (403, "AccessDeniedException")
        comprehend = post(
            emulator,
            {
                "Authorization": "Bearer the-key",
                "X-Amz-Target": "Comprehend_20171127.DetectSentiment",
            },
            body=b"{}",
            path="/",
        )
        assert error_of(comprehend) == (403, "AccessDeniedException")


def test_without_a_bearer_token_of_its_own_an_emulator_takes_none(emulator):
    refused = post(emulator, {"Authorization": "Bearer"})
    assert error_of(refused) == (403, "AccessDeniedException")


def _a_second_later(stamp: str) -> str:
    at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return (at + timedelta(seconds=1)).strftime("%Y%m%dT%H%M%SZ")
