"""What is known of an incident, in sentences: for whoever is to answer questions about it.

Each app tells what it knows in its own `briefing.py`. Titles, comments, alerts and texts of files came
from outside: a fact is data, whatever it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Case, F, IntegerField, Q, Value, When
from django.db.models.functions import Left
from django.utils.timezone import now

from incidentops.incidents.models import Alert, Attachment, Incident, Status
from incidentops.telemetry import queries

MOST_ALERTS = 10
MOST_CHANGES = 15
MOST_ENTRIES = 20
MOST_PAST = 5
MOST_ATTACHED_TEXT = 20_000
HOPS = 2
CHANGES_LOOKBACK = timedelta(hours=24)
# What would only tell of the conversation itself, or what other facts tell.
_UNTOLD = Q(kind__startswith="question.") | Q(kind__startswith="attachment.")
# What people wrote and why they resolved it: the part that nobody can find out again.
_LASTING = ("incident.commented", "incident.resolved")
_FIRING_FIRST = Case(
    When(status=Alert.Status.FIRING, then=Value(0)), default=Value(1), output_field=IntegerField()
)


@dataclass(frozen=True, kw_only=True)
class Fact:
    """`id` names it among the facts of its incident; `uri` is where people see it.

    What `lasts` is worth knowing at the next incident, too.
    """

    id: str
    text: str
    source: str
    uri: str
    lasts: bool = False


Teller = Callable[[Incident], Iterable[Fact]]
_tellers: list[Teller] = []


def register(teller: Teller) -> Teller:
    """Have these facts told, too, after those of the floors below."""
    _tellers.append(teller)
    return teller


def facts(incident: Incident) -> list[Fact]:
    """Everything that is told, the most general first."""
    return [fact for teller in _tellers for fact in teller(incident)]


def page(incident: Incident, anchor: str = "") -> str:
    return f"/incidents/{incident.number}/" + (f"#{anchor}" if anchor else "")


# --- What this floor knows ---------------------------------------------------------------------


def _stamps(incident: Incident) -> Iterator[Fact]:
    # Each sentence is whole by itself: it may be quoted alone.
    it = f"Incident #{incident.number}"
    on = f"on {incident.service}" if incident.service else "on no named service"
    sentences = [
        f"{it} “{incident.title}” {on} is {incident.status}, its severity is {incident.severity}.",
        f"{it} began at {_clock(_began(incident))}.",
        f"{it} was detected at {_clock(incident.detected_at)}.",
    ]
    for verb, at in (
        ("acknowledged", incident.acknowledged_at),
        ("mitigated", incident.mitigated_at),
        ("resolved", incident.resolved_at),
        ("closed", incident.closed_at),
    ):
        if at:
            sentences.append(f"{it} was {verb} at {_clock(at)}.")
    owner = incident.assignee
    sentences.append(f"{it} has the owner {owner}." if owner else f"{it} has no owner.")
    yield Fact(
        id="incident",
        text="\n".join(sentences),
        source="incident",
        uri=page(incident),
        lasts=True,
    )


def _alerts(incident: Incident) -> Iterator[Fact]:
    rows = list(incident.alerts.annotate(rank=_FIRING_FIRST).order_by("rank", "pk")[:MOST_ALERTS])
    if rows:
        firing = incident.alerts.filter(status=Alert.Status.FIRING).count()
        yield Fact(
            id="alerts",
            text=f"Of the alerts of incident #{incident.number} {firing} fire and "
            f"{incident.alerts.count() - firing} do not.",
            source="alerts",
            uri=page(incident, "alerts"),
        )
    for alert in rows:
        on = f" on {alert.service}" if alert.service else ""
        yield Fact(
            id=f"alert-{alert.pk}",
            text=f"The alert “{alert.title}”{on} is {alert.status} since {_clock(alert.began_at)}."
            + (f"\n{alert.description}" if alert.description else ""),
            source="alert",
            uri=page(incident, f"alert-{alert.pk}"),
        )


def _changes(incident: Incident) -> Iterator[Fact]:
    """What was changed around the incident's services, or that no change is known."""
    began = _began(incident)
    of_alerts = incident.alerts.exclude(service="").values_list("service", flat=True).distinct()
    named = [name for name in {incident.service, *of_alerts} if name]
    near = {*named, *(one.name for one in queries.services_around(named, hops=HOPS))}
    rows = queries.changes_for(
        near, since=began - CHANGES_LOOKBACK, until=now(), limit=MOST_CHANGES
    )
    for row in rows:
        order = "before" if row.at <= began else "after"
        apart = round(abs((began - row.at).total_seconds()) / 60)
        yield Fact(
            id=f"change-{row.id}",
            text=f"Changed {order} it began: the {row.kind} “{row.title}” on {row.service} at "
            f"{_clock(row.at)}, {apart} min {order} the beginning.",
            source="change",
            uri=page(incident),
            lasts=order == "before",
        )
    if not any(row.at <= began for row in rows):
        yield Fact(
            id="changes",
            text="No change before it began is known: none was reported in the 24 hours before.",
            source="changes",
            uri=page(incident),
        )


