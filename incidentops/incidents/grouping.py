"""Alerts become incidents, and incidents follow their alerts.

Both are read off the rows, never off messages: which current alerts have no incident, and which
open incidents say something else than their alerts. So it does not matter how often, by whom or
after which crash this runs.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import (
    Case,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
    Window,
)
from django.db.models.functions import RowNumber
from django.utils.timezone import now

from incidentops.incidents import lifecycle, timeline
from incidentops.incidents.cards import alert_row, card, timeline_row
from incidentops.incidents.correlation import (
    REMEMBERED,
    WINDOW_S,
    Candidate,
    Decision,
    Signal,
    Topology,
    correlate,
)
from incidentops.incidents.events import AlertAttached
from incidentops.incidents.lifecycle import CORRELATION, RECOVERY, InvalidTransition
from incidentops.incidents.models import OPEN_STATUSES, Alert, Incident, Severity, Source
from incidentops.realtime import outbox
from incidentops.telemetry.models import Dependency

BATCH = 1000


def attach_pending(*, limit: int = BATCH) -> int:
    """Give every waiting alert its incident, then let incidents follow their alerts.

    `limit` bounds one transaction, not the work. Gives how many alerts were attached.
    """
    attached = 0
    while done := _attach_batch(limit):
        attached += done
    follow_alerts()
    return attached


def dedup_key(alert: Alert) -> str:
    """What no two open incidents may share: the alert that opened the incident."""
    key = f"{alert.source_id}:{alert.fingerprint}"
    return key if len(key) <= 200 else hashlib.sha256(key.encode()).hexdigest()


# --- Attaching --------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _Group:
    """Alerts on their way into one incident: an open one (`number`), or a new one."""

    number: int | None
    alerts: list[Alert] = field(default_factory=list)

    def add(self, alert: Alert, reason: dict[str, Any]) -> None:
        alert.merge_reason = reason
        self.alerts.append(alert)


def _attach_batch(limit: int) -> int:
    with transaction.atomic():
        _wait_for_turn()
        waiting = Alert.objects.filter(incident=None, is_current=True).select_related("source")
        alerts = list(waiting.order_by("pk")[:limit])
        if not alerts:
            return 0
        groups = _groups(alerts)
        incidents = _lock_open(group.number for group in groups if group.number)
        lifecycle.lock_alerts(Alert.objects.filter(pk__in=[alert.pk for alert in alerts]))
        return sum(_settle(group, incidents) for group in groups)


def _wait_for_turn() -> None:
    """One at a time: two workers must not open two incidents for one cause.

    SQLite needs no lock: its transactions begin by taking the one write lock.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('correlation', 0))")


def _groups(alerts: Sequence[Alert]) -> list[_Group]:
    """Where each alert goes: by identity first, then by correlation."""
    groups: dict[tuple[str, int], _Group] = {}
    known, strangers = _known(alerts), []
    for alert in alerts:
        if number := known.get(alert.pk):
            group = groups.setdefault(("open", number), _Group(number=number))
            text = f"Incident {number} is open for this very alert."
            group.add(alert, {"kind": "fingerprint", "explanation": text})
        else:
            strangers.append(alert)
    by_pk = {alert.pk: alert for alert in strangers}
    for decision in _correlate(strangers):
        number = decision.number
        key = ("open", number) if number else ("new", decision.group)
        groups.setdefault(key, _Group(number=number)).add(
            by_pk[decision.signal.id], decision.reason
        )
    return list(groups.values())


def _known(alerts: Sequence[Alert]) -> dict[int, int]:
    """Alert → number of the open incident that was opened by, or holds, its fingerprint."""
    by_key = {dedup_key(alert): alert.pk for alert in alerts}
    by_identity = {(alert.source_id, alert.fingerprint): alert.pk for alert in alerts}
    # A current row is alone with its fingerprint: only history can hold it a second time.
    history = Alert.objects.filter(
        incident__status__in=OPEN_STATUSES,
        is_current=False,
        fingerprint__in=[alert.fingerprint for alert in alerts],
    ).order_by("pk")
    known = {
        by_identity[source, fingerprint]: number
        for source, fingerprint, number in history.values_list(
            "source_id", "fingerprint", "incident_id"
        )
        if (source, fingerprint) in by_identity
    }
    opened = Incident.objects.open().filter(dedup_key__in=list(by_key))
    return known | {
        by_key[key]: number for key, number in opened.values_list("dedup_key", "number")
    }


def _correlate(alerts: Sequence[Alert]) -> list[Decision]:
    if not alerts:
        return []
    earliest = min(alert.began_at for alert in alerts)
    dependencies: dict[str, list[str]] = defaultdict(list)
    for caller, callee in Dependency.objects.values_list("caller__name", "callee__name"):
        dependencies[caller].append(callee)
    return correlate(
        map(_signal, alerts),
        _candidates(since=earliest - timedelta(seconds=WINDOW_S)),
        Topology(dependencies),
    )


