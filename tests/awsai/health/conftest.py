from __future__ import annotations

import pytest
from django.core.cache import cache

from awsai import health
from tests.awsai.health.emulated import forget_breakers, running_emulator


@pytest.fixture
def emulator(settings, monkeypatch):
    with running_emulator(settings, monkeypatch) as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def _nothing_remembered():
    """Neither breakers nor what was published outlive a test: both are in Redis."""
    yield
    cache.delete(health.PUBLISHED)
    forget_breakers()
