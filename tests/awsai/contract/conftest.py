"""Every provider of the ports keeps the same promises: what is tested here holds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import pytest
from django.db import close_old_connections
from django.test import override_settings

from awsai import providers
from awsai.emulator.emulator import Emulator
from awsai.ports import Provider
from awsai.providers.local import PROVIDER


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """`open` gives the provider for one test; `model` is one that its reasoner knows."""

    open: Callable[[], AbstractContextManager[Provider]]
    model: str


@contextmanager
def emulated() -> Iterator[Provider]:
    """The adapters of AWS against the emulator, whose handlers ask the local provider."""
    with (
        Emulator(PROVIDER, after_request=close_old_connections) as emulator,
        override_settings(AWSAI_PROVIDER="emulator", AWS_EMULATOR_URL=emulator.url),
    ):
        yield providers.provider("emulator")


CONTESTANTS = {
    "local": Contestant(open=lambda: nullcontext(PROVIDER), model="local/evidence-writer"),
    "emulator": Contestant(open=emulated, model="us.anthropic.claude-haiku-4-5-20251001-v1:0"),
}


@pytest.fixture(params=sorted(CONTESTANTS))
def contestant(request, transactional_db) -> Contestant:
    # Transactional: a provider may answer from threads, which see only what is committed.
    return CONTESTANTS[request.param]


@pytest.fixture
def provider(contestant: Contestant) -> Iterator[Provider]:
    with contestant.open() as provider:
        yield provider


@pytest.fixture
def model(contestant: Contestant) -> str:
    return contestant.model
