"""Five hundred calls, faults and two kills: the ledger against the emulator's own log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from django.db import connection

from awsai import ledger
from awsai.emulator.emulator import Emulator
from awsai.emulator.log import Entry
from awsai.models import AwsCall, AwsCallIntent
from awsai.providers.local import PROVIDER
from incidentops.access import chain
from tests.narrowing import known

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[3]
RATES = json.loads((ROOT / "awsai" / "data" / "prices.json").read_text())["rates"]
CALLS = 500
STALL_SECONDS = 3


@pytest.fixture
def emulator(settings):
    with Emulator(PROVIDER) as running:
        settings.AWSAI_PROVIDER, settings.AWS_EMULATOR_URL = "emulator", running.url
        yield running


def asking(emulator: Emulator, count: int) -> subprocess.Popen[str]:
    """Another process on this test's database, ready to ask."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.awsai.aws.asking", str(count)],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": database_url(),
            "IOP_AWSAI": "emulator",
            "IOP_AWS_REGION": "us-east-1",
            "IOP_AWS_EMULATOR_URL": emulator.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert known(process.stdout).readline() == "ready\n"
    return process


def database_url() -> str:
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return f"{os.environ['DATABASE_URL'].rsplit('/', 1)[0]}/{name}"


def wait_for(condition, what: str):
    give_up_at = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < give_up_at, f"In vain: {what}"
        time.sleep(0.02)
    return found


def kill_in_a_call(emulator: Emulator, process: subprocess.Popen[str]) -> None:
    """Kill the process while the emulator holds back an answer to it."""
    emulator.inject("stall", operation="*", seconds=STALL_SECONDS)
    wait_for(lambda: not any(one["kind"] == "stall" for one in emulator.faults.armed()), "a stall")
    process.kill()
    process.wait()
    known(process.stdout).close()


def nano_usd(entry: Entry) -> int:
    """The list price of one request, from the price file alone: exact, and rounded once."""
    name = entry.model_requested
    prefix, _, rest = name.partition(".")
    scope = {"global": "global", "us": "geo"}.get(prefix, "in-region")
    sku = (rest if scope != "in-region" else name) or entry.service
    total = Fraction(0)
    for meter, quantity in {**entry.tokens, **entry.units}.items():
        (rate,) = {
            (rate["amounts"][meter], rate["unit_size"])
            for rate in RATES
            if rate["sku"] == sku
            and rate["scope"] == scope
            and rate.get("tier", "default") == "default"
            and not rate.get("min_input_tokens")
            and {"*", entry.region} & set(rate["regions"])
            and meter in rate["amounts"]
        }
        total += Fraction(rate[0]) * quantity / rate[1] * 10**9
    exact = Decimal(total.numerator) / Decimal(total.denominator)
    return int(exact.to_integral_value(ROUND_HALF_EVEN))


def tokens(rows: Iterable[AwsCall | Entry]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        for meter, quantity in row.tokens.items():
            found[meter] = found.get(meter, 0) + quantity
    return found


def test_five_hundred_calls_with_faults_and_two_kills_add_up(emulator):
    for code, status in (("ThrottlingException", 429), ("ModelErrorException", 424)):
        emulator.inject("error", operation="Converse", code=code, status=status, times=4)
    emulator.inject("error", operation="Converse", code="AccessDeniedException", status=403)
    emulator.inject("reset", operation="ConverseStream", times=2)
    emulator.inject("stream_exception", operation="ConverseStream", code="ThrottlingException")
    for _ in range(2):
        doomed = asking(emulator, CALLS)
        asked = len(emulator.log.entries())
        wait_for(lambda n=asked: len(emulator.log.entries()) > n + 100, "a hundred requests")
        kill_in_a_call(emulator, doomed)
    survivor = asking(emulator, max(0, CALLS - AwsCall.objects.count()) + 20)
    assert survivor.wait(timeout=200) == 0
    known(survivor.stdout).close()

    open_intents = set(AwsCallIntent.objects.filter(is_settled=False).values_list("pk", flat=True))
    assert len(open_intents) == 2, "each kill took one call with it"
    assert ledger.reconcile(older_than=timedelta(0)) == 2
    assert chain.verify(AwsCall).is_sound
    written = list(AwsCall.objects.filter(provider="emulator"))
    assert AwsCall.objects.count() > CALLS
    lost = [row for row in written if row.outcome == "lost"]
    assert {row.intent for row in lost} == {str(pk) for pk in open_intents}
    assert {row.price_confidence for row in lost} == {"estimated"}

    # Every request names its call. The emulator's bill for the two lost calls is all that differs.
    logged = emulator.log.entries()
    assert {entry.invocation_id for entry in logged} == {row.intent for row in written}
    kept = [entry for entry in logged if entry.invocation_id not in {row.intent for row in lost}]
    whole = [row for row in written if row.outcome == "succeeded"]
    broken = {row.intent for row in written if row.outcome != "succeeded"}
    billed = [entry for entry in kept if entry.invocation_id not in broken]
    assert tokens(whole) == tokens(billed)
    assert sum(known(row.list_price_nano_usd) for row in whole) == sum(map(nano_usd, billed))
    assert sum(row.nano_usd or 0 for row in whole) == 0
