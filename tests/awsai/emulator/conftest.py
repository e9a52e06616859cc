from __future__ import annotations

import pytest

from awsai.emulator.emulator import Emulator
from tests.awsai.emulator.clients import close_clients
from tests.awsai.emulator.word_counter import WordCounter


@pytest.fixture(autouse=True)
def _no_keys_of_the_developer(monkeypatch):
    """Neither credentials nor endpoints of whoever runs the tests."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)


@pytest.fixture
def provider():
    return WordCounter()


@pytest.fixture
def emulator(provider):
    with Emulator(provider) as running:
        yield running


@pytest.fixture(autouse=True)
def _clients_are_closed():
    yield
    close_clients()
