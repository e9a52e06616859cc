from __future__ import annotations

from datetime import timedelta

import pytest
from botocore.retries.standard import ExponentialBackoff

from awsai.emulator.emulator import Emulator
from awsai.providers.aws import hooks
from tests.awsai.emulator.word_counter import WordCounter


@pytest.fixture
def counter():
    return WordCounter()


@pytest.fixture
def emulator(counter, settings):
    """An emulator of its own, which every client of the process asks."""
    settings.AWSAI_PROVIDER = "emulator"
    with Emulator(counter) as running:
        settings.AWS_EMULATOR_URL = running.url
        yield running


@pytest.fixture
def impatient(monkeypatch, settings):
    """Time-outs as short as tests are, and no waiting between attempts."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.0)
    monkeypatch.setattr(hooks, "MODEL_SECONDS", 0.3)
    monkeypatch.setattr(hooks, "OTHER_SECONDS", 0.3)
    monkeypatch.setattr(hooks, "ONCE_MORE_AFTER_SECONDS", 0.0)
    settings.AWSAI_CALL_LIMIT = timedelta(seconds=5)
