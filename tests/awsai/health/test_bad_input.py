"""What each service makes of bad input: a typed error, a row, a health state, words for people.

`TABLE` is meant to be read. A line is a service and what is wrong; `NOT_POSSIBLE` says why there are no
others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import close_old_connections
from django.test import Client

from awsai import gateway
from awsai.emulator.catalogue import MODELS
from awsai.emulator.emulator import OWNER, Emulator
from awsai.models import AwsCall, AwsCallIntent, CatalogueModel
from awsai.ports import CallFailed, Passage, Question, Trouble
from awsai.providers import provider
from awsai.providers.aws import session
from awsai.providers.aws.reader import MOST_BYTES
from awsai.providers.local import PROVIDER
from awsai.services import SERVICES
from incidentops.access import chain
from tests.factories import make_token

# The emulator's threads look things up in what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

OVERSIZED, LANGUAGE = "oversized text", "wrong language"
CREDENTIALS, EXPIRED = "missing credentials", "expired token"
MODEL, CLOSED = "unknown model", "closed service"
BAD = (OVERSIZED, LANGUAGE, CREDENTIALS, EXPIRED, MODEL, CLOSED)

# What is to be read in `onboarding.reason` of the service.
KNOWN = ""
NO_CREDENTIALS = "The last calls of it were denied: no credentials were found."
HAVE_EXPIRED = "The last calls of it were denied: the credentials have expired."
NO_ACCESS = (
    "The last calls of it were denied: the role may not use it, or it is closed to the account."
)
NOT_THERE = "The last calls of it were denied: the model or resource is unknown there, or has reached its end."

# Service, what is wrong | code, trouble | what people read
TABLE = [
    ("bedrock-claude", OVERSIZED, "ValidationException", "refused", KNOWN),
    ("bedrock-claude", CREDENTIALS, "NoCredentialsError", "denied", NO_CREDENTIALS),
    ("bedrock-claude", EXPIRED, "ExpiredTokenException", "denied", HAVE_EXPIRED),
    ("bedrock-claude", MODEL, "ResourceNotFoundException", "denied", NOT_THERE),
    ("bedrock-claude", CLOSED, "AccessDeniedException", "denied", NO_ACCESS),
    ("bedrock-nova", OVERSIZED, "ValidationException", "refused", KNOWN),
    ("bedrock-nova", CREDENTIALS, "NoCredentialsError", "denied", NO_CREDENTIALS),
    ("bedrock-nova", EXPIRED, "ExpiredTokenException", "denied", HAVE_EXPIRED),
    ("bedrock-nova", MODEL, "ResourceNotFoundException", "denied", NOT_THERE),
    ("bedrock-nova", CLOSED, "AccessDeniedException", "denied", NO_ACCESS),
    ("bedrock-agents", OVERSIZED, "ValidationException", "refused", KNOWN),
    ("bedrock-agents", CREDENTIALS, "NoCredentialsError", "denied", NO_CREDENTIALS),
    ("bedrock-agents", EXPIRED, "ExpiredTokenException", "denied", HAVE_EXPIRED),
    ("bedrock-agents", CLOSED, "AccessDeniedException", "denied", NO_ACCESS),
    ("bedrock-guardrails", OVERSIZED, "ValidationException", "refused", KNOWN),
    ("bedrock-guardrails", CREDENTIALS, "NoCredentialsError", "denied", NO_CREDENTIALS),
    ("bedrock-guardrails", EXPIRED, "ExpiredTokenException", "denied", HAVE_EXPIRED),
    ("bedrock-guardrails", CLOSED, "AccessDeniedException", "denied", NO_ACCESS),
    ("bedrock-knowledge-bases", CREDENTIALS, "NoCredentialsError", "denied", NO_CREDENTIALS),
    ("bedrock-knowledge-bases", EXPIRED, "ExpiredTokenException", "denied", HAVE_EXPIRED),
    ("bedrock-knowledge-bases", MODEL, "ResourceNotFoundException", "denied", NOT_THERE),
    ("bedrock-knowledge-bases", CLOSED, "AccessDeniedException", "denied", NO_ACCESS),
    ("q-business", OVERSIZED, "ValidationException", "refused", KNOWN),
    ("q-business", CREDENTIALS, "NoCredentialsError", "denied", NO_CREDENTIALS),
    ("q-business", EXPIRED, "ExpiredTokenException", "denied", HAVE_EXPIRED),
    ("q-business", CLOSED, "AccessDeniedException", "denied", NO_ACCESS),
    ("comprehend", OVERSIZED, "TextSizeLimitExceededException", "refused", KNOWN),
    ("comprehend", LANGUAGE, "UnsupportedLanguageException", "refused", KNOWN),
    ("comprehend", CREDENTIALS, "NoCredentialsError", "denied", NO_CREDENTIALS),
    ("comprehend", EXPIRED, "ExpiredTokenException", "denied", HAVE_EXPIRED),
    ("comprehend", CLOSED, "AccessDeniedException", "denied", NO_ACCESS),
    ("textract", OVERSIZED, "DocumentTooLargeException", "refused", KNOWN),
    ("textract", CREDENTIALS, "NoCredentialsError", "denied", NO_CREDENTIALS),
    ("textract", EXPIRED, "ExpiredTokenException", "denied", HAVE_EXPIRED),
    ("textract", CLOSED, "AccessDeniedException", "denied", NO_ACCESS),
]
NOT_POSSIBLE = {
    ("bedrock-knowledge-bases", OVERSIZED): "queries are cut to what it takes",
    **{
        (service.name, LANGUAGE): "its requests name no language"
        for service in SERVICES
        if service.name != "comprehend"
    },
    **{
        (service, MODEL): "its requests name no model"
        for service in ("bedrock-agents", "bedrock-guardrails", "q-business", "comprehend")
    },
    ("textract", MODEL): "its requests name no model",
}
# Nobody here knows how much these take, so the service has to say it.
TOLD = {
    "bedrock-claude": "Input is too long for requested model.",
    "bedrock-nova": "Input is too long for requested model.",
    "bedrock-agents": "The text is too long.",
    "bedrock-guardrails": "The text is too long.",
    "q-business": "The text is too long.",
    "comprehend": "Input text size exceeds limit.",
    "textract": "Request has unsupported document size.",
}
FAMILIES = {"bedrock-claude": "Anthropic", "bedrock-nova": "Amazon"}
ASKER = gateway.Asker(incident=7, severity="critical", agent="diagnosis", run_ref="run:1")
QUESTION = Question(
    task="summary",
    instruction="Sum up.",
    passages=(Passage(id="c1", text="The pool of orders has been exhausted since 14:05."),),
    max_tokens=300,
)
PNG = b"\x89PNG\r\n\x1a\n"
TEXT = "The pool has recovered."


def asked_directly(service: str) -> None:
    """The service is asked through its port, which tells what went wrong."""
    remote = provider()
    match service:
        case "bedrock-claude" | "bedrock-nova":
            model = CatalogueModel.objects.filter(service=service).routable().last()
            assert model is not None
            remote.reasoner().answer(QUESTION, model=model.model_id)
        case "bedrock-agents":
            remote.assistant().say(TEXT, session_id="s-1", memory_id="m-1")
        case "bedrock-guardrails":
            remote.guard().check(TEXT, direction="input")
        case "bedrock-knowledge-bases":
            remote.retriever().answer("restart the pool")
        case "q-business":
            remote.retriever("q-business").answer("restart the pool")
        case "comprehend":
            remote.text_analyst().sentiments([TEXT])
        case "textract":
            remote.document_reader().read(PNG, media_type="image/png")


# Q Business is asked beside others, which answer in any case, and nobody here reads pictures.
BY_GATEWAY: dict[str, Callable[[], str]] = {
    "bedrock-claude": lambda: gateway.ask(QUESTION, asker=ASKER).provider,
    "bedrock-nova": lambda: gateway.ask(QUESTION, asker=ASKER).provider,
    "bedrock-guardrails": lambda: gateway.ask(QUESTION, asker=ASKER).provider,
    "bedrock-agents": lambda: (
        gateway.say(TEXT, session_id="s-1", memory_id="m-1", asker=ASKER).served.provider
    ),
    "bedrock-knowledge-bases": lambda: gateway.explain("pool", asker=ASKER).served.provider,
    "comprehend": lambda: gateway.sentiments([TEXT], asker=ASKER).served.provider,
}


@contextmanager
def account(
    settings: Any, monkeypatch: Any, bad: str, service: str, code: str
) -> Iterator[Emulator]:
    """An account in which this is wrong, with every service configured."""
    settings.AWS_REGION = "us-east-1"
    settings.AWSAI_PROVIDER = "aws" if bad == CREDENTIALS else "emulator"
    for name in (name for one in SERVICES for name in one.needs):
        setattr(settings, name, "EMULATED00")
    settings.AWS_Q_APPLICATION_ID = settings.AWS_Q_RETRIEVER_ID = "e0000000-" + "0" * 27
    settings.AWS_GUARDRAIL_ID = "incidentops" if service == "bedrock-guardrails" else ""
    settings.AWS_KNOWLEDGE_MODEL_ARN = (
        f"arn:aws:bedrock:us-east-1::foundation-model/{MODELS[-2].id}"
    )
    if service in FAMILIES:
        others = CatalogueModel.objects.exclude(service=service)
        others.update(onboarding="denied")
    wrong: dict[str, dict[str, Any]] = {
        EXPIRED: {"credentials": replace(OWNER, expires_at=datetime(2025, 1, 1, tzinfo=UTC))},
        MODEL: {"models": []},
        CLOSED: {"not_onboarded": CLOSED_NAMES},
    }
    with Emulator(PROVIDER, after_request=close_old_connections, **wrong.get(bad, {})) as emulator:
        settings.AWS_EMULATOR_URL = emulator.url
        if bad == CREDENTIALS:
            # Whatever would be sent all the same stays on this machine.
            monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.url)
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
                monkeypatch.delenv(name, raising=False)
            session._clients.forget()
        if bad in (OVERSIZED, LANGUAGE):
            message = TOLD[service] if bad == OVERSIZED else "de is not supported."
            emulator.inject("error", code=code, status=400, message=message, times=100)
        try:
            yield emulator
        finally:
            session._clients.forget()


CLOSED_NAMES = ("bedrock-runtime", "bedrock-agent-runtime", "qbusiness", "comprehend", "textract")


def test_the_table_has_every_service_and_everything_bad():
    lines = [(service, bad) for service, bad, *_ in TABLE]
    assert sorted([*lines, *NOT_POSSIBLE]) == sorted(
        (service.name, bad) for service in SERVICES for bad in BAD
    )


@pytest.mark.parametrize(("service", "bad", "code", "trouble", "reason"), TABLE)
def test_bad_input_is_a_typed_error_with_a_row_and_a_state_that_people_can_read(
    service, bad, code, trouble, reason, settings, monkeypatch
):
    with account(settings, monkeypatch, bad, service, code):
        with pytest.raises(CallFailed) as failed:
            asked_directly(service)
        told = failed.value
        assert (told.trouble, told.code, told.service) == (Trouble(trouble), code, service)
        assert str(told)
        row = AwsCall.objects.get(service=service)
        assert (row.outcome, row.error_code, len(row.attempts)) == (
            trouble,
            code,
            0 if bad == CREDENTIALS else 1,
        )
        shown = services()[service]
        onboarding = shown["onboarding"]
        expected = "onboarded" if reason == KNOWN else "not_onboarded"
        assert (onboarding["state"], onboarding["reason"]) == (expected, reason)
        assert (shown["last_error"]["code"], shown["last_error"]["outcome"]) == (code, trouble)
    assert not AwsCallIntent.objects.filter(is_settled=False).exists()
    assert chain.verify(AwsCall).is_sound


@pytest.mark.parametrize(
    "message", ["Operation not allowed", "The provided model identifier is invalid."]
)
def test_what_bedrock_calls_a_wrong_request_may_be_a_closed_account(message, settings, monkeypatch):
    with account(settings, monkeypatch, "", "bedrock-claude", "") as emulator:
        emulator.inject("error", code="ValidationException", status=400, message=message, times=100)
        assert gateway.ask(QUESTION, asker=ASKER).provider == "local"
        shown = services()["bedrock-claude"]
    assert shown["onboarding"]["state"] == "not_onboarded"
    assert shown["all_time"]["success_rate"]["n"] > 0


@pytest.mark.parametrize(
    ("service", "bad", "code", "trouble", "reason"),
    [line for line in TABLE if line[0] in BY_GATEWAY],
)
def test_the_local_provider_answers_what_a_service_does_not(
    service, bad, code, trouble, reason, settings, monkeypatch
):
    with account(settings, monkeypatch, bad, service, code):
        assert BY_GATEWAY[service]() == "local"
    remote = AwsCall.objects.filter(service=service)
    assert remote
    assert {(row.outcome, row.error_code) for row in remote} == {(trouble, code)}
    assert {row.incident_number for row in AwsCall.objects.all()} == {7}
    answered = AwsCall.objects.get(provider="local", outcome="succeeded")
    assert answered.sequence > max(row.sequence for row in remote)


@pytest.mark.parametrize("bad", [OVERSIZED, CREDENTIALS, EXPIRED, CLOSED])
def test_a_picture_that_nobody_reads_says_why(bad, settings, monkeypatch):
    code = next(line[2] for line in TABLE if line[:2] == ("textract", bad))
    with (
        account(settings, monkeypatch, bad, "textract", code),
        pytest.raises(CallFailed) as failed,
    ):
        gateway.read_document(PNG, media_type="image/png", asker=ASKER)
    assert (failed.value.service, failed.value.code) == ("textract", code)
    local, remote = AwsCall.objects.order_by("sequence")
    assert (local.provider, local.outcome) == ("local", "refused")
    assert remote.error_code == code


# --- What is known to be too long is not sent --------------------------------------------------


def test_texts_that_comprehend_would_refuse_are_not_sent(settings, monkeypatch):
    with account(settings, monkeypatch, "", "comprehend", ""):
        found = provider().text_analyst().sentiments(["x" * 6000])
    assert found.results == (None,)
    assert found.errors == {0: "The text is longer than 5000 bytes."}
    assert not AwsCall.objects.exists()


def test_documents_that_textract_would_refuse_are_not_sent(settings, monkeypatch):
    with (
        account(settings, monkeypatch, "", "textract", ""),
        pytest.raises(CallFailed) as failed,
    ):
        provider().document_reader().read(b"x" * (MOST_BYTES + 1), media_type="image/png")
    assert (failed.value.trouble, failed.value.code) == ("refused", "DocumentTooLargeException")
    assert "larger than" in str(failed.value)
    assert not AwsCall.objects.exists()


def test_a_question_longer_than_any_model_reads_is_answered_here(settings, monkeypatch):
    with account(settings, monkeypatch, "", "bedrock-claude", ""):
        CatalogueModel.objects.update(context_tokens=200)
        reply = gateway.ask(QUESTION, asker=ASKER)
    assert reply.provider == "local"
    assert AwsCall.objects.get().provider == "local"


def test_a_query_is_cut_to_what_a_knowledge_base_takes(settings, monkeypatch):
    with account(settings, monkeypatch, "", "bedrock-knowledge-bases", ""):
        assert gateway.retrieve("pool " * 10_000, asker=ASKER).served.provider == "emulator"
        assert gateway.explain("pool " * 10_000, asker=ASKER).served.provider == "emulator"


def services() -> dict[str, dict[str, Any]]:
    headers: Any = {"Authorization": f"Bearer {make_token('viewer')}"}
    answer = Client(headers=headers).get("/api/v1/awsai/services/")
    assert answer.status_code == 200
    return {row["service"]: row for row in answer.json()}
