"""Every change of an incident: lock, lawful transition, stamps, story, audit and event together.

Locks are taken in one order everywhere: incidents by number, then their alerts, the audit head
last. `by` is whoever acts; its `str()` is the actor's name.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.timezone import now

from incidentops.access import audit
from incidentops.incidents import timeline
from incidentops.incidents.cards import alert_row, card, instant, timeline_row
from incidentops.incidents.events import IncidentOpened, IncidentResolved, IncidentUpdated
from incidentops.incidents.models import (
    TRANSITIONS,
    Alert,
    Incident,
    Severity,
    Source,
    Status,
)
from incidentops.notifications import delivery
from incidentops.realtime import outbox

# Actors that are no one: what they do are facts about alerts, files, answers and the time, which stay
# off the audit chain.
RECOVERY, CORRELATION, READING, ANSWERING = "recovery", "correlation", "reading", "answering"
SNOOZE = "snooze"
FACTS = frozenset({RECOVERY, CORRELATION, READING, ANSWERING, SNOOZE})

CLOSED = "incident.closed"
WOKEN_AT_ONCE = 200

# An alert's id, the incident's number, and the reason.
Placement = tuple[int, int, dict[str, Any]]


class InvalidTransition(Exception):
    """What was asked is not possible in the incident's present state. Nothing has changed."""


def open_incident(
    *,
    title: str,
    severity: str,
    by: object,
    service: str = "",
    source: Source | None = None,
    dedup_key: str = "",
    origin: str = Incident.Origin.LIVE,
    impact_start: datetime | None = None,
    detected_at: datetime | None = None,
    received_at: datetime | None = None,
    alert_count: int = 0,
    reason: str = "",
) -> Incident:
    """Open an incident. Without a `dedup_key` it shares its cause with no other.

    `reason` is a sentence for the timeline.

    Raises:
        InvalidTransition: an open incident already has this dedup key.
    """
    at = now()
    with transaction.atomic():
        incident = Incident(
            title=title[:300],
            severity=severity,
            service=service[:120],
            source=source,
            dedup_key=dedup_key or f"opened:{uuid.uuid4().hex}",
            origin=origin,
            impact_start=impact_start,
            detected_at=detected_at or at,
            received_at=received_at or at,
            alert_count=alert_count,
        )
        _save_as_only_open_one(incident)
        text = f"Opened by {by}." + (f" {reason}" if reason else "")
        entry = timeline.tell(incident, "incident.opened", text, actor=by)
        outbox.publish(
            IncidentOpened(
                version=incident.version,
                number=incident.number,
                origin=incident.origin,
                incident=card(incident),
                entry=timeline_row(entry),
            )
        )
        _audit("incident.opened", incident, by, {"title": incident.title, "severity": severity})
    return incident


def acknowledge(incident: Incident, *, by: object, at: datetime | None = None) -> Incident:
    """Record that somebody has taken the incident; a person who takes one nobody has, owns it."""
    with transaction.atomic():
        incident = lock(incident)
        _transition(incident, Status.ACKNOWLEDGED)
        incident.acknowledged_at = incident.acknowledged_at or at or now()
        if incident.assignee is None and isinstance(by, User):
            incident.assignee = by
        commit(incident, "incident.acknowledged", f"Acknowledged by {by}.", by=by)
    return incident


def assign(incident: Incident, *, to: User | None, by: object) -> Incident:
    """Give the incident to a person, or to nobody."""
    with transaction.atomic():
        incident = lock(incident)
        _demand_open(incident, "assigned")
        incident.assignee = to
        text = f"Assigned to {to} by {by}." if to else f"Assignment taken back by {by}."
        detail = {"assignee": to.get_username() if to else None}
        commit(incident, "incident.assigned", text, by=by, detail=detail)
    return incident


def mitigate(incident: Incident, *, by: object, at: datetime | None = None) -> Incident:
    """Record that users no longer suffer though the cause may remain."""
    with transaction.atomic():
        incident = lock(incident)
        _transition(incident, Status.MITIGATED)
        incident.mitigated_at = incident.mitigated_at or at or now()
        commit(incident, "incident.mitigated", f"Mitigated by {by}.", by=by)
    return incident


