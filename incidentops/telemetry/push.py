"""Keep pushed samples and log lines: a few set-based statements, harmless when repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.db import connection, transaction
from django.db.models import Count

from incidentops.telemetry.models import LogLine, Sample, Series
from incidentops.telemetry.rows import LogRow, SampleRow

MAX_SERIES_PER_SERVICE = 1000
_BATCH = 1000


class TooManySeries(ValueError):
    """A service would get more series than are kept: most often an id ended up in a label."""

    def __init__(self, service: str, series: int) -> None:
        super().__init__(
            f"Service {service!r} would have {series} series; at most {MAX_SERIES_PER_SERVICE} are "
            "kept. Use labels with few values."
        )


def store_samples(rows: list[SampleRow]) -> int:
    """Keep the samples and return how many of them were there already.

    The first value of a series at an instant stands, so history does not change under the feet of
    whoever read it.

    Raises:
        TooManySeries: nothing was stored.
    """
    identities = {row.series_key: row for row in rows}
    with transaction.atomic():
        ids = _series_ids(identities)
        new = sorted({(ids[row.series_key], row.at): row.value for row in reversed(rows)}.items())
        added = sum(_insert(chunk) for chunk in _chunks(new))
    return len(rows) - added


def _series_ids(identities: dict[str, SampleRow]) -> dict[str, int]:
    """The series of these keys, made where there were none, and locked in one order."""
    known = set(Series.objects.filter(key__in=identities).values_list("key", flat=True))
    missing = [identities[key] for key in sorted(identities.keys() - known)]
    if missing:
        _check_cardinality(missing)
        Series.objects.bulk_create(
            [
                Series(
                    service=row.service,
                    metric=row.metric,
                    labels=row.labels,
                    unit=row.unit,
                    key=row.series_key,
                )
                for row in missing
            ],
            ignore_conflicts=True,
        )
    # The lock keeps the pruning of empty series away until the samples are in.
    locked = Series.objects.select_for_update().filter(key__in=identities).order_by("key")
    return dict(locked.values_list("key", "pk"))


def _check_cardinality(missing: list[SampleRow]) -> None:
    more = Counter(row.service for row in missing)
    kept: dict[str, int] = dict(
        Series.objects.filter(service__in=more)
        .values_list("service")
        .annotate(count=Count("pk"))
        .order_by()
    )
    for service, count in sorted(more.items()):
        if (total := kept.get(service, 0) + count) > MAX_SERIES_PER_SERVICE:
            raise TooManySeries(service, total)


def _insert(chunk: list[tuple[tuple[int, Any], float]]) -> int:
    """Insert what is new and return how many rows that were, which `bulk_create` does not tell."""
    table = connection.ops.quote_name(Sample._meta.db_table)
    values = ", ".join(["(%s, %s, %s)"] * len(chunk))
    parameters = [
        value
        for (series, at), number in chunk
        for value in (series, connection.ops.adapt_datetimefield_value(at), number)
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (series_id, at, value) VALUES {values} "  # noqa: S608  # names and placeholders alone are pasted in
            "ON CONFLICT (series_id, at) DO NOTHING",
            parameters,
        )
        return int(cursor.rowcount)


def _chunks(rows: list[Any]) -> Iterable[list[Any]]:
    return (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))


def store_logs(rows: list[LogRow]) -> int:
    """Keep the lines and return how many of them were there already."""
    lines = [
        LogLine(
            service=row.service,
            at=row.at,
            level=row.level,
            message=row.message,
            identity=row.identity,
        )
        for row in sorted(rows, key=lambda row: row.identity)
    ]
    with transaction.atomic():
        known = LogLine.objects.filter(identity__in=[row.identity for row in rows]).count()
        LogLine.objects.bulk_create(lines, ignore_conflicts=True, batch_size=_BATCH)
    return known
