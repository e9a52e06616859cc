"""Cases built by hand: what a specialist sees, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from agents.case import (
    AlertFact,
    Case,
    ChangeFact,
    IncidentFact,
    LogFact,
    PastIncident,
    SeriesFact,
    ServiceFact,
)

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ONSET = NOW - timedelta(minutes=20)
STEP_SECONDS = 60


def an_incident(**fields: Any) -> IncidentFact:
    return IncidentFact(
        **{
            "number": 7,
            "title": "Checkout fails",
            "status": "triggered",
            "severity": "critical",
            "service": "checkout",
            "origin": "live",
            "impact_start": None,
            "detected_at": ONSET + timedelta(minutes=2),
            "received_at": ONSET + timedelta(minutes=2),
            "resolved_at": None,
            "alert_count": 1,
            **fields,
        }
    )


def an_alert(id_: int = 1, **fields: Any) -> AlertFact:
    return AlertFact(
        **{
            "id": id_,
            "fingerprint": f"f{id_}",
            "title": "HighErrorRate",
            "description": "Errors above 5 %",
            "status": "firing",
            "severity": "critical",
            "service": "checkout",
            "labels": {"alertname": "HighErrorRate", "job": "checkout"},
            "annotations": {},
            "starts_at": ONSET + timedelta(minutes=2),
            "ends_at": None,
            "received_at": ONSET + timedelta(minutes=2),
            "count": 1,
            "url": "",
            **fields,
        }
    )


def noise(n: int, *, level: float, spread: float, seed: int = 1) -> np.ndarray:
    return level + spread * np.random.default_rng(seed).standard_normal(n)


def a_series(values: Any, *, until: datetime = NOW, **fields: Any) -> SeriesFact:
    values = np.asarray(values, dtype=np.float64)
    at = until.timestamp() - STEP_SECONDS * np.arange(values.size)[::-1]
    return SeriesFact(
        **{
            "service": "checkout",
            "metric": "error_ratio",
            "labels": {},
            "unit": "%",
            "at": at,
            "values": values,
            "source": "samples",
            **fields,
        }
    )


def stepped(*, level: float, to: float, spread: float, minutes: int = 20, seed: int = 1) -> Any:
    """Six hours of a level that jumps `minutes` before the end."""
    values = noise(360, level=level, spread=spread, seed=seed)
    values[360 - minutes - 1 :] += to - level
    return values


SHOP = (
    ServiceFact(name="gateway", kind="gateway", owner="web", depends_on=("checkout",)),
    ServiceFact(name="checkout", kind="service", owner="shop", depends_on=("cache", "orders-db")),
    ServiceFact(name="cache", kind="cache", owner="shop", depends_on=()),
    ServiceFact(name="orders-db", kind="database", owner="data", depends_on=()),
    ServiceFact(name="mobile", kind="gateway", owner="app", depends_on=("gateway",)),
)


def a_case(**fields: Any) -> Case:
    return Case(
        **{
            "response_id": 3,
            "at": NOW,
            "incident": an_incident(),
            "alerts": (an_alert(),),
            **fields,
        }
    )


def a_bad_deploy(**fields: Any) -> Case:
    """Errors on checkout jump five minutes after its deploy and show at the gateway that calls it."""
    own = a_series(
        stepped(level=1.0, to=30.0, spread=0.2), alert_id=1, threshold=5.0, comparison=">"
    )
    return a_case(
        **{
            "alerts": (an_alert(), an_alert(2, title="SlowGateway", service="gateway")),
            "series": (
                own,
                a_series(
                    stepped(level=100.0, to=180.0, spread=4.0, seed=2),
                    service="gateway",
                    metric="latency_ms",
                ),
                a_series(noise(360, level=40, spread=2, seed=3), service="orders-db", metric="cpu"),
            ),
            "services": SHOP,
            "changes": (
                ChangeFact(
                    id=11,
                    service="checkout",
                    kind="deploy",
                    title="checkout 2.4.0",
                    at=ONSET - timedelta(minutes=5),
                ),
                ChangeFact(
                    id=12,
                    service="gateway",
                    kind="config",
                    title="raise time-outs",
                    at=ONSET - timedelta(hours=9),
                ),
            ),
            "logs": checkout_logs(),
            "past": (
                PastIncident(
                    number=2,
                    title="Checkout fails after deploy",
                    service="checkout",
                    similarity=0.8,
                    resolved_at=NOW - timedelta(days=9),
                    seconds_to_resolve=1500.0,
                ),
            ),
            **fields,
        }
    )


def checkout_logs() -> tuple[LogFact, ...]:
    """Steady chatter for two hours, and since the onset an error never seen before."""
    chatter = [
        LogFact(
            service="checkout",
            at=NOW - timedelta(minutes=minute),
            level="info",
            message=f"order {minute} placed in {minute % 7} ms",
        )
        for minute in range(120)
    ]
    errors = [
        LogFact(
            service="checkout",
            at=NOW - timedelta(minutes=minute, seconds=30),
            level="error",
            message=f"payment {minute} refused: null currency",
        )
        for minute in range(19)
    ]
    return tuple(sorted([*chatter, *errors], key=lambda line: line.at))


def alerts_alone(**fields: Any) -> Case:
    """One alert on an unknown service; no telemetry, no graph, no changes."""
    return a_case(
        incident=an_incident(service="billing"),
        alerts=(an_alert(service="billing"),),
        missing=("Source shop has no prometheus_url.",),
        **fields,
    )
