"""An incident is answered whatever AWS does, and the ledger says of each call what became of it.

The emulator's own log is the other count: it knows nothing of the ledger, and the ledger nothing of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import call_command
from django.db import close_old_connections
from django.test import Client

from agents.models import PhaseState, Response, ResponseState
from awsai.emulator.catalogue import MODELS
from awsai.emulator.emulator import OWNER, Emulator
from awsai.emulator.log import Entry
from awsai.models import AwsCall, AwsCallIntent, CatalogueModel, RouteDecision
from awsai.ports import Answer, Provider, Question, Served
from awsai.providers.local import PROVIDER, LocalProvider
from awsai.providers.local.writer import EvidenceWriter
from incidentops.incidents.models import TimelineEntry
from incidentops.notifications.models import Notification
from tests.agents.kill.servers import wait_for
from tests.agents.specialists.storefront import report, respond, stock
from tests.awsai.aws.impatience import be_impatient
from tests.awsai.health.emulated import forget_breakers
from tests.factories import make_token

# The emulator's threads look things up in what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

EVER = 10_000
# The others are said to be closed to the account, or every one of them would be asked in vain.
ASKED = ("anthropic.claude-sonnet-5-5", "amazon.nova-lite-v1:0")
PAST = datetime(2025, 1, 1, tzinfo=UTC)
ENDED = {ResponseState.COMPLETE, ResponseState.ESCALATED}


class Rambling(LocalProvider):
    """A model that answers in its own form, whatever it is asked for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def reasoner(self, region: str = "") -> EvidenceWriter:
        text = self._text

        class Writer(EvidenceWriter):
            def answer(self, question: Question, *, model: str) -> Answer:
                served = Served(provider="local", service="local", operation="answer")
                return Answer(text=text, stop_reason="end_turn", served=served)

        return Writer()


@dataclass(frozen=True, kw_only=True)
class Plight:
    """What AWS does, and what the ledger has to say of a call that it is done to.

    `fault` is armed for requests; where it is empty, `account` and `provider` say what is wrong.
    `attempts` are how often a call is made before it is given up, after `patience` seconds each.
    """

    outcome: str
    code: str
    attempts: int = 1
    patience: float = 10.0
    fault: dict[str, Any] = field(default_factory=dict)
    account: dict[str, Any] = field(default_factory=dict)
    provider: Provider = PROVIDER


def error(code: str, status: int, outcome: str, attempts: int = 1) -> Plight:
    fault = {"kind": "error", "code": code, "status": status}
    return Plight(fault=fault, outcome=outcome, code=code, attempts=attempts)


BEFORE_THE_ANSWER = {
    "429": error("ThrottlingException", 429, "throttled", attempts=3),
    "500": error("InternalServerException", 500, "unavailable", attempts=3),
    "503": error("ServiceUnavailableException", 503, "unavailable", attempts=3),
    "408": error("ModelTimeoutException", 408, "timeout", attempts=2),
    "424": error("ModelErrorException", 424, "unavailable", attempts=2),
    "denied": error("AccessDeniedException", 403, "denied"),
    "closed": Plight(
        fault={
            "kind": "error",
            "code": "ValidationException",
            "status": 400,
            "message": "Operation not allowed",
        },
        outcome="denied",
        code="ValidationException",
    ),
    "reset": Plight(
        fault={"kind": "reset"}, outcome="broken", code="ConnectionClosedError", attempts=3
    ),
    "stall": Plight(
        fault={"kind": "stall", "seconds": 0.8},
        patience=0.5,
        outcome="timeout",
        code="ReadTimeoutError",
        attempts=3,
    ),
}
IN_A_STREAM = {
    "bad CRC": Plight(
        fault={"kind": "stream_bad_crc", "after": 1}, outcome="broken", code="ChecksumMismatch"
    ),
    "cut": Plight(fault={"kind": "stream_cut", "after": 1}, outcome="broken", code="ProtocolError"),
    "exception": Plight(
        fault={"kind": "stream_exception", "after": 1, "code": "ThrottlingException"},
        outcome="throttled",
        code="ThrottlingException",
    ),
}
OF_THE_ACCOUNT = {
    "expired token": Plight(
        account={"credentials": replace(OWNER, expires_at=PAST)},
        outcome="denied",
        code="ExpiredTokenException",
    ),
    "not onboarded": Plight(
        account={"not_onboarded": ["bedrock-runtime", "bedrock-agent-runtime", "comprehend"]},
        outcome="denied",
        code="AccessDeniedException",
    ),
    "end of life": Plight(
        account={"models": [replace(model, end_of_life_at=PAST) for model in MODELS]},
        outcome="denied",
        code="ResourceNotFoundException",
    ),
    "unknown model": Plight(
        account={"models": []}, outcome="denied", code="ResourceNotFoundException"
    ),
    # These calls succeed and are billed: what came of them cannot be used.
    "no JSON": Plight(provider=Rambling("It is the database."), outcome="succeeded", code=""),
    "another schema": Plight(
        provider=Rambling('{"sentences": [{"text": 7}]}'), outcome="succeeded", code=""
    ),
}


