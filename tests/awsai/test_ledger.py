from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, connections, transaction

from awsai import ledger
from awsai.ledger import Attempt, Cost, Result
from awsai.models import AwsCall, Outcome
from awsai.ports import Usage
from awsai.purpose import serving
from incidentops.access import append_only, chain
from incidentops.realtime import topics
from incidentops.realtime.models import OutboxEvent
from tests.factories import make_token

pytestmark = pytest.mark.django_db
STARTED = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)


def record(**fields: Any) -> AwsCall:
    given: dict[str, Any] = {
        "service": "bedrock-claude",
        "operation": "Converse",
        "provider": "emulator",
        "outcome": "succeeded",
        "started_at": STARTED,
        "latency_ms": 420,
        "cost": Cost(billed=0, list_price=3_000_250),
        "usage": Usage(tokens={"input": 1000, "output": 20}),
        "incident_number": 7,
        "agent": "diagnosis",
    }
    return ledger.record(**(given | fields))


def get(client, path: str, role: str = "auditor"):
    return client.get(path, headers={"Authorization": f"Bearer {make_token(role)}"})


def test_a_call_is_chained_and_told():
    first, second = record(), record(latency_ms=None)
    assert second.previous_hash == first.hash
    assert chain.verify(AwsCall).count == 2
    event = OutboxEvent.objects.earliest("pk")
    assert event.type == "awsai.call"
    assert event.version == 1
    assert event.data["call"]["list_price_nano_usd"] == 3_000_250
    assert [row["id"] for row in topics.snapshot("transparency")["calls"]] == [2, 1]


def test_a_kind_of_token_without_a_column_is_refused():
    with pytest.raises(ValueError, match="thinking"):
        record(usage=Usage(tokens={"thinking": 3}))


def test_the_database_refuses_to_rewrite_the_ledger():
    record()
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        AwsCall.objects.update(nano_usd=1)
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        connection.cursor().execute("DELETE FROM awsai_awscall")


def test_a_changed_price_is_found_and_named():
    for _ in range(4):
        record()
    call_command("verify_ledger")
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            for name in append_only.triggers_of(connection, "awsai_awscall"):
                cursor.execute(f"DROP TRIGGER {name}")
        else:
            cursor.execute("ALTER TABLE awsai_awscall DISABLE TRIGGER USER")
        cursor.execute("UPDATE awsai_awscall SET list_price_nano_usd = 1 WHERE sequence = 3")
    with pytest.raises(CommandError, match="row 3"):
        call_command("verify_ledger")


@pytest.mark.django_db(transaction=True)
def test_concurrent_calls_make_one_line():
    def work(_: int) -> None:
        try:
            for _turn in range(5):
                record()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert chain.verify(AwsCall).count == 30
    assert chain.verify(AwsCall).is_sound


def test_rows_are_shown_as_promised(client):
    record(
        usage=Usage(tokens={"input": 1000, "output": 20}, units={"chars100": 3}),
        attempts=[
            Attempt(number=1, http_status=429, error="ThrottlingException", latency_ms=9),
            Attempt(number=2, http_status=200, error="", latency_ms=400, request_id="r2"),
        ],
    )
    (row,) = get(client, "/api/v1/awsai/calls/").json()["results"]
    assert row == {
        "id": 1,
        "request_id": "",
        "service": "bedrock-claude",
        "operation": "Converse",
        "provider": "emulator",
        "region": "",
        "model_requested": "",
        "model_invoked": "",
        "incident": 7,
        "agent": "diagnosis",
        "route_decision": None,
        "outcome": "succeeded",
        "error_code": "",
        "stop_reason": "",
        "attempts": 2,
        "attempt_log": [
            {
                "number": 1,
                "http_status": 429,
                "error": "ThrottlingException",
                "latency_ms": 9,
                "request_id": "",
            },
            {"number": 2, "http_status": 200, "error": "", "latency_ms": 400, "request_id": "r2"},
        ],
        "tokens": {
            "input": 1000,
            "output": 20,
            "cache_read": 0,
            "cache_write": 0,
            "cache_write_5m": 0,
            "cache_write_1h": 0,
        },
        "units": {"chars100": 3},
        "usage_confidence": "reported",
        "nano_usd": 0,
        "list_price_nano_usd": 3_000_250,
        "price_version": "",
        "price_confidence": "",
        "latency_ms": 420,
        "first_token_ms": None,
        "started_at": "2026-11-22T12:00:00.250000Z",
    }
    assert get(client, "/api/v1/awsai/calls/?incident=8").json()["results"] == []


