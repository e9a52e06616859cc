from __future__ import annotations

import pytest

from awsai.emulator.emulator import Emulator
from tests.awsai.aws.impatience import be_impatient
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
    be_impatient(monkeypatch, settings)