def resolve(
    incident: Incident, *, by: object, at: datetime | None = None, reason: str = ""
) -> Incident:
    """End the incident. Its alerts are history: what fires from now on is a new disturbance."""
    with transaction.atomic():
        incident = lock(incident)
        _transition(incident, Status.RESOLVED)
        incident.resolved_at = at or now()
        rouse(incident, moot=f"Incident {incident.number} was resolved before the snooze ended.")
        _retire_alerts(incident)
        text = f"Resolved by {by}." + (f" {reason}" if reason else "")
        commit(incident, "incident.resolved", text, by=by)
    return incident


def close(incident: Incident, *, by: object, at: datetime | None = None) -> Incident:
    """Put a resolved incident away, its follow-up done."""
    with transaction.atomic():
        incident = lock(incident)
        _transition(incident, Status.CLOSED)
        incident.closed_at = at or now()
        _retire_alerts(incident)
        commit(incident, CLOSED, f"Closed by {by}.", by=by)
    return incident


def reopen(incident: Incident, *, by: object, reason: str = "") -> Incident:
    """Take a mitigated, resolved, closed or merged incident up again.

    Alerts that still fired when it was resolved belong to it again, so their recovery can end it.
    A merged incident takes back the alerts it had brought into the other one.

    Raises:
        InvalidTransition: it is open, another open incident now stands for the same cause, or what
            it was merged into was merged itself.
    """
    with transaction.atomic():
        incident, other = _lock_with_absorber(incident)
        if other is not None and other.status == Status.MERGED:
            raise InvalidTransition(
                f"Incident {incident.number} was merged into incident {other.number}, which was "
                f"merged itself; reopen incident {other.number} first."
            )
        was = Status(incident.status)
        _transition(incident, Status.TRIGGERED)
        if was in (Status.RESOLVED, Status.CLOSED):
            incident.reopen_count += 1
        incident.resolved_at = incident.closed_at = None
        incident.merged_into = None
        rouse(incident)
        _save_as_only_open_one(incident)
        if other is not None:
            _take_back(incident, other, by=by)
        _revive_alerts(incident)
        incident.alert_count = count_alerts(incident)
        text = f"Reopened by {by}." + (f" {reason}" if reason else "")
        commit(incident, "incident.reopened", text, by=by, detail={"from": was.value})
    return incident


def comment(incident: Incident, *, by: object, text: str) -> Incident:
    with transaction.atomic():
        incident = lock(incident)
        commit(incident, "incident.commented", text, by=by)
    return incident


def change_severity(incident: Incident, *, severity: str, by: object) -> Incident:
    """Judge anew how urgent the incident is. From then on alerts no longer raise its severity.

    Raises:
        InvalidTransition: it was merged into another incident.
    """
    with transaction.atomic():
        incident = lock(incident)
        if incident.status == Status.MERGED:
            raise InvalidTransition(
                f"Incident {incident.number} was merged into incident {incident.merged_into_id}."
            )
        if incident.severity == severity and incident.is_severity_fixed:
            return incident
        was, incident.severity = incident.severity, severity
        incident.is_severity_fixed = True
        commit(
            incident,
            "incident.severity",
            f"Severity changed from {was} to {severity} by {by}.",
            by=by,
            detail={"from": was, "to": severity},
        )
    return incident


def snooze(incident: Incident, *, until: datetime | None, by: object) -> Incident:
    """Ask for quiet until an instant: no board calls for it and no message goes out before.

    None ends the quiet. So does what is worse than what was snoozed, and the end of the incident.
    """
    with transaction.atomic():
        incident = lock(incident)
        _demand_open(incident, "snoozed")
        if until:
            incident.snoozed_until = until
            delivery.hold(incident.number, until=until)
        else:
            rouse(incident)
        text = f"Snoozed until {until:%Y-%m-%d %H:%M} UTC by {by}." if until else f"Woken by {by}."
        commit(incident, "incident.snoozed", text, by=by, detail={"until": instant(until)})
    return incident


