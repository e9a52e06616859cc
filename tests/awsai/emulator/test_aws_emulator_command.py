"""`manage.py aws_emulator` as a process."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.awsai.emulator.clients import NOVA, stock_client, user
from tests.live import ROOT

# A process of its own that answers with the provider of these tests.
RUN = """
from awsai.management.commands import aws_emulator
from tests.awsai.emulator import word_counter
word_counter.PROVIDER = word_counter.WordCounter()
aws_emulator.PROVIDER = "tests.awsai.emulator.word_counter.PROVIDER"
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "aws_emulator", *__import__("sys").argv[1:]])
"""


@contextmanager
def running(*arguments: str):
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def environment_of(process: subprocess.Popen[str]) -> dict[str, str]:
    """What the process prints up to the line that says that it is ready."""
    assert process.stdout
    found: dict[str, str] = {}
    for line in process.stdout:
        if line.startswith("# AWS emulator ready"):
            return found
        (assignment,) = shlex.split(line.removeprefix("export "))
        name, _, value = assignment.partition("=")
        found[name] = value
    raise AssertionError(process.stderr and process.stderr.read())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_stock_boto3_by_its_variables_and_stops_when_told(monkeypatch, number):
    with running("--port", "0", "--print-env") as process:
        for name, value in environment_of(process).items():
            monkeypatch.setenv(name, value)
        runtime = stock_client("bedrock-runtime")
        response = runtime.converse(modelId=NOVA, messages=user("hello"))
        assert response["output"]["message"]["content"] == [{"text": "hello "}]
        # The connection is kept alive, and does not keep the emulator.
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert out.strip() == "# AWS emulator stopped."
        runtime.close()


def test_a_port_that_is_taken_is_an_error_in_a_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running("--port", str(port)) as process:
            _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert f"Cannot listen on port {port}" in err