def _candidates(*, since: datetime) -> list[Candidate]:
    """Open live incidents with the newest of their alerts that began after `since`."""
    newest = Window(RowNumber(), partition_by="incident_id", order_by=F("pk").desc())
    recent = (
        # Ids first: sorting whole rows of a storm to keep 64 costs ten times as much.
        Alert.objects.filter(
            Q(starts_at=None) | Q(starts_at__gte=since),
            incident__status__in=OPEN_STATUSES,
            incident__origin=Incident.Origin.LIVE,
            received_at__gte=since,
        )
        .values("pk")
        .annotate(_place=newest)
        .filter(_place__lte=REMEMBERED)
        .values_list("pk", flat=True)
    )
    signals: dict[int, list[Signal]] = defaultdict(list)
    for alert in Alert.objects.filter(pk__in=list(recent)).order_by("incident_id", "pk"):
        if alert.incident_id is not None:
            signals[alert.incident_id].append(_signal(alert))
    return [Candidate(number=number, signals=tuple(ones)) for number, ones in signals.items()]


def _signal(alert: Alert) -> Signal:
    return Signal(
        id=alert.pk,
        at=alert.began_at.timestamp(),
        service=alert.service,
        name=str(alert.labels.get("alertname") or alert.title),
        text=f"{alert.title} {alert.description}",
        labels={str(name): str(value) for name, value in alert.labels.items()},
    )


def _lock_open(numbers: Iterable[int]) -> dict[int, Incident]:
    """The incidents that are still open, locked in number order."""
    locked = (
        Incident.objects.select_for_update(of=("self",), no_key=True)
        .open()
        .filter(number__in=list(numbers))
    )
    return {one.number: one for one in locked.select_related("assignee").order_by("number")}


def _settle(group: _Group, incidents: dict[int, Incident]) -> int:
    """Write a group into its incident; 0 when that is no longer possible.

    Its alerts then wait for the next run, which sees what happened meanwhile.
    """
    if group.number is not None:
        if group.number not in incidents:
            return 0
        incident = incidents[group.number]
    else:
        try:
            incident = _open(group)
        except InvalidTransition:
            return 0
    lifecycle.attach((alert.pk, incident.number, alert.merge_reason) for alert in group.alerts)
    for status in Alert.Status:
        # As read, not as it is by now: readers are told of what came between.
        told = [alert.pk for alert in group.alerts if alert.status == status]
        Alert.objects.filter(pk__in=told).update(told_status=status)
    _tell_attached(incident, group.alerts)
    return len(group.alerts)


def _open(group: _Group) -> Incident:
    first = group.alerts[0]
    began_at = min(alert.began_at for alert in group.alerts)
    starts = [alert.began_at for alert in group.alerts if alert.starts_at]
    return lifecycle.open_incident(
        title=first.title,
        severity=lifecycle.most_urgent(alert.severity for alert in group.alerts),
        by=CORRELATION,
        service=first.service,
        source=first.source,
        dedup_key=dedup_key(first),
        impact_start=min(starts, default=None),
        detected_at=began_at,
        received_at=min(alert.received_at for alert in group.alerts),
        alert_count=len({(alert.source_id, alert.fingerprint) for alert in group.alerts}),
        reason=first.merge_reason["explanation"],
    )


def _tell_attached(incident: Incident, alerts: Sequence[Alert]) -> None:
    """One line, one version and one event for the whole batch."""
    was_snoozed = incident.snoozed_until is not None
    _heed(incident, alerts)
    incident.alert_count = lifecycle.count_alerts(incident)
    incident.version += 1
    incident.save()
    ahead = [alert.pk for alert in alerts if alert.is_future_dated]
    count = "An alert" if len(alerts) == 1 else f"{len(alerts)} alerts"
    text = f"{count} attached: {alerts[0].title}" + (" and others." if len(alerts) > 1 else ".")
    if ahead:
        text += f" {len(ahead)} claimed to begin in the future; their arrival counts instead."
    text += _roused(incident, was_snoozed)
    entry = timeline.tell(
        incident,
        "alert.attached",
        text,
        actor=CORRELATION,
        detail={
            "count": len(alerts),
            "alerts": [alert.pk for alert in alerts[:100]],
            "future_dated": ahead[:100],
        },
    )
    outbox.publish(
        AlertAttached(
            version=incident.version,
            number=incident.number,
            origin=incident.origin,
            incident=card(incident),
            entry=timeline_row(entry),
            attached=len(alerts),
            alerts=[alert_row(alert) for alert in alerts[:20]],
        )
    )


def _roused(incident: Incident, was_snoozed: bool) -> str:
    is_over = was_snoozed and incident.snoozed_until is None
    return f" That ended the snooze: it is {incident.severity} now." if is_over else ""


def _heed(incident: Incident, alerts: Iterable[Alert]) -> list[str]:
    """Let alerts raise the severity and move the beginning forward; gives what has changed."""
    changed = []
    for alert in alerts:
        began_at, severity = alert.began_at, Severity(alert.severity)
        if began_at < incident.detected_at:
            incident.detected_at = began_at
            incident.impact_start = min(incident.impact_start or began_at, began_at)
            changed.append("incident.impact")
        if alert.received_at < incident.received_at:
            incident.received_at = alert.received_at
        is_worse = severity.rank < Severity(incident.severity).rank
        if is_worse and not incident.is_severity_fixed and alert.status == Alert.Status.FIRING:
            incident.severity = severity
            # Quiet was asked for something less bad.
            lifecycle.rouse(incident)
            changed.append("incident.severity")
        incident.service = incident.service or alert.service
    return changed


