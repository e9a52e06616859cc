"""Rows of the ledger for tests."""

from __future__ import annotations

from typing import Any

from django.utils.timezone import now

from awsai import ledger
from awsai.ledger import Cost
from awsai.models import AwsCall
from awsai.ports import Usage


def make_call(**fields: Any) -> AwsCall:
    given: dict[str, Any] = {
        "service": "bedrock-claude",
        "operation": "Converse",
        "provider": "emulator",
        "outcome": "succeeded",
        "started_at": now(),
        "latency_ms": 400,
        "cost": Cost(billed=0, list_price=3_000),
        "usage": Usage(tokens={"input": 1000, "output": 20}),
    }
    return ledger.record(**(given | fields))
