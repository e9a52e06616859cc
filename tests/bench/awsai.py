"""What the gateway costs on top of bare boto3, over the emulator in a process of its own.

`python -m tests.bench.awsai` prints the figures as JSON. Both sides ask the same model the same
question in turns; the gateway guards, routes, reserves, calls, settles and writes the ledger. About
an incident it also counts in two more budgets and tells the incident's topics of each call.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import django

from incidentops import embedded
from tests.agents.kill.servers import ROOT, Valkey, wait_for

CALLS = 200
CALLS_A_ROUND = 600
THREADS = 16
ROUNDS = 5
MODEL = "us.amazon.nova-micro-v1:0"


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="incidentops-bench-"))
    valkey = Valkey(directory / "redis")
    port = embedded.free_port()
    url = f"http://127.0.0.1:{port}"
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "incidentops.settings",
        "DATABASE_URL": "",
        "REDIS_URL": valkey.url,
        "IOP_VAR": str(directory),
        "IOP_AWSAI": "emulator",
        "IOP_AWS_REGION": "us-east-1",
        "IOP_AWS_EMULATOR_URL": url,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    manage = [sys.executable, "manage.py"]
    subprocess.run([*manage, "migrate", "-v", "0"], cwd=ROOT, check=True)
    emulator = subprocess.Popen(
        [*manage, "aws_emulator", "--port", str(port)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: embedded_answers(port), within=30, what="the emulator answers")
        django.setup()
        json.dump(measure(url), sys.stdout)
    finally:
        emulator.terminate()
        emulator.wait()
        valkey.kill()
        shutil.rmtree(directory, ignore_errors=True)


def embedded_answers(port: int) -> bool:
    import socket

    with socket.create_connection(("127.0.0.1", port), 0.5):
        return True


def measure(url: str) -> dict[str, Any]:
    import boto3
    from botocore.config import Config

    from awsai import gateway
    from awsai.models import AwsCall
    from awsai.ports import Passage, Question
    from awsai.prompts import system_text, user_text
    from awsai.providers.aws import session
    from incidentops.access import chain

    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id=session.EMULATOR_ACCESS_KEY_ID,
        aws_secret_access_key=session.EMULATOR_SECRET_ACCESS_KEY,
        config=Config(max_pool_connections=THREADS + 4),
    )
    nobody = gateway.Asker(severity="low")
    incidents = [
        gateway.Asker(incident=number, severity="low", agent="diagnosis", run_ref=f"run:{number}")
        for number in range(1, THREADS + 1)
    ]
    number = count()

    def question() -> Question:
        """Another one each time: nothing is gained by remembering the last."""
        text = f"Checkout fails since 14:05: {next(number)} requests in vain."
        return Question(
            task="bench",
            instruction="Say what happened.",
            passages=(Passage(id="c1", text=text),),
            max_tokens=100,
        )

    def bare() -> None:
        asked = question()
        client.converse(
            modelId=MODEL,
            system=[{"text": system_text(asked)}],
            messages=[{"role": "user", "content": [{"text": user_text(asked)}]}],
            inferenceConfig={"maxTokens": asked.max_tokens},
        )

    def through_gateway() -> None:
        gateway.ask(question(), asker=nobody)

    def about_an_incident() -> None:
        gateway.ask(question(), asker=incidents[next(number) % THREADS])

    for _ in range(10):
        bare()
        through_gateway()
        about_an_incident()
    alone: dict[str, list[float]] = {"bare": [], "gateway": []}
    for _ in range(CALLS):
        alone["bare"].append(milliseconds(bare))
        alone["gateway"].append(milliseconds(through_gateway))
    # In turns as well, since machines are faster at one moment than at the next.
    with ThreadPoolExecutor(THREADS) as pool:
        sides = (bare, through_gateway, about_an_incident)
        turns = [tuple(per_second(side, pool) for side in sides) for _ in range(ROUNDS)]
    rates = [statistics.median(side) for side in zip(*turns, strict=True)]
    medians = {name: round(statistics.median(found), 2) for name, found in alone.items()}
    return {
        "name": "awsai",
        "metrics": {
            "gateway_ms": medians["gateway"],
            "overhead_ms": round(medians["gateway"] - medians["bare"], 2),
            "calls_per_second_16_threads": rates[1],
            "calls_per_second_by_round": [turn[1] for turn in turns],
            "calls_per_second_about_incidents": rates[2],
            "ledger_rows": AwsCall.objects.count(),
            "ledger_is_sound": chain.verify(AwsCall).is_sound,
        },
        "baseline": {
            "bare_boto3_ms": medians["bare"],
            "bare_calls_per_second": rates[0],
            "bare_calls_per_second_by_round": [turn[0] for turn in turns],
        },
        "ratio": {
            "gateway_to_bare": round(medians["gateway"] / medians["bare"], 2),
            "throughput_to_bare": round(statistics.median(turn[1] / turn[0] for turn in turns), 3),
        },
    }


def milliseconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def per_second(call: Callable[[], None], pool: ThreadPoolExecutor) -> float:
    began = time.perf_counter()
    for done in [pool.submit(call) for _ in range(CALLS_A_ROUND)]:
        done.result()
    return round(CALLS_A_ROUND / (time.perf_counter() - began), 1)


if __name__ == "__main__":
    main()
