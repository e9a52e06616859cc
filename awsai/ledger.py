"""The ledger: every call of an AI service, in one order, as it was billed.

A call is an intent before it is made and one row after it ended, whatever happened; an intent whose
process died is found later and becomes a row that says so. Intents reserve in the budgets and rows
settle there, in the same transaction, which is one of their own and not the caller's: what was spent
is spent, even if the caller's work is rolled back.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

from django.db import connection, transaction
from django.utils.timezone import now

from awsai import budgets, payloads, prices, pricing, purpose, telemetry
from awsai.budgets import Claim, OverBudget, Reservation
from awsai.events import AwsCallRecorded
from awsai.journal import Journal
from awsai.models import AwsCall, AwsCallIntent, Outcome, RouteDecision
from awsai.ports import NOTHING_USED, TOKEN_METERS, Trouble, Usage
from awsai.purpose import Purpose
from incidentops.access import chain
from incidentops.realtime import outbox
from incidentops.statements import insert, places

log = logging.getLogger(__name__)

# Longer than any call may take, so that nobody is still waiting for the answer.
LOST_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """`billed` and `list_price` in nano-USD, None where no price is known."""

    billed: int | None
    list_price: int | None
    version: str = ""
    confidence: str = ""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One request of a call; `http_status` is None when no answer came."""

    number: int
    http_status: int | None
    error: str
    latency_ms: int
    request_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a call ended."""

    outcome: Outcome
    usage: Usage = NOTHING_USED
    model_invoked: str = ""
    request_id: str = ""
    error_code: str = ""
    stop_reason: str = ""
    attempts: tuple[Attempt, ...] = ()
    first_token_ms: int | None = None


class Entry:
    """An open call: its intent is stored, its row is not. `settle` writes the row, once."""

    def __init__(self, intent: AwsCallIntent) -> None:
        self.intent = intent
        self._began = monotonic()
        self._call: AwsCall | None = None

    @property
    def is_settled(self) -> bool:
        return self._call is not None

    def elapsed_ms(self) -> int:
        return round((monotonic() - self._began) * 1000)

    def settle(self, result: Result, *, latency_ms: int | None = None) -> AwsCall:
        """Write the row. Settling again changes nothing and gives the row that was written."""
        if self._call is None:
            latency = self.elapsed_ms() if latency_ms is None else latency_ms
            self._call = _close_one(self.intent, result, latency)
        return self._call


def intend(
    *, service: str, operation: str, provider: str, model: str = "", region: str = ""
) -> Entry:
    """Store that a call is about to be made, for the current purpose, and reserve what it can cost.

    Raises:
        OverBudget: a limit has no room for it; it must not be made.
    """
    about = purpose.current()
    intent = AwsCallIntent(
        id=uuid.uuid4(),
        service=service,
        operation=operation,
        provider=provider,
        region=region,
        model_requested=model,
        incident_number=about.incident,
        agent=about.agent,
        run_ref=about.run_ref,
        prompt_digest=about.digest,
        estimated_nano_usd=about.estimated_nano_usd,
        started_at=now(),
    )
    _journal.write(_Opening(intent=intent, about=about))
    return Entry(intent)


def outcome_of(trouble: Trouble) -> Outcome:
    return Outcome(trouble.value)


def reconcile(older_than: timedelta = LOST_AFTER) -> int:
    """Give every call whose process died its row; their number.

    What such a call cost is not known: the row carries what was reserved for it, as an estimate.
    """
    lost = AwsCallIntent.objects.filter(is_settled=False, started_at__lt=now() - older_than)
    count = 0
    for intent in lost.order_by("started_at")[:500]:
        _close_one(intent, Result(outcome=Outcome.LOST), None)
        count += 1
    if count:
        log.warning("%s AI calls were lost with their processes", count)
    return count


# --- Writing -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Opening:
    intent: AwsCallIntent
    about: Purpose

    @property
    def claim(self) -> Claim:
        return Claim(
            amount=self.intent.estimated_nano_usd or 0,
            day=self.intent.day,
            incident=self.intent.incident_number,
            run=self.intent.run_ref,
            severity=self.about.severity,
        )


@dataclass(frozen=True, kw_only=True)
class _Closing:
    intent: AwsCallIntent
    row: AwsCall

    @property
    def reservation(self) -> Reservation:
        intent = self.intent
        ordinary = budgets.ordinary_uses(intent.day, intent.incident_number, intent.run_ref)
        return Reservation(
            amount=intent.estimated_nano_usd or 0,
            uses=budgets.allowance_uses(intent.day) if intent.is_allowance else ordinary,
            is_allowance=intent.is_allowance,
        )


def _write(items: Sequence[_Opening | _Closing]) -> list[AwsCall | AwsCallIntent | Exception]:
    """Write the beginnings and the ends of several calls in one transaction."""
    openings = [item for item in items if isinstance(item, _Opening)]
    closings = [item for item in items if isinstance(item, _Closing)]
    with _storing(openings), transaction.atomic():
        opened = iter(_open(openings) if openings else ())
        closed = iter(_close(closings) if closings else ())
    return [next(opened if isinstance(item, _Opening) else closed) for item in items]


_journal = Journal(_write)


def _close_one(intent: AwsCallIntent, result: Result, latency_ms: int | None) -> AwsCall:
    written = _journal.write(_Closing(intent=intent, row=_row_of(intent, result, latency_ms)))
    assert isinstance(written, AwsCall)
    return written


@contextmanager
def _storing(openings: Sequence[_Opening]) -> Iterator[None]:
    """Decisions that are stored in the block are not, after all, when it fails."""
    fresh = _fresh_decisions(openings)
    try:
        yield
    except BaseException:
        for decision in fresh:
            decision.pk, decision._state.adding = None, True
        raise


def _fresh_decisions(openings: Sequence[_Opening]) -> list[RouteDecision]:
    decisions = [opening.about.decision for opening in openings]
    return [one for one in decisions if one is not None and one._state.adding]


def _open(openings: Sequence[_Opening]) -> list[AwsCallIntent | Exception]:
    """Reserve and store the intents, but for those that a budget has no room for."""
    paid = [opening for opening in openings if not opening.intent.is_local]
    refused: dict[uuid.UUID, Exception] = {}
    for opening, granted in zip(paid, budgets.reserve([o.claim for o in paid]), strict=True):
        if isinstance(granted, OverBudget):
            refused[opening.intent.pk] = granted
        else:
            opening.intent.is_allowance = granted.is_allowance
    made = [opening for opening in openings if opening.intent.pk not in refused]
    if fresh := _fresh_decisions(made):
        RouteDecision.objects.store(fresh)
    for opening in made:
        decision = opening.about.decision
        opening.intent.route_decision = decision.pk if decision else None
        payloads.keep(opening.intent.pk, opening.about.words)
    insert([opening.intent for opening in made])
    return [refused.get(opening.intent.pk, opening.intent) for opening in openings]


def _close(closings: Sequence[_Closing]) -> list[AwsCall]:
    """Settle the intents and append their rows; rows that somebody else wrote stay as they are."""
    ids = [closing.intent.pk for closing in closings]
    # Whoever flips it writes the row; a reconciliation that came first has written it already.
    flipped = _flip(ids)
    rows: dict[str, AwsCall] = {}
    if flipped < len(ids):
        rows = {row.intent: row for row in AwsCall.objects.filter(intent__in=map(str, ids))}
    mine = [closing for closing in closings if str(closing.intent.pk) not in rows]
    budgets.settle(
        (closing.reservation, closing.row.list_price_nano_usd)
        for closing in mine
        if not closing.intent.is_local
    )
    rows |= {row.intent: row for row in _append([closing.row for closing in mine])}
    return [rows[str(pk)] for pk in ids]


# In plain SQL, since it runs around every call.
_FLIP = "UPDATE awsai_awscallintent SET is_settled = %s WHERE NOT is_settled AND id IN ({})"


def _flip(ids: Sequence[uuid.UUID]) -> int:
    """Mark the intents as settled; how many were not."""
    as_stored = AwsCallIntent._meta.pk.get_db_prep_value
    stored = [as_stored(pk, connection) for pk in ids]
    with connection.cursor() as cursor:
        cursor.execute(_FLIP.format(places(len(ids))), [True, *stored])
        flipped: int = cursor.rowcount
    return flipped


def _row_of(intent: AwsCallIntent, result: Result, latency_ms: int | None) -> AwsCall:
    return _row(
        intent=str(intent.pk),
        service=intent.service,
        operation=intent.operation,
        provider=intent.provider,
        region=intent.region,
        model_requested=intent.model_requested,
        model_invoked=result.model_invoked,
        incident_number=intent.incident_number,
        agent=intent.agent,
        run_ref=intent.run_ref,
        route_decision=intent.route_decision,
        prompt_digest=intent.prompt_digest,
        outcome=result.outcome,
        error_code=result.error_code[:80],
        stop_reason=result.stop_reason[:40],
        request_id=result.request_id[:80],
        attempts=result.attempts,
        usage=result.usage,
        cost=_cost(intent, result),
        latency_ms=latency_ms,
        first_token_ms=result.first_token_ms,
        started_at=intent.started_at,
    )


def _cost(intent: AwsCallIntent, result: Result) -> Cost:
    if result.outcome == Outcome.LOST:
        estimate = intent.estimated_nano_usd if intent.provider == "aws" else 0
        return Cost(billed=estimate, list_price=intent.estimated_nano_usd, confidence="estimated")
    if intent.is_local:
        return Cost(billed=0, list_price=0)
    is_billed = intent.provider == "aws"
    rates = prices.in_force()
    if rates is None:
        return Cost(billed=None if is_billed else 0, list_price=None)
    price = pricing.cost(
        result.usage,
        service=intent.service,
        model=result.model_invoked or intent.model_requested,
        region=intent.region,
        at=intent.started_at,
        rates=rates,
    )
    return Cost(
        billed=price.nano_usd if is_billed else 0,
        list_price=price.nano_usd,
        version=price.version,
        confidence=price.confidence or "",
    )


def record(**fields: Any) -> AwsCall:
    """Append a row that no intent preceded, with the caller's transaction; as `_row` takes them.

    The end of the ledger stays locked until the transaction ends: record last.

    Raises:
        ValueError: a kind of token that has no column in the API.
    """
    return _append([_row(**fields)])[0]


def _row(
    *,
    service: str,
    operation: str,
    provider: str,
    outcome: str,
    started_at: datetime,
    latency_ms: int | None,
    cost: Cost,
    usage: Usage = NOTHING_USED,
    attempts: Sequence[Attempt] = (),
    **columns: Any,
) -> AwsCall:
    """A row to be appended. `columns` are further columns of `AwsCall`."""
    if unknown := set(usage.tokens) - set(TOKEN_METERS):
        raise ValueError(f"Unknown kinds of token: {', '.join(sorted(unknown))}")
    return AwsCall(
        service=service,
        operation=operation,
        provider=provider,
        outcome=outcome,
        attempts=[_attempt_row(attempt) for attempt in attempts],
        tokens=dict(usage.tokens),
        units=dict(usage.units),
        usage_confidence=usage.confidence,
        nano_usd=cost.billed,
        list_price_nano_usd=cost.list_price,
        price_version=cost.version,
        price_confidence=cost.confidence,
        latency_ms=latency_ms,
        started_at=started_at,
        **columns,
    )


def _append(calls: Sequence[AwsCall]) -> list[AwsCall]:
    """Put the rows at the end of the ledger and tell who shows them, with the caller's transaction."""
    with transaction.atomic(savepoint=False):
        stored = chain.extend(calls)
        outbox.publish_all(
            AwsCallRecorded(
                version=call.sequence, incident=call.incident_number, call=call_record(call)
            )
            for call in stored
            if call.incident_number is not None
        )
        if telemetry.is_collected():
            for call in map(call_record, stored):
                transaction.on_commit(partial(telemetry.log_call, call), robust=True)
    return stored


