"""The ledger: every call of an AI service, in one order, as it was billed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from awsai.events import AwsCallRecorded
from awsai.models import AwsCall
from incidentops.access import chain
from incidentops.realtime import outbox

TOKEN_KINDS = ("input", "output", "cache_read", "cache_write")


def record(
    *,
    service: str,
    operation: str,
    provider: str,
    outcome: str,
    started_at: datetime,
    latency_ms: int | None,
    nano_usd: int,
    list_price_nano_usd: int,
    price_version: str = "",
    request_id: str = "",
    model_requested: str = "",
    model_invoked: str = "",
    incident_number: int | None = None,
    agent: str = "",
    run_ref: str = "",
    attempts: int = 1,
    tokens: Mapping[str, int] | None = None,
    units: Mapping[str, int] | None = None,
) -> AwsCall:
    """Append a call and tell of it, with the caller's transaction.

    `tokens` has some of `TOKEN_KINDS`; `units` counts what else is billed ("pages", "characters").
    The end of the ledger stays locked until the transaction ends: record last.

    Raises:
        ValueError: a kind of token that has no column in the API.
    """
    if unknown := set(tokens or {}) - set(TOKEN_KINDS):
        raise ValueError(f"Unknown kinds of token: {', '.join(sorted(unknown))}")
    call = AwsCall(
        request_id=request_id,
        service=service,
        operation=operation,
        provider=provider,
        model_requested=model_requested,
        model_invoked=model_invoked,
        incident_number=incident_number,
        agent=agent,
        run_ref=run_ref,
        outcome=outcome,
        attempts=attempts,
        tokens=dict(tokens or {}),
        units=dict(units or {}),
        nano_usd=nano_usd,
        list_price_nano_usd=list_price_nano_usd,
        price_version=price_version,
        latency_ms=latency_ms,
        started_at=started_at,
    )
    with transaction.atomic():
        chain.append(call)
        outbox.publish(
            AwsCallRecorded(version=call.sequence, incident=incident_number, call=call_record(call))
        )
    return call


def call_record(call: AwsCall) -> dict[str, Any]:
    """A row of the ledger as the API and the sockets show it."""
    return {
        "id": call.sequence,
        "request_id": call.request_id,
        "service": call.service,
        "operation": call.operation,
        "provider": call.provider,
        "model_requested": call.model_requested,
        "model_invoked": call.model_invoked,
        "incident": call.incident_number,
        "agent": call.agent,
        "outcome": call.outcome,
        "attempts": call.attempts,
        "tokens": {kind: call.tokens.get(kind, 0) for kind in TOKEN_KINDS},
        "units": call.units,
        "nano_usd": call.nano_usd,
        "list_price_nano_usd": call.list_price_nano_usd,
        "price_version": call.price_version,
        "latency_ms": call.latency_ms,
        "started_at": call.started_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
