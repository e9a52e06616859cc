"""Time-outs as short as tests are, and no waiting between attempts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from botocore.retries.standard import ExponentialBackoff

from awsai.providers.aws import hooks


def be_impatient(monkeypatch: Any, settings: Any, *, seconds: float = 0.3) -> None:
    """Until the fixtures are undone; `seconds` are those of one attempt."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.0)
    monkeypatch.setattr(hooks, "MODEL_SECONDS", seconds)
    monkeypatch.setattr(hooks, "OTHER_SECONDS", seconds)
    monkeypatch.setattr(hooks, "ONCE_MORE_AFTER_SECONDS", 0.0)
    settings.AWSAI_CALL_LIMIT = timedelta(seconds=5)