# --- Following --------------------------------------------------------------------------------


def follow_alerts() -> None:
    """Make open incidents agree with alerts that changed after they were attached."""
    for number in sorted(set(_untold().values_list("incident", flat=True))):
        _tell_changed(number)
    for number in list(_outgrown().values_list("number", flat=True)):
        _catch_up(number)
    for number in list(_recovered().values_list("number", flat=True)):
        _resolve_recovered(number)


def _untold() -> QuerySet[Alert]:
    """Alerts whose status is not the one that readers of their open incident know."""
    return Alert.objects.filter(
        ~Q(status=F("told_status")), is_current=True, incident__status__in=OPEN_STATUSES
    )


def _tell_changed(number: int | None) -> None:
    with transaction.atomic():
        incident = _lock_open([number] if number else []).get(number or 0)
        untold = _untold().filter(incident=number)
        lifecycle.lock_alerts(untold)
        alerts = list(untold.order_by("-pk"))
        if incident is None or not alerts:
            return
        Alert.objects.filter(
            ~Q(status=F("told_status")), is_current=True, incident=incident
        ).update(told_status=F("status"))
        recovered = sum(alert.status == Alert.Status.RESOLVED for alert in alerts)
        again = len(alerts) - recovered
        parts = [
            f"{count} {'alert' if count == 1 else 'alerts'} {what}"
            for count, what in ((recovered, "recovered"), (again, "firing again"))
            if count
        ]
        lifecycle.commit(
            incident,
            "alert.changed",
            ", ".join(parts).capitalize() + ".",
            by=CORRELATION,
            detail={"recovered": recovered, "firing": again},
            alerts=alerts[:20],
        )


def _urgency(severity: str) -> Case:
    """A severity's rank as SQL; 0 is the most urgent."""
    return Case(
        *(When(**{severity: one.value}, then=Value(one.rank)) for one in Severity),
        output_field=IntegerField(),
    )


def _outgrown() -> QuerySet[Incident]:
    """Open incidents with a firing alert that is worse or began earlier than they say."""
    firing = Alert.objects.filter(
        incident=OuterRef("number"), is_current=True, status=Alert.Status.FIRING
    )
    worse = firing.annotate(_urgency=_urgency("severity")).filter(_urgency__lt=OuterRef("_urgency"))
    earlier = firing.filter(starts_at__lt=OuterRef("detected_at"), starts_at__lte=F("received_at"))
    return (
        Incident.objects.open()
        .annotate(_urgency=_urgency("severity"))
        .filter((Q(is_severity_fixed=False) & Exists(worse)) | Exists(earlier))
        .order_by("number")
    )


def _catch_up(number: int) -> None:
    with transaction.atomic():
        incident = _lock_open([number]).get(number)
        if incident is None:
            return
        firing = Alert.objects.filter(
            incident=incident, is_current=True, status=Alert.Status.FIRING
        )
        was, was_snoozed = incident.severity, incident.snoozed_until is not None
        changed = _heed(incident, firing)
        if "incident.severity" in changed:
            text = f"Severity rose from {was} to {incident.severity} with its alerts."
            text += _roused(incident, was_snoozed)
            detail = {"from": was, "to": incident.severity}
            lifecycle.commit(incident, "incident.severity", text, by=CORRELATION, detail=detail)
        elif changed:
            text = f"It began earlier than known: {incident.detected_at:%Y-%m-%d %H:%M:%S} UTC."
            lifecycle.commit(incident, "incident.impact", text, by=CORRELATION)


def _recovered() -> QuerySet[Incident]:
    """Open incidents that have current alerts, none of which fires, and may resolve by that."""
    current = Alert.objects.filter(incident=OuterRef("number"), is_current=True)
    kept_open = Source.objects.filter(config__auto_resolve=False)
    return (
        Incident.objects.open()
        .filter(Exists(current), ~Exists(current.filter(status=Alert.Status.FIRING)))
        .exclude(source__in=kept_open)
        .order_by("number")
    )


def _resolve_recovered(number: int) -> None:
    with transaction.atomic():
        incident = _lock_open([number]).get(number)
        current = Alert.objects.filter(incident=number, is_current=True)
        lifecycle.lock_alerts(current)
        alerts = list(current.only("status", "ends_at", "last_received_at"))
        if incident is None or not alerts:
            return
        if any(alert.status == Alert.Status.FIRING for alert in alerts):
            return
        ended = max(alert.ends_at or alert.last_received_at for alert in alerts)
        stamps = (incident.detected_at, incident.acknowledged_at, incident.mitigated_at)
        at = min(now(), max(ended, *(stamp for stamp in stamps if stamp)))
        lifecycle.resolve(incident, by=RECOVERY, at=at, reason="All its alerts have recovered.")
