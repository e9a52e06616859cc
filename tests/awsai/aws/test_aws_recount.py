"""The ledger against what the emulator itself noted: two counts that know nothing of each other."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress

import pytest
from botocore.exceptions import ClientError

from awsai.models import AwsCall, AwsCallIntent
from awsai.ports import CallFailed, Passage, Question
from awsai.providers.aws import AwsProvider, session
from incidentops.access import chain
from tests.awsai.aws.calls import HAIKU, NOVA, rows

pytestmark = pytest.mark.django_db

PDF = b"%PDF-1.7\nname | count\norders | 17"
FAULTS = (
    {"kind": "error", "code": "ThrottlingException", "status": 429},
    {"kind": "error", "code": "ModelErrorException", "status": 424},
    {"kind": "error", "code": "AccessDeniedException", "status": 403},
    {"kind": "reset"},
)
STREAM_FAULTS = (
    {"kind": "stream_cut", "after": 2},
    {"kind": "stream_exception", "after": 2, "code": "ThrottlingException"},
    {"kind": "stream_bad_crc", "after": 2},
)
STREAMS = (1, 2)  # of `calls`, those through ConverseStream


def question(number: int) -> Question:
    text = f"at {number} the pool of orders was full " * (1 + number % 7)
    return Question(
        task="summary", instruction="Sum up", passages=(Passage(id="a", text=text),), max_tokens=300
    )


def cached(number: int) -> list[dict]:
    prefix = {"text": f"runbook {number % 2}: restart the pool first. " * 600}
    point = {"cachePoint": {"type": "default", "ttl": ("5m", "1h")[number % 2]}}
    return [{"role": "user", "content": [prefix, point, {"text": f"and at {number}?"}]}]


def read_two(pieces) -> None:
    next(pieces)
    next(pieces)
    pieces.close()


@pytest.fixture
def calls(emulator):
    aws = AwsProvider("emulator", can=lambda model, capability: True)
    runtime = session.client("bedrock-runtime")
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 50}
    return (
        lambda n: aws.reasoner().answer(question(n), model=(HAIKU, NOVA)[n % 2]),
        lambda n: list(aws.reasoner().stream(question(n), model=(HAIKU, NOVA)[n % 2])),
        lambda n: read_two(aws.reasoner().stream(question(n), model=HAIKU)),
        lambda n: runtime.converse(modelId=HAIKU, messages=cached(n)),
        lambda n: runtime.invoke_model(
            modelId=HAIKU,
            body=json.dumps(body | {"messages": [{"role": "user", "content": f"at {n}"}]}),
        ),
        lambda n: aws.reasoner().count_tokens(question(n), model=HAIKU),
        lambda n: aws.guard().check("SECRET " * (100 + 50 * n), direction="input"),
        lambda n: aws.text_analyst().sentiments(["bad " * 90, "FOREIGN", "good"] * (n % 12)),
        lambda n: aws.text_analyst().entities([f"{n} of 20"]),
        lambda n: aws.document_reader().analyze(PDF, media_type="application/pdf"),
        lambda n: aws.retriever().answer("restart the pool"),
        lambda n: aws.retriever().rerank("restart", ["restart a node"] * (1 + 9 * n)),
        lambda n: aws.retriever("q-business").answer("restart the pool"),
        lambda n: aws.assistant().say(f"at {n}", session_id="s-1", memory_id="inc-1"),
    )


def test_a_hundred_calls_with_faults_add_up_to_what_was_billed(emulator, impatient, calls):
    for number in range(8 * len(calls)):
        turn, kind = divmod(number, len(calls))
        if kind in STREAMS and turn % 2:
            emulator.inject(**STREAM_FAULTS[(turn // 2 + kind) % len(STREAM_FAULTS)])
        elif number % 4 == 3:
            emulator.inject(**FAULTS[number // 4 % len(FAULTS)])
        with suppress(CallFailed, ClientError):
            calls[kind](turn)
    written, logged = rows(), emulator.log.entries()
    assert len(written) > 100
    assert not AwsCallIntent.objects.filter(is_settled=False).exists()
    assert chain.verify(AwsCall).is_sound
    assert not [entry.problem for entry in logged if entry.problem]

    # Every request is an attempt of exactly one row.
    assert sum(len(row.attempts) for row in written) == len(logged)
    assert len({row.request_id for row in written}) == len(written)

    # What the service told or bills by a rule is counted to the last token and unit.
    whole = [row for row in written if row.outcome == "succeeded"]
    by_id = {entry.request_id: entry for entry in logged}
    assert _sum(row.tokens for row in whole) == _sum(by_id[row.request_id].tokens for row in whole)
    assert _sum(row.units for row in written) == _sum(entry.units for entry in logged)

    # Of streams that broke off, the question is known, and no more of the answer than was written.
    parts = [row for row in written if row.outcome != "succeeded" and row.tokens]
    assert {row.usage_confidence for row in parts} == {"estimated"}
    assert {row.outcome for row in parts} >= {"abandoned", "broken", "throttled"}
    for row in parts:
        billed = by_id[row.request_id].tokens
        assert row.tokens["input"] == billed["input"]
        assert row.tokens.get("output", 0) <= billed["output"]

    # Nothing was billed that has no row.
    known = {row.request_id for row in whole + parts}
    assert not [one for one in logged if (one.tokens or one.units) and one.request_id not in known]
    meters = {meter for row in whole for meter in (*row.tokens, *row.units)}
    assert meters >= {"input", "output", "cache_read", "cache_write_5m", "cache_write_1h"}
    assert meters >= {"chars100", "page.tables", "query", "chat_unit", "guardrail.pii"}


def _sum(parts) -> Counter[str]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return total
