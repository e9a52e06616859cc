from __future__ import annotations

from collections.abc import Iterator

import pytest

from awsai.emulator.emulator import Emulator
from tests.agents.specialists.hostility import Obedient
from tests.awsai.health.emulated import forget_breakers


@pytest.fixture
def obedient(settings) -> Iterator[Emulator]:
    """An emulator whose models obey every text they read."""
    settings.AWSAI_PROVIDER, settings.AWS_REGION = "emulator", "us-east-1"
    with Emulator(Obedient()) as running:
        settings.AWS_EMULATOR_URL = running.url
        yield running
    forget_breakers()
