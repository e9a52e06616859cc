"""Read everything a specialist may know about a response, once.

The only query of the specialists. Remote reads happen outside transactions, with short time-outs;
what could not be had is said in `Case.missing`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from math import ceil
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from django.db.models import Case as When
from django.db.models import IntegerField, Q, Value
from django.db.models import When as If
from django.db.models.functions import Left
from django.utils.timezone import now

from agents.case import (
    AlertFact,
    AttachmentFact,
    Case,
    ChangeFact,
    Claim,
    DecisionFact,
    EvidenceItem,
    Finding,
    IncidentFact,
    LogFact,
    PastIncident,
    Proposal,
    SeriesFact,
    ServiceFact,
)
from agents.models import AgentRun, AgentState, Ballot, Decision, Phase, Response
from agents.specialists.wording import cleaned, quoted
from incidentops.incidents.models import Alert, Attachment, Incident, Severity, Status
from incidentops.incidents.similarity import TfIdf
from incidentops.telemetry import prometheus, queries

MOST_ALERTS = 200
MOST_LOGS = 4000
MOST_ATTACHED_TEXT = 20_000
MOST_CHANGES = 50
MOST_SERIES = 40
MOST_QUERIES = 8
MOST_EXPRESSION = 2000
MOST_SECONDS = 15.0
MOST_PAST_READ = 500
MOST_PAST = 5
LEAST_SIMILARITY = 0.15
HOPS = 2
LOOKBACK = timedelta(hours=6)
LOGS_LOOKBACK = timedelta(hours=2)
CHANGES_LOOKBACK = timedelta(hours=24)
LONGEST = timedelta(days=7)
MOST_POINTS = 720
LEAST_STEP_SECONDS = 15
# A series of fewer points began lately and can be read more closely.
FEW_POINTS = 60

# Which phase holds an agent's finding; the check after an action stands under its own name.
_FINDINGS = {
    Phase.DETECTION: "detection",
    Phase.DIAGNOSIS: "diagnosis",
    Phase.PREDICTION: "prediction",
    Phase.VERIFICATION: "verification",
}


_FIRING_FIRST = When(If(status=Alert.Status.FIRING, then=Value(0)), default=Value(1))
_URGENT_FIRST = When(
    *(If(severity=severity, then=Value(severity.rank)) for severity in Severity),
    default=Value(len(Severity)),
    output_field=IntegerField(),
)


def load(response: Response) -> Case:
    at = now()
    # As it is now, not as it was when the response was read.
    incident = Incident.objects.get(pk=response.incident_id)
    rows = _alert_rows(incident)
    alerts = tuple(_alert(row) for row in rows)
    named = list(dict.fromkeys(n for n in (incident.service, *(a.service for a in alerts)) if n))
    services = tuple(
        ServiceFact(name=s.name, kind=s.kind, owner=s.owner, depends_on=s.depends_on)
        for s in queries.services_around(named, hops=HOPS)
    )
    near = list(dict.fromkeys([*named, *(service.name for service in services)]))
    began = max(_began(incident, alerts), at - LONGEST)
    missing: list[str] = []
    series = (
        *_alerts_own_series(rows, since=began - LOOKBACK, until=at, missing=missing),
        *_pushed_series(near, since=began - LOOKBACK, until=at),
    )
    attachments = _attachments(incident, until=at, missing=missing)
    # Before the candidates are frozen there is nothing to read of a vote.
    is_voted_on = response.epoch is not None
    candidates = response.candidates.order_by("digest") if is_voted_on else ()
    decision = Decision.objects.filter(response=response).first() if is_voted_on else None
    return Case(
        response_id=response.pk,
        at=at,
        incident=_incident(incident),
        alerts=alerts,
        series=series,
        logs=_logs(near, since=began - LOGS_LOOKBACK, until=at),
        attachments=attachments,
        services=services,
        changes=_changes(near, since=began - CHANGES_LOOKBACK, until=at),
        past=_past(incident, alerts),
        findings=_findings(response),
        missing=tuple(missing),
        candidates=tuple(_proposal(candidate.content) for candidate in candidates),
        decision=_decision(decision) if decision else None,
        state=response.state,
    )


# --- Incident and alerts -----------------------------------------------------------------------


def _incident(incident: Incident) -> IncidentFact:
    return IncidentFact(
        number=incident.number,
        title=incident.title,
        status=incident.status,
        severity=incident.severity,
        service=incident.service,
        origin=incident.origin,
        impact_start=incident.impact_start,
        detected_at=incident.detected_at,
        received_at=incident.received_at,
        resolved_at=incident.resolved_at,
        alert_count=incident.alert_count,
    )


def _alert_rows(incident: Incident) -> list[Alert]:
    """The most telling alerts: firing before resolved, urgent before mild, the earliest first."""
    rows = Alert.objects.filter(incident=incident).select_related("source")
    return list(rows.order_by(_FIRING_FIRST, _URGENT_FIRST, "received_at", "pk")[:MOST_ALERTS])


def _alert(row: Alert) -> AlertFact:
    return AlertFact(
        id=row.pk,
        fingerprint=row.fingerprint,
        title=row.title,
        description=row.description,
        status=row.status,
        severity=row.severity,
        service=row.service,
        labels=_texts(row.labels),
        annotations=_texts(row.annotations),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        received_at=row.received_at,
        count=row.count,
        url=row.url,
    )


def _texts(members: dict[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in members.items()}


def _began(incident: Incident, alerts: Iterable[AlertFact]) -> datetime:
    starts = [alert.starts_at for alert in alerts if alert.starts_at]
    stamps = [incident.impact_start, incident.detected_at, *starts]
    return min(stamp for stamp in stamps if stamp)


def _attachments(
    incident: Incident, *, until: datetime, missing: list[str]
) -> tuple[AttachmentFact, ...]:
    """The texts read by then, in the order in which people attached them."""
    rows = (
        Attachment.objects.filter(incident=incident, added_at__lte=until)
        .defer("content", "text")
        .annotate(begin=Left("text", MOST_ATTACHED_TEXT))
        .order_by("pk")
    )
    facts = []
    for row in rows:
        if row.state == Attachment.State.UNREADABLE:
            why = cleaned(row.reason, 300)
            missing.append(f"The attachment {quoted(row.name)} cannot be read: {why}")
        elif row.read_at is None or row.read_at > until:
            missing.append(f"The attachment {quoted(row.name)} had not been read yet.")
        else:
            facts.append(
                AttachmentFact(
                    id=row.pk,
                    name=row.name,
                    note=row.note,
                    text=row.begin,  # type: ignore[attr-defined]  # annotated
                    provider=row.provider,
                    added_at=row.added_at,
                )
            )
    return tuple(facts)


# --- Telemetry ---------------------------------------------------------------------------------


def _pushed_series(
    services: list[str], *, since: datetime, until: datetime
) -> tuple[SeriesFact, ...]:
    stored = queries.series_for(services, since=since, until=until, limit_series=MOST_SERIES)
    return tuple(
        SeriesFact(
            service=one.service,
            metric=one.metric,
            labels=_texts(one.labels),
            unit=one.unit,
            at=one.at,
            values=one.values,
            source="samples",
        )
        for one in stored
    )


def _alerts_own_series(
    rows: list[Alert], *, since: datetime, until: datetime, missing: list[str]
) -> tuple[SeriesFact, ...]:
    """The series each alert was raised on, from the Prometheus its source is configured with.

    An alert only chooses the query, never where it is sent.
    """
    asked: dict[tuple[str, str], list[Alert]] = {}
    unconfigured: dict[str, int] = {}
    for row in rows:
        expression = expression_of(row.url)
        if not expression:
            continue
        url = row.source.config.get("prometheus_url")
        if not isinstance(url, str) or not url:
            unconfigured[row.source.name] = unconfigured.get(row.source.name, 0) + 1
            continue
        asked.setdefault((url, expression), []).append(row)
    for name, count in unconfigured.items():
        missing.append(
            f"Source {name} has no prometheus_url, so the series behind its {count} alerts "
            f"could not be read."
        )
    if len(asked) > MOST_QUERIES:
        missing.append(
            f"Of {len(asked)} alert expressions only the first {MOST_QUERIES} were read."
        )
    found: list[SeriesFact] = []
    deadline = monotonic() + MOST_SECONDS
    for (url, expression), about in list(asked.items())[:MOST_QUERIES]:
        if monotonic() > deadline:
            missing.append(f"Prometheus took over {MOST_SECONDS} s, so not all series were read.")
            break
        try:
            found += _read(url, expression, about, since=since, until=until, missing=missing)
        except prometheus.TelemetryUnavailable as error:
            missing.append(
                f"The series behind {len(about)} alerts of {about[0].source.name} could not be "
                f"read: {error.reason}"
            )
    return tuple(found)


def expression_of(url: str) -> str:
    """The rule's expression in a `generatorURL`, "" when there is none of a sane length."""
    try:
        parts = urlsplit(url)
        found = parse_qs(parts.query, max_num_fields=50).get("g0.expr", [""])[0].strip()
    except ValueError:
        return ""
    return found if len(found) <= MOST_EXPRESSION else ""


