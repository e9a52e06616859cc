"""What is true of every answer of every port."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest

from awsai.ports import TOKEN_METERS, CallFailed, Confidence, Provider, Served, Trouble


def assert_labelled(served: Served, provider: Provider) -> None:
    assert served.provider == provider.name
    assert served.service
    assert served.operation
    assert set(served.usage.tokens) <= set(TOKEN_METERS)
    assert all(count >= 0 for count in served.usage.tokens.values())
    assert all(count >= 0 for count in served.usage.units.values())
    assert served.usage.confidence in get_args(Confidence)


def assert_refused(call: Callable[[], Any]) -> None:
    with pytest.raises(CallFailed) as failed:
        call()
    assert failed.value.trouble is Trouble.REFUSED
    assert not failed.value.may_pass
    assert str(failed.value)