def rouse(incident: Incident, *, moot: str = "") -> None:
    """End the snooze of a locked incident, if it has one; its `commit` is the caller's.

    Messages that waited go out, or are dropped for the reason why they are `moot`.
    """
    if incident.snoozed_until is None:
        return
    incident.snoozed_until = None
    if moot:
        delivery.drop(incident.number, reason=moot)
    else:
        delivery.release(incident.number)


def wake_due() -> int:
    """End the snoozes whose time has passed; how many."""
    due = Incident.objects.open().filter(snoozed_until__lte=now()).order_by("number")
    return sum(_wake(number) for number in list(due.values_list("pk", flat=True)[:WOKEN_AT_ONCE]))


def _wake(number: int) -> bool:
    with transaction.atomic():
        incident = lock(Incident(number=number))
        until = incident.snoozed_until
        if not incident.is_open or until is None or until > now():
            return False
        rouse(incident)
        text = f"The snooze ended: it was asked for until {until:%Y-%m-%d %H:%M} UTC."
        commit(incident, "incident.woken", text, by=SNOOZE)
    return True


def set_impact_start(incident: Incident, *, at: datetime, by: object) -> Incident:
    """Record since when users have suffered: never in the future."""
    with transaction.atomic():
        incident = lock(incident)
        at = min(at, now())
        if incident.impact_start == at:
            return incident
        incident.impact_start = at
        commit(
            incident,
            "incident.impact",
            f"Impact began {at:%Y-%m-%d %H:%M:%S} UTC, says {by}.",
            by=by,
            detail={"impact_start": instant(at)},
        )
    return incident


def merge(incident: Incident, *, into: Incident, by: object) -> Incident:
    """Make `incident` part of another one, which takes its alerts. `reopen` undoes it.

    Raises:
        InvalidTransition: either is not open, or they are the same.
    """
    if incident.number == into.number:
        raise InvalidTransition("An incident cannot be merged into itself.")
    with transaction.atomic():
        incident, into = _lock_all(incident.number, into.number)
        _demand_open(into, "merged into")
        _transition(incident, Status.MERGED)
        moved = _move_alerts(
            Alert.objects.filter(incident=incident),
            to=into,
            reason=lambda alert: {
                "kind": "merged",
                "from_incident": incident.number,
                "explanation": f"Incident {incident.number} was merged here by {by}.",
                "before": alert.merge_reason,
            },
        )
        incident.merged_into = into
        rouse(incident, moot=f"Incident {incident.number} was merged into {into.number}.")
        incident.alert_count = 0
        _absorb(into, incident)
        detail = {"into": into.number, "from": incident.number, "alerts": moved}
        text = f"Incident {incident.number} with {_alerts(moved)} merged in by {by}."
        commit(into, "incident.merged", text, by=by, detail=detail, is_audited=False)
        text = f"Merged into incident {into.number} by {by}."
        commit(incident, "incident.merged", text, by=by, detail=detail)
    return incident


