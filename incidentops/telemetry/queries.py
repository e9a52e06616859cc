"""Read what was pushed and what is in the inventory, as frozen values and arrays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from django.db.models import Exists, F, OuterRef, Q, Window
from django.db.models.functions import RowNumber
from numpy.typing import NDArray

from incidentops.telemetry.models import Change, Dependency, LogLine, Sample, Series, Service


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredSeries:
    """Pushed samples of one series: `at` epoch seconds, ascending, and `values`, both (n,)."""

    id: int
    service: str
    metric: str
    labels: dict[str, str]
    unit: str
    at: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class StoredService:
    """A service of the inventory; `depends_on` names only services that were read with it."""

    name: str
    kind: str
    owner: str
    depends_on: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StoredChange:
    id: int
    service: str
    kind: str
    title: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class StoredLog:
    service: str
    at: datetime
    level: str
    message: str


def series_for(
    service: str | Iterable[str],
    *,
    since: datetime,
    until: datetime,
    limit_series: int = 20,
    limit_points: int = 2000,
) -> list[StoredSeries]:
    """Series of one or more services that have samples in [since, until), by service and metric.

    At most `limit_series` series in all and, of each, the newest `limit_points` points. Two queries.
    """
    names = [service] if isinstance(service, str) else list(service)
    inside = Q(at__gte=since, at__lt=until)
    chosen = {
        series.pk: series
        for series in Series.objects.filter(
            Exists(Sample.objects.filter(inside, series=OuterRef("pk"))), service__in=names
        ).order_by("service", "metric", "pk")[:limit_series]
    }
    if not chosen:
        return []
    points = (
        Sample.objects.filter(inside, series__in=chosen)
        .annotate(age=Window(RowNumber(), partition_by=[F("series_id")], order_by=[F("at").desc()]))
        .filter(age__lte=limit_points)
        .order_by("series_id", "at")
        .values_list("series_id", "at", "value")
    )
    collected: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for series_id, at, value in points:
        collected[series_id].append((at.timestamp(), value))
    return [_as_arrays(series, collected[pk]) for pk, series in chosen.items() if pk in collected]


def _as_arrays(series: Series, points: list[tuple[float, float]]) -> StoredSeries:
    columns = np.array(points, dtype=np.float64).reshape(-1, 2)
    return StoredSeries(
        id=series.pk,
        service=series.service,
        metric=series.metric,
        labels=series.labels,
        unit=series.unit,
        at=columns[:, 0].copy(),
        values=columns[:, 1].copy(),
    )


def services_around(
    names: Iterable[str], *, hops: int = 2, limit: int = 200
) -> tuple[StoredService, ...]:
    """The named services and what lies within `hops` calls of them in either direction.

    Services that are not in the inventory are left out. Nearer services come first, so that the
    `limit` cuts the far ones. At most `hops` + 2 queries.
    """
    rows = Service.objects.filter(name__in=set(names)).order_by("name").values_list("pk", flat=True)
    reached = list(rows[:limit])
    frontier = set(reached)
    for _ in range(hops):
        if not frontier or len(reached) >= limit:
            break
        edges = Dependency.objects.filter(
            Q(caller__in=frontier) | Q(callee__in=frontier)
        ).values_list("caller_id", "callee_id")
        frontier = {end for edge in edges for end in edge}.difference(reached)
        reached.extend(sorted(frontier)[: limit - len(reached)])
    return _services(reached)


def _services(ids: list[int]) -> tuple[StoredService, ...]:
    if not ids:
        return ()
    found = {service.pk: service for service in Service.objects.filter(pk__in=ids)}
    callees: dict[int, list[str]] = defaultdict(list)
    for caller, callee in Dependency.objects.filter(caller__in=ids, callee__in=ids).values_list(
        "caller_id", "callee__name"
    ):
        callees[caller].append(callee)
    return tuple(
        StoredService(
            name=found[pk].name,
            kind=found[pk].kind,
            owner=found[pk].owner,
            depends_on=tuple(sorted(callees[pk])),
        )
        for pk in ids
        if pk in found
    )


def changes_for(
    services: Iterable[str], *, since: datetime, until: datetime, limit: int = 100
) -> list[StoredChange]:
    """Changes to these services in [since, until), newest first. One query."""
    rows = (
        Change.objects.filter(service__name__in=set(services), at__gte=since, at__lt=until)
        .select_related("service")
        .order_by("-at", "-pk")[:limit]
    )
    return [
        StoredChange(id=row.pk, service=row.service.name, kind=row.kind, title=row.title, at=row.at)
        for row in rows
    ]


def logs_for(
    services: Iterable[str], *, since: datetime, until: datetime, limit: int = 5000
) -> list[StoredLog]:
    """Log lines of these services in [since, until), ascending: the newest `limit`. One query."""
    rows = (
        LogLine.objects.filter(service__in=set(services), at__gte=since, at__lt=until)
        .order_by("-at", "-pk")
        .values_list("service", "at", "level", "message")[:limit]
    )
    newest_first = [
        StoredLog(service=service, at=at, level=level, message=message)
        for service, at, level, message in rows
    ]
    return newest_first[::-1]
