"""An emulator in this process, which every client of AWS here asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from awsai.breaker import breakers
from awsai.emulator.emulator import Emulator
from tests.awsai.emulator.word_counter import WordCounter


@contextmanager
def running_emulator(settings: Any, monkeypatch: Any, **options: Any) -> Iterator[Emulator]:
    """With neither credentials nor endpoints of whoever runs the tests."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    settings.AWSAI_PROVIDER = "emulator"
    settings.AWS_REGION = "us-east-1"
    with Emulator(WordCounter(), **options) as emulator:
        settings.AWS_EMULATOR_URL = emulator.url
        yield emulator


def forget_breakers() -> None:
    """They are in Redis, where they would outlive a test."""
    known = breakers()
    for key in known._client.scan_iter(f"{known._prefix}*"):
        known._client.delete(key)