def split(
    incident: Incident, *, alert_ids: Collection[int], by: object, title: str = ""
) -> Incident:
    """Move some of an open incident's alerts to a new incident, and give that one.

    Raises:
        InvalidTransition: it is not open, an alert is not its own, or none would remain.
    """
    with transaction.atomic():
        incident = lock(incident)
        _demand_open(incident, "split")
        chosen = Alert.objects.filter(incident=incident, pk__in=alert_ids)
        lock_alerts(chosen)
        alerts = list(chosen.order_by("pk"))
        if not alerts or len(alerts) != len(set(alert_ids)):
            raise InvalidTransition(f"Some of these alerts are not of incident {incident.number}.")
        if len(alerts) == Alert.objects.filter(incident=incident).count():
            raise InvalidTransition("A split must leave at least one alert behind.")
        new = open_incident(
            title=title or alerts[0].title,
            severity=most_urgent(alert.severity for alert in alerts),
            by=by,
            service=alerts[0].service,
            source=alerts[0].source,
            dedup_key=f"split:{uuid.uuid4().hex}",
            origin=incident.origin,
            impact_start=min(alert.began_at for alert in alerts),
            detected_at=min(alert.began_at for alert in alerts),
            received_at=min(alert.received_at for alert in alerts),
            alert_count=len({(alert.source_id, alert.fingerprint) for alert in alerts}),
            reason=f"Split from incident {incident.number}.",
        )
        _move_alerts(
            chosen,
            to=new,
            reason=lambda alert: {
                "kind": "split",
                "from_incident": incident.number,
                "explanation": f"Split from incident {incident.number} by {by}.",
                "before": alert.merge_reason,
            },
        )
        incident.alert_count = count_alerts(incident)
        commit(
            incident,
            "incident.split",
            f"{_alerts(len(alerts))} moved to incident {new.number} by {by}.",
            by=by,
            detail={"to": new.number, "alerts": sorted(alert.pk for alert in alerts)[:100]},
        )
    return new


# --- Alerts of an incident --------------------------------------------------------------------


def lock_alerts(alerts: QuerySet[Alert]) -> None:
    """Lock alerts in the order in which intake does: by source, then fingerprint.

    Whoever changes several alerts at once locks them in this order, or two could wait for each
    other. SQLite has one writer at a time and needs no order.
    """
    if connection.vendor != "postgresql":
        return
    ordered = alerts.order_by("source_id", "fingerprint", "pk")
    list(ordered.select_for_update(of=("self",), no_key=True).values_list("pk", flat=True))


def count_alerts(incident: Incident) -> int:
    """Distinct fingerprints, however many rows stand for them."""
    fingerprints = Alert.objects.filter(incident=incident).values("source", "fingerprint")
    return fingerprints.distinct().count()


def attach(placements: Iterable[Placement]) -> None:
    """Write which incident each alert belongs to and why, in one round trip."""
    reasons = Alert._meta.get_field("merge_reason")
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE incidents_alert SET incident_id = %s, merge_reason = %s WHERE id = %s",
            [
                (number, reasons.get_db_prep_value(reason, connection), alert)
                for alert, number, reason in placements
            ],
        )


def _move_alerts(
    alerts: QuerySet[Alert], *, to: Incident, reason: Callable[[Alert], dict[str, Any]]
) -> int:
    lock_alerts(alerts)
    moving = list(alerts.only("pk", "merge_reason"))
    attach((alert.pk, to.number, reason(alert)) for alert in moving)
    return len(moving)


def _retire_alerts(incident: Incident) -> None:
    current = Alert.objects.filter(incident=incident, is_current=True)
    lock_alerts(current)
    current.update(is_current=False)


def _revive_alerts(incident: Incident) -> None:
    """Alerts that last fired are current again, unless their fingerprint fires anew elsewhere."""
    successor = Alert.objects.filter(
        is_current=True, source=OuterRef("source"), fingerprint=OuterRef("fingerprint")
    )
    newest: dict[tuple[str, str], int] = {}
    firing = Alert.objects.filter(
        ~Exists(successor), incident=incident, is_current=False, status=Alert.Status.FIRING
    )
    for pk, source, fingerprint in firing.order_by("pk").values_list(
        "pk", "source_id", "fingerprint"
    ):
        newest[source, fingerprint] = pk
    revived = list(newest.values())
    for first in range(0, len(revived), 500):
        try:
            with transaction.atomic():
                Alert.objects.filter(pk__in=revived[first : first + 500]).update(is_current=True)
        except IntegrityError:
            # One of them fired anew at this very moment: what fires now has its own row, which
            # finds this incident by its fingerprint.
            continue


def _take_back(incident: Incident, other: Incident, *, by: object) -> None:
    """Undo a merge: the alerts that came from `incident` leave `other`."""
    brought = Alert.objects.filter(
        incident=other, merge_reason__kind="merged", merge_reason__from_incident=incident.number
    )
    moved = _move_alerts(brought, to=incident, reason=lambda alert: alert.merge_reason["before"])
    other.alert_count = count_alerts(other)
    text = f"Incident {incident.number} was reopened by {by} and took {_alerts(moved)} back."
    commit(other, "incident.split", text, by=by, detail={"to": incident.number}, is_audited=False)