@contextmanager
def aws(settings: Any, plight: Plight, **fault: Any) -> Iterator[Emulator]:
    """Every service is configured and reached over the wire, in the given plight."""
    settings.AWSAI_PROVIDER, settings.AWS_REGION = "emulator", "us-east-1"
    settings.AWS_KNOWLEDGE_BASE_ID = "EMULATED00"
    settings.EMAIL_RECIPIENTS = ("oncall@example.com",)
    with Emulator(
        plight.provider, after_request=close_old_connections, **plight.account
    ) as emulator:
        settings.AWS_EMULATOR_URL = emulator.url
        if plight.fault:
            emulator.inject(**plight.fault | fault)
        try:
            yield emulator
        finally:
            forget_breakers()


def is_struck(entry: Entry) -> bool:
    return bool(entry.faults or entry.error)


def assert_truthful(emulator: Emulator, plight: Plight) -> list[AwsCall]:
    """Each call in the emulator's log has one row that tells it as it was; the rows of calls."""
    rows = list(AwsCall.objects.exclude(provider="local").order_by("sequence"))
    wait_for(
        lambda: len(emulator.log.entries()) == sum(len(row.attempts) for row in rows),
        within=10,
        what="the emulator's log has every attempt",
    )
    logged: dict[str, list[Entry]] = defaultdict(list)
    for entry in emulator.log.entries():
        assert not entry.problem
        logged[entry.invocation_id].append(entry)
    assert sorted(row.intent for row in rows) == sorted(logged)
    for row in rows:
        entries = sorted(logged[row.intent], key=lambda entry: entry.attempt or 0)
        assert [one["number"] for one in row.attempts] == [entry.attempt for entry in entries]
        for attempt, entry in zip(row.attempts, entries, strict=True):
            if attempt["http_status"] is None:  # no answer came: nobody has told an id
                assert is_struck(entry)
                assert attempt["error"]
            else:
                assert attempt["http_status"] == entry.status
                assert attempt["request_id"] == entry.request_id
                assert attempt["error"] == entry.error or entry.ended == "exception"
        assert row.operation == entries[-1].operation
        if is_struck(entries[-1]):
            assert (row.outcome, row.error_code) == (plight.outcome, plight.code), row
            # A client that had to try again too often stops doing so for a while.
            assert len(row.attempts) <= plight.attempts
        else:
            assert (row.outcome, row.error_code) == ("succeeded", ""), row
            assert row.tokens == entries[-1].tokens
            assert row.units == entries[-1].units
    assert not AwsCallIntent.objects.filter(is_settled=False).exists()
    call_command("verify_ledger", verbosity=0)
    return rows


def assert_completed(response: Response) -> dict[str, Any]:
    """The response ended with its decision, each phase committed once, and people were told.

    Gives the response as the API shows it.
    """
    assert response.state in ENDED
    assert response.decision.outcome == "decided"
    chosen = response.candidates.get(digest=response.decision.choice)
    assert (chosen.action, chosen.target) == ("rollback_deploy", "checkout")
    phases = {phase.phase: phase.state for phase in response.phases.all()}
    skipped = {"resolution", "verification"}
    assert {name for name, state in phases.items() if state == PhaseState.SKIPPED} == skipped
    assert {phases[name] for name in phases if name not in skipped} == {PhaseState.DONE}
    told = TimelineEntry.objects.filter(incident=response.incident, kind="phase.done")
    done = [entry.detail["phase"] for entry in told]
    assert sorted(done) == sorted(set(phases) - skipped)
    assert Notification.objects.filter(state=Notification.State.SENT).count() == 2
    headers: Any = {"Authorization": f"Bearer {make_token('viewer')}"}
    page = Client(headers=headers).get(f"/incidents/{response.incident_id}/")
    assert page.status_code == 200
    shown = Client(headers=headers).get(f"/api/v1/incidents/{response.incident_id}/response/")
    record: dict[str, Any] = shown.json()
    for words in words_of(record).values():
        assert_attributed(words, page.content.decode())
    return record


