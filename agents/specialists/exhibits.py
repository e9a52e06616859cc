"""Evidence as people see it: tables and plots cut to a readable size."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from agents.algorithms.anomaly import Array
from agents.algorithms.forecast import Forecast
from agents.case import AlertFact, AttachmentFact, Case, ChangeFact, EvidenceItem, PastIncident
from agents.specialists.signals import Signal
from agents.specialists.wording import cleaned, counted, moment, rounded
from awsai.knowledge import passages
from incidentops.incidents.similarity import Bm25

MOST_POINTS = 400
MOST_ROWS = 50
MOST_PASSAGES = 3
MOST_PASSAGE = 1200


def series_item(signal: Signal, *, forecast: Forecast | None = None) -> EvidenceItem:
    series, normal = signal.series, signal.normal
    band = [rounded(edge) for edge in normal.band()] if normal else None
    begun = [] if signal.began_at is None else [round(signal.began_at, 3)]
    data: dict[str, Any] = {
        "unit": cleaned(series.unit, 24),
        "points": _points(series.at, series.values),
        "threshold": series.threshold,
        "comparison": series.comparison,
        "change_points": begun,
        "baseline": band,
        "forecast": [] if forecast is None else _band(forecast),
    }
    return EvidenceItem(
        family="metrics",
        kind="series",
        title=cleaned(signal.label, 300),
        source=cleaned(series.source, 300),
        data=data,
        observed_from=moment(series.at[0]) if series.at.size else None,
        observed_to=moment(series.at[-1]) if series.at.size else None,
    )


def _points(at: Array, values: Array) -> list[list[float]]:
    keep = thinned(values)
    return [
        [round(float(x), 3), rounded(float(y))] for x, y in zip(at[keep], values[keep], strict=True)
    ]


def thinned(values: Array) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Indices of at most MOST_POINTS points: the lowest and the highest of each bucket."""
    n = values.size
    if n <= MOST_POINTS:
        return np.arange(n)
    edges = np.linspace(0, n, MOST_POINTS // 2 + 1).astype(int)
    kept: set[int] = set()
    for low, high in pairwise(edges.tolist()):
        kept |= {low + int(values[low:high].argmin()), low + int(values[low:high].argmax())}
    return np.asarray(sorted(kept), dtype=np.int64)


def _band(forecast: Forecast) -> list[list[float]]:
    columns = (forecast.at, forecast.mean, forecast.lower, forecast.upper)
    return [
        [round(float(at), 3), *(rounded(float(v)) for v in rest)]
        for at, *rest in zip(*columns, strict=True)
    ]


def alerts_item(alerts: Iterable[AlertFact]) -> EvidenceItem:
    alerts = tuple(alerts)
    starts = [alert.starts_at or alert.received_at for alert in alerts]
    return EvidenceItem(
        family="alerts",
        kind="alerts",
        title=counted(len(alerts), "alert"),
        source="alerts of the incident",
        data={"rows": [_alert_row(alert) for alert in alerts[:MOST_ROWS]], "of": len(alerts)},
        observed_from=min(starts, default=None),
        observed_to=max(starts, default=None),
    )


def _alert_row(alert: AlertFact) -> dict[str, Any]:
    return {
        "id": alert.id,
        "title": cleaned(alert.title),
        "service": cleaned(alert.service, 80),
        "status": alert.status,
        "severity": alert.severity,
        "starts_at": iso(alert.starts_at),
        "ends_at": iso(alert.ends_at),
        "count": alert.count,
    }


def changes_item(changes: Iterable[ChangeFact]) -> EvidenceItem:
    changes = tuple(changes)
    rows = [
        {
            "id": change.id,
            "service": change.service,
            "kind": change.kind,
            "title": cleaned(change.title),
            "at": iso(change.at),
        }
        for change in changes[:MOST_ROWS]
    ]
    return EvidenceItem(
        family="changes",
        kind="changes",
        title=f"{counted(len(changes), 'change')} before the impact",
        source="recorded changes",
        data={"rows": rows},
        observed_from=min((change.at for change in changes), default=None),
        observed_to=max((change.at for change in changes), default=None),
    )


def graph_item(case: Case, rows: list[dict[str, Any]]) -> EvidenceItem:
    return EvidenceItem(
        family="topology",
        kind="graph",
        title=f"Dependencies around {counted(len(case.services), 'service')}",
        source="service inventory",
        data={"rows": rows[: 4 * MOST_ROWS]},
    )


def past_item(past: Iterable[PastIncident]) -> EvidenceItem:
    rows = [
        {
            "number": one.number,
            "title": cleaned(one.title),
            "service": cleaned(one.service, 80),
            "similarity": rounded(one.similarity),
            "resolved_at": iso(one.resolved_at),
            "seconds_to_resolve": rounded(one.seconds_to_resolve),
        }
        for one in past
    ]
    return EvidenceItem(
        family="history",
        kind="past",
        title=counted(len(rows), "similar resolved incident"),
        source="incident history",
        data={"rows": rows},
    )


def attachment_item(case: Case, attachment: AttachmentFact) -> EvidenceItem:
    """The passages of a file that have most to do with the incident, the closest first."""
    uri = f"/incidents/{case.incident.number}/#attachment-{attachment.id}"
    texts = [cleaned(text, MOST_PASSAGE) for text in _telling(case, attachment)]
    return EvidenceItem(
        family="documents",
        kind="attachment",
        title=cleaned(attachment.name, 300),
        source=f"attachment {attachment.id} as provider {attachment.provider} read it",
        data={
            "attachment": attachment.id,
            "note": cleaned(attachment.note, 300),
            "rows": [{"text": text, "uri": uri} for text in texts if text],
        },
    )


def _telling(case: Case, attachment: AttachmentFact) -> list[str]:
    """Its passages that share words with the incident, else those it begins with."""
    texts = passages(attachment.text)
    alerts = (f"{alert.title} {alert.description}" for alert in case.alerts[:5])
    about = " ".join([case.incident.title, case.incident.service, attachment.note, *alerts])
    found = Bm25(texts).most_similar(about, limit=MOST_PASSAGES)
    return [texts[match.index] for match in found] or texts[:MOST_PASSAGES]


def iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def iso_of(epoch: float | None) -> str | None:
    return None if epoch is None else iso(moment(epoch))