def _absorb(into: Incident, incident: Incident) -> None:
    into.alert_count = count_alerts(into)
    into.detected_at = min(into.detected_at, incident.detected_at)
    into.received_at = min(into.received_at, incident.received_at)
    starts = [at for at in (into.impact_start, incident.impact_start) if at]
    into.impact_start = min(starts, default=None)
    if not into.is_severity_fixed:
        into.severity = most_urgent([into.severity, incident.severity])


# --- The parts every change is made of --------------------------------------------------------


def lock(incident: Incident) -> Incident:
    """The incident as it is now, locked until the transaction ends.

    Rows that merely point at it can still be written: the lock leaves its key alone.
    """
    return _lock_all(incident.number)[0]


def _lock_all(*numbers: int) -> list[Incident]:
    """Incidents, locked in number order and given in the order asked for."""
    locked = {
        incident.number: incident
        for incident in Incident.objects.select_for_update(of=("self",), no_key=True)
        .select_related("assignee")
        .filter(number__in=numbers)
        .order_by("number")
    }
    if missing := set(numbers) - set(locked):
        raise Incident.DoesNotExist(f"There is no incident {min(missing)}.")
    return [locked[number] for number in numbers]


def _lock_with_absorber(incident: Incident) -> tuple[Incident, Incident | None]:
    """An incident and, when it is merged, the one that took its alerts."""
    into = Incident.objects.only("merged_into_id").get(pk=incident.pk).merged_into_id
    if into is None:
        return lock(incident), None
    incident, other = _lock_all(incident.number, into)
    return incident, other if incident.merged_into_id == into else None


def most_urgent(severities: Iterable[str]) -> Severity:
    return min((Severity(severity) for severity in severities), key=lambda one: one.rank)


def _transition(incident: Incident, to: Status) -> None:
    if to not in TRANSITIONS[Status(incident.status)]:
        raise InvalidTransition(
            f"Incident {incident.number} is {incident.status}; it cannot become {to.value}."
        )
    incident.status = to


def _demand_open(incident: Incident, verb: str) -> None:
    if not incident.is_open:
        raise InvalidTransition(
            f"Incident {incident.number} is {incident.status}; it cannot be {verb}."
        )


def _save_as_only_open_one(incident: Incident) -> None:
    try:
        with transaction.atomic():
            incident.save()
    except IntegrityError:
        other = Incident.objects.open().filter(dedup_key=incident.dedup_key).first()
        if other is None:
            raise
        raise InvalidTransition(
            f"Incident {other.number} is open for the same cause; merge the two or use that one."
        ) from None


def commit(
    incident: Incident,
    kind: str,
    text: str,
    *,
    by: object,
    detail: dict[str, Any] | None = None,
    is_audited: bool = True,
    alerts: Sequence[Alert] = (),
) -> None:
    """Save, tell, publish and, last since its lock is everybody's, audit."""
    incident.version += 1
    incident.save()
    entry = timeline.tell(incident, kind, text, actor=by, detail=detail)
    common: dict[str, Any] = {
        "version": incident.version,
        "number": incident.number,
        "origin": incident.origin,
        "incident": card(incident),
        "entry": timeline_row(entry),
    }
    if kind == "incident.resolved":
        outbox.publish(IncidentResolved(**common))
    else:
        outbox.publish(
            IncidentUpdated(change=kind, alerts=[alert_row(alert) for alert in alerts], **common)
        )
    if is_audited:
        _audit(kind, incident, by, detail)


def _audit(kind: str, incident: Incident, by: object, detail: dict[str, Any] | None) -> None:
    if str(by) not in FACTS:
        audit.record(kind, actor=by, target=f"incident:{incident.number}", detail=detail)


def _alerts(count: int) -> str:
    return "1 alert" if count == 1 else f"{count} alerts"