def entry(**fields: Any) -> ledger.Entry:
    given = {"service": "comprehend", "operation": "DetectSentiment", "provider": "aws"}
    return ledger.intend(**(given | fields))


def test_an_open_call_knows_for_whom_it_is_made():
    with serving(incident=7, agent="diagnosis", run_ref="run:3", words="the prompt"):
        call = entry().settle(Result(outcome=Outcome.SUCCEEDED))
    assert (call.incident_number, call.agent, call.run_ref) == (7, "diagnosis", "run:3")
    assert len(call.prompt_digest) == 64
    assert entry().settle(Result(outcome=Outcome.SUCCEEDED)).incident_number is None


def test_settling_twice_writes_one_row():
    opened = entry()
    first = opened.settle(Result(outcome=Outcome.SUCCEEDED))
    assert opened.settle(Result(outcome=Outcome.BROKEN)) == first
    assert AwsCall.objects.get().outcome == "succeeded"


def test_a_call_without_a_known_price_costs_null_and_is_counted(client):
    usage = Usage(units={"unheard_of": 1})
    entry().settle(Result(outcome=Outcome.SUCCEEDED, usage=usage))
    (row,) = get(client, "/api/v1/awsai/calls/").json()["results"]
    assert row["nano_usd"] is None
    assert get(client, "/api/v1/awsai/summary/").json()["unpriced"] == 1


def test_a_call_whose_process_died_gets_a_row_that_says_so():
    with serving(estimated_nano_usd=900):
        lost = entry()
        assert ledger.reconcile() == 0
        assert ledger.reconcile(older_than=timedelta(0)) == 1
        running = entry(provider="emulator")
    row = AwsCall.objects.get()
    assert (row.outcome, row.nano_usd, row.price_confidence) == ("lost", 900, "estimated")
    assert lost.settle(Result(outcome=Outcome.SUCCEEDED)) == row
    running.settle(Result(outcome=Outcome.SUCCEEDED))
    assert ledger.reconcile() == 0
    assert chain.verify(AwsCall).count == 2


def test_an_empty_ledger_says_so(client):
    summary = get(client, "/api/v1/awsai/summary/").json()
    assert summary["calls"] == summary["nano_usd"] == summary["list_price_nano_usd"] == 0
    assert summary["latency_ms"] is None
    assert summary["latency_ms_reason"] == "No call was made yet."
    assert summary["by_provider"] == {}
    services = get(client, "/api/v1/awsai/services/").json()
    assert len(services) == 9
    assert {row["provider"] for row in services} == {"not called"}
    assert {(row["calls"], row["last_call_at"], row["latency_ms"]) for row in services} == {
        (0, None, None)
    }


def test_figures_come_from_the_rows(client):
    record(latency_ms=100)
    record(latency_ms=200, provider="aws", cost=Cost(billed=5, list_price=5), outcome="throttled")
    record(service="textract", latency_ms=None, incident_number=None)
    summary = get(client, "/api/v1/awsai/summary/", "responder").json()
    assert (summary["calls"], summary["failures"], summary["nano_usd"]) == (3, 1, 5)
    assert summary["latency_ms"] == 150
    assert summary["by_provider"] == {"aws": 1, "emulator": 2}
    assert get(client, "/api/v1/awsai/summary/?incident=7").json()["calls"] == 2
    assert get(client, "/api/v1/awsai/summary/?incident=x").status_code == 400
    rows = {row["service"]: row for row in get(client, "/api/v1/awsai/services/").json()}
    assert rows["bedrock-claude"]["provider"] == "aws, emulator"
    assert rows["textract"]["latency_ms"] is None
    assert rows["textract"]["latency_ms_reason"]
    assert rows["comprehend"]["calls"] == 0


def test_calls_about_incidents_are_for_whoever_sees_those_and_all_others_for_auditors(client):
    about, other = record(), record(incident_number=None)

    def seen(role: str) -> list[int]:
        rows = get(client, "/api/v1/awsai/calls/", role).json()["results"]
        return [row["id"] for row in rows]

    def found(call: AwsCall, role: str) -> int:
        return int(get(client, f"/api/v1/awsai/calls/{call.sequence}/otel/", role).status_code)

    assert seen("auditor") == seen("admin") == [other.sequence, about.sequence]
    assert seen("viewer") == seen("responder") == [about.sequence]
    assert (found(about, "viewer"), found(other, "viewer"), found(other, "auditor")) == (
        200,
        404,
        200,
    )
    assert [row["id"] for row in topics.snapshot("transparency")["calls"]] == seen("viewer")