def _read(
    url: str,
    expression: str,
    about: list[Alert],
    *,
    since: datetime,
    until: datetime,
    missing: list[str],
) -> list[SeriesFact]:
    watched, comparison, threshold = prometheus.split_comparison(expression)
    step = max(LEAST_STEP_SECONDS, ceil((until - since).total_seconds() / MOST_POINTS))
    answered = prometheus.query_range(url, watched, since=since, until=until, step_seconds=step)
    if max((series.at.size for series in answered), default=0) < FEW_POINTS:
        answered = _closer(url, watched, answered, step=step, until=until)
    found = []
    for row in about:
        series = match(_texts(row.labels), answered)
        if series is None:
            missing.append(
                f"Prometheus has no series with the labels of alert {row.pk} of {row.source.name}."
            )
            continue
        found.append(
            SeriesFact(
                service=row.service,
                metric=watched[:160],
                labels=series.labels,
                unit="",
                at=series.at,
                values=series.values,
                # The host alone: the configured URL may carry a password.
                source=f"prometheus {urlsplit(url).hostname} {watched}",
                alert_id=row.pk,
                threshold=threshold,
                comparison=comparison if threshold is not None else "",
            )
        )
    return found


def _closer(
    url: str, watched: str, seen: list[prometheus.RemoteSeries], *, step: float, until: datetime
) -> list[prometheus.RemoteSeries]:
    """Series that began only lately, read again at a finer step, each sample once.

    Between two samples a range query repeats the older one: `timestamp()` tells which points are
    samples of their own. (Of an expression that is no selector it tells every evaluation apart.)
    """
    # What is younger than a step may lie after the last point that was asked for.
    began = min((series.at[0] for series in seen if series.at.size), default=until.timestamp())
    since = datetime.fromtimestamp(began - step, tz=UTC)
    finer = max(1.0, ceil((until - since).total_seconds() / MOST_POINTS))
    if finer >= step:
        return seen
    read = partial(prometheus.query_range, url, since=since, until=until, step_seconds=finer)
    try:
        values = read(watched)
        stamped = read(f"timestamp({watched})") if values else []
    except prometheus.TelemetryUnavailable:
        # Not every expression has a timestamp; what was seen at the coarse step still holds.
        return seen
    stamps = {
        _identity(series): dict(zip(series.at, series.values, strict=True)) for series in stamped
    }
    return [_sampled(series, stamps.get(_identity(series), {})) for series in values]