def assert_attributed(words: Mapping[str, Any], page: str) -> None:
    """Who wrote is who the ledger says, and the page names them."""
    row = AwsCall.objects.get(sequence=words["call"])
    assert (row.provider, row.outcome) == (words["provider"], "succeeded")
    assert words["sentences"]
    assert {"local": "Local provider", "emulator": "Emulator"}[words["provider"]] in page


def words_of(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        run["agent"]: run["finding"]["data"]["words"]
        for run in record["runs"]
        if run["finding"] and "words" in run["finding"]["data"]
    }


def why_no_model(words: Mapping[str, Any]) -> list[str]:
    """Who was asked in vain, or who was left alone for what came of earlier calls."""
    route = RouteDecision.objects.get(pk=words["decision"])
    left_alone = [one["rejected"] for one in route.candidates if "breaker" in one["rejected"]]
    return [*words["notes"], *left_alone]


PLIGHTS = BEFORE_THE_ANSWER | IN_A_STREAM | OF_THE_ACCOUNT


@pytest.mark.parametrize("name", PLIGHTS)
def test_an_incident_is_answered_locally_while_aws_does_nothing_else(name, settings, monkeypatch):
    plight = PLIGHTS[name]
    # Nothing but stalls is to be met here, so none of them has to be waited for.
    be_impatient(monkeypatch, settings, seconds=0.1 if name == "stall" else plight.patience)
    CatalogueModel.objects.exclude(base_id__in=ASKED).update(onboarding="denied")
    # With a guardrail of their own, models are asked for streams.
    settings.AWS_GUARDRAIL_ID = "incidentops" if name in IN_A_STREAM else ""
    stock()
    with aws(settings, plight, times=EVER) as emulator:
        record = assert_completed(respond(report()))
        rows = assert_truthful(emulator, plight)
    first = next(row for row in rows if row.operation in ("Converse", "ConverseStream"))
    assert len(first.attempts) == plight.attempts
    written = words_of(record)
    assert {agent: words["provider"] for agent, words in written.items()} == {
        "diagnosis": "local",
        "communication": "local",
    }
    assert all(map(why_no_model, written.values()))


@pytest.mark.parametrize("name", BEFORE_THE_ANSWER | IN_A_STREAM)
def test_a_fault_that_passes_costs_the_incident_no_model(name, settings, monkeypatch):
    plight = PLIGHTS[name]
    be_impatient(monkeypatch, settings, seconds=plight.patience)
    is_stream = name in IN_A_STREAM
    settings.AWS_GUARDRAIL_ID = "incidentops" if is_stream else ""
    operation = "ConverseStream" if is_stream else "Converse"
    stock()
    with aws(settings, plight, times=plight.attempts, operation=operation) as emulator:
        record = assert_completed(respond(report()))
        rows = assert_truthful(emulator, plight)
    assert next(row.outcome for row in rows if row.operation == operation) == plight.outcome
    assert {words["provider"] for words in words_of(record).values()} == {"emulator"}


@pytest.mark.parametrize("name", ["503", "denied", "reset"])
def test_a_guardrail_without_a_verdict_closes_the_models(name, settings, monkeypatch):
    plight = PLIGHTS[name]
    be_impatient(monkeypatch, settings, seconds=plight.patience)
    settings.AWS_GUARDRAIL_ID = "incidentops"
    stock()
    with aws(settings, plight, times=EVER, operation="ApplyGuardrail") as emulator:
        record = assert_completed(respond(report()))
        rows = assert_truthful(emulator, plight)
    assert not {row.operation for row in rows} & {"Converse", "ConverseStream"}
    for words in words_of(record).values():
        assert words["provider"] == "local"
        assert "The guardrail gave no verdict" in words["notes"][0]
