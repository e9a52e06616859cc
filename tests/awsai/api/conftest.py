from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.awsai.health.emulated import running_emulator
from tests.factories import make_token, make_user


@pytest.fixture
def emulator(settings, monkeypatch):
    with running_emulator(settings, monkeypatch) as emulator:
        yield emulator


@pytest.fixture
def api(db) -> Callable[[str], Client]:
    """A client with a token of the given role."""

    def client(role: str) -> Client:
        headers: Any = {"Authorization": f"Bearer {make_token(role)}"}
        return Client(headers=headers)

    return client


@pytest.fixture
def staff(db) -> Callable[[str], Client]:
    """A client that is signed in to the admin site as the user "root" of the given role."""

    def client(role: str = "admin") -> Client:
        user = make_user(role, name="root")
        user.is_staff = True
        user.save()
        signed_in = Client()
        signed_in.force_login(user)
        return signed_in

    return client