def _identity(series: prometheus.RemoteSeries) -> frozenset[tuple[str, str]]:
    return frozenset((name, text) for name, text in series.labels.items() if name != "__name__")


def _sampled(
    series: prometheus.RemoteSeries, stamps: dict[float, float]
) -> prometheus.RemoteSeries:
    """The points of a series whose sample is another than that of the point before."""
    taken = [stamps.get(at, at) for at in series.at]
    is_new = np.diff(taken, prepend=-np.inf) > 0
    return replace(series, at=series.at[is_new], values=series.values[is_new])


def match(
    labels: dict[str, str], answered: list[prometheus.RemoteSeries]
) -> prometheus.RemoteSeries | None:
    """The series an alert came from: it carries the series' labels, save what its rule replaced.

    Of several the one that agrees most and contradicts least wins; one without any label of its own
    (an aggregate) belongs to every alert of its rule.
    """

    def disagreement(series: prometheus.RemoteSeries) -> tuple[int, int]:
        own = {name: value for name, value in series.labels.items() if name != "__name__"}
        agreeing = sum(labels.get(name) == value for name, value in own.items())
        return len(own) - agreeing, -agreeing

    best = min(answered, key=lambda s: (disagreement(s), sorted(s.labels.items())), default=None)
    if best is None or not best.at.size:
        return None
    contradicting, agreeing = disagreement(best)
    return best if contradicting == 0 or -agreeing > contradicting else None