def _past(incident: Incident) -> Iterator[Fact]:
    """The last incidents of the same service, and how they ended; or that there were none."""
    if not incident.service:
        return
    rows = Incident.objects.filter(
        service=incident.service, origin=incident.origin, resolved_at__isnull=False
    ).exclude(Q(pk=incident.pk) | Q(status=Status.MERGED))
    past = list(rows.order_by("-detected_at", "-pk")[:MOST_PAST])
    for row in past:
        took = row.time_to_resolve
        minutes = round(took.total_seconds() / 60) if took else 0
        ends = row.timeline.filter(kind="incident.resolved").order_by("-pk")
        how = (ends.values_list("text", flat=True).first() or "").rstrip(".").replace(". ", "; ")
        yield Fact(
            id=f"past-{row.number}",
            text=f"Something like this happened before: incident #{row.number} “{row.title}” on "
            f"{row.service} was detected at {_clock(row.detected_at)} and resolved after "
            f"{minutes} min." + (f"\nWhat helped at incident #{row.number}: {how}." if how else ""),
            source=f"incident #{row.number}",
            uri=page(row),
        )
    if not past:
        yield Fact(
            id="past",
            text=f"Nothing like this happened before on {incident.service}: no earlier incident of "
            f"it is known.",
            source="incidents",
            uri=page(incident),
        )


def _story(incident: Incident) -> Iterator[Fact]:
    newest = list(incident.timeline.exclude(_UNTOLD).order_by("-pk")[:MOST_ENTRIES])
    for entry in reversed(newest):
        said = f"{entry.actor} wrote" if entry.kind == "incident.commented" else "it is noted"
        yield Fact(
            id=f"entry-{entry.pk}",
            text=f"At {_clock(entry.at)} {said}: {entry.text}",
            source="timeline",
            uri=page(incident, "timeline"),
            lasts=entry.kind in _LASTING,
        )


def _attached(incident: Incident) -> Iterator[Fact]:
    """The texts of files as far as they were read, whole: whoever asks chooses from them."""
    rows = (
        incident.attachments.filter(state=Attachment.State.READ)
        .defer("content", "text")
        .annotate(begin=Left(F("text"), MOST_ATTACHED_TEXT))
        .order_by("pk")
    )
    for row in rows:
        yield Fact(
            id=f"attachment-{row.pk}",
            text=row.begin,  # type: ignore[attr-defined]  # annotated
            source=f"attachment {row.name}",
            uri=page(incident, f"attachment-{row.pk}"),
        )


for _teller in (_stamps, _changes, _past, _alerts, _story, _attached):
    register(_teller)


def _began(incident: Incident) -> datetime:
    return min(at for at in (incident.impact_start, incident.detected_at) if at)


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