def _attempt_row(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "http_status": attempt.http_status,
        "error": attempt.error,
        "latency_ms": attempt.latency_ms,
        "request_id": attempt.request_id,
    }


def call_record(call: AwsCall) -> dict[str, Any]:
    """A row of the ledger as the API and the sockets show it."""
    return {
        "id": call.sequence,
        "request_id": call.request_id,
        "service": call.service,
        "operation": call.operation,
        "provider": call.provider,
        "region": call.region,
        "model_requested": call.model_requested,
        "model_invoked": call.model_invoked,
        "incident": call.incident_number,
        "agent": call.agent,
        "route_decision": call.route_decision,
        "outcome": call.outcome,
        "error_code": call.error_code,
        "stop_reason": call.stop_reason,
        "attempts": len(call.attempts),
        "attempt_log": call.attempts,
        "tokens": tokens_shown(call.tokens),
        "units": call.units,
        "usage_confidence": call.usage_confidence,
        "nano_usd": call.nano_usd,
        "list_price_nano_usd": call.list_price_nano_usd,
        "price_version": call.price_version,
        "price_confidence": call.price_confidence,
        "latency_ms": call.latency_ms,
        "first_token_ms": call.first_token_ms,
        "started_at": call.started_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }


def tokens_shown(tokens: Mapping[str, int]) -> dict[str, int]:
    """The four kinds that are promised, and how long what was written to a cache is kept there."""
    five_minutes, hour = tokens.get("cache_write_5m", 0), tokens.get("cache_write_1h", 0)
    return {
        "input": tokens.get("input", 0),
        "output": tokens.get("output", 0),
        "cache_read": tokens.get("cache_read", 0),
        "cache_write": five_minutes + hour,
        "cache_write_5m": five_minutes,
        "cache_write_1h": hour,
    }