def _logs(services: list[str], *, since: datetime, until: datetime) -> tuple[LogFact, ...]:
    return tuple(
        LogFact(service=one.service, at=one.at, level=one.level, message=one.message)
        for one in queries.logs_for(services, since=since, until=until, limit=MOST_LOGS)
    )


def _changes(services: list[str], *, since: datetime, until: datetime) -> tuple[ChangeFact, ...]:
    return tuple(
        ChangeFact(id=one.id, service=one.service, kind=one.kind, title=one.title, at=one.at)
        for one in queries.changes_for(services, since=since, until=until, limit=MOST_CHANGES)
    )


# --- The past ----------------------------------------------------------------------------------


def _past(incident: Incident, alerts: Iterable[AlertFact]) -> tuple[PastIncident, ...]:
    """Resolved incidents whose words resemble this one's, the most similar first."""
    done = Q(status__in=[Status.RESOLVED, Status.CLOSED], resolved_at__isnull=False)
    rows = list(
        Incident.objects.filter(done, origin=incident.origin)
        .exclude(pk=incident.pk)
        .order_by("-resolved_at", "-pk")[:MOST_PAST_READ]
    )
    titles = list(dict.fromkeys(alert.title for alert in alerts))[:5]
    query = " ".join([incident.title, incident.service, *titles])[:2000]
    matches = TfIdf(f"{row.title} {row.service}" for row in rows).most_similar(
        query, limit=MOST_PAST
    )
    return tuple(
        PastIncident(
            number=rows[match.index].number,
            title=rows[match.index].title,
            service=rows[match.index].service,
            similarity=min(match.score, 1.0),
            resolved_at=resolved,
            seconds_to_resolve=(resolved - rows[match.index].detected_at).total_seconds(),
        )
        for match in matches
        if match.score >= LEAST_SIMILARITY and (resolved := rows[match.index].resolved_at)
    )


# --- What the response knows so far ------------------------------------------------------------


def _findings(response: Response) -> dict[str, Finding]:
    rows = (
        AgentRun.objects.filter(response=response, phase__in=list(_FINDINGS))
        .filter(state=AgentState.COMPLETED, finding__isnull=False)
        .prefetch_related("evidence")
        .order_by("pk")
    )
    return {_FINDINGS[Phase(row.phase)]: _finding(row) for row in rows}


def _finding(row: AgentRun) -> Finding:
    said = row.finding or {}
    return Finding(
        agent=row.agent,
        summary=str(said.get("summary", "")),
        claims=tuple(
            Claim(
                text=str(claim.get("text", "")),
                evidence=tuple(claim.get("evidence", ())),
                confidence=claim.get("confidence"),
            )
            for claim in said.get("claims", ())
        ),
        evidence=tuple(
            EvidenceItem(
                family=item.family,
                kind=item.kind,
                title=item.title,
                source=item.source,
                data=item.data,
                observed_from=item.observed_from,
                observed_to=item.observed_to,
            )
            for item in sorted(row.evidence.all(), key=lambda item: item.pk)
        ),
        data=said.get("data") or {},
        unknown=tuple(said.get("unknown", ())),
        provider=row.provider,
    )


def _proposal(content: dict[str, Any]) -> Proposal:
    listed = {name: tuple(content.get(name, ())) for name in ("preconditions", "evidence")}
    return Proposal(**{**content, **listed})


def _decision(row: Decision) -> DecisionFact:
    chosen = row.response.candidates.filter(digest=row.choice).first() if row.choice else None
    standings = row.certificate.get("standings", ())
    endorsers = next((s["endorsers"] for s in standings if s["candidate"] == row.choice), ())
    return DecisionFact(
        outcome=row.outcome,
        proposal=_proposal(chosen.content) if chosen else None,
        reason=row.reason,
        endorsers=tuple(endorsers),
        ballots=Ballot.objects.filter(response=row.response, round=row.round).count(),
    )
