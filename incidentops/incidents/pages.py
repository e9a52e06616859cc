"""The page of one incident and what people may do there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Case, QuerySet, When
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.timezone import now

from incidentops.access.permissions import reading, requires
from incidentops.incidents import attachments, lifecycle, questions
from incidentops.incidents.cards import instant
from incidentops.incidents.models import TRANSITIONS, Attachment, Incident, Severity, Status
from incidentops.incidents.sections import Section, register, sections
from incidentops.incidents.topics import QUESTIONS_SHOWN
from incidentops.notifications.models import Notification
from incidentops.realtime import topics
from incidentops.rest.uploads import MOST_BYTES

MOST_OTHERS = 50


class Attach(forms.Form):
    file = forms.FileField(max_length=255)
    note = forms.CharField(max_length=1000, required=False, strip=True)


class DeleteAttachment(forms.Form):
    attachment = forms.IntegerField(min_value=1, max_value=2**63 - 1)


class Ask(forms.Form):
    text = forms.CharField(max_length=questions.LONGEST, strip=True)


class Comment(forms.Form):
    text = forms.CharField(max_length=4000, strip=True)


class NewSeverity(forms.Form):
    severity = forms.ChoiceField(choices=Severity.choices)


class Snooze(forms.Form):
    minutes = forms.IntegerField(min_value=5, max_value=24 * 60)


class Merge(forms.Form):
    into = forms.IntegerField(min_value=1, max_value=2**63 - 1)


class AlertIds(forms.TypedMultipleChoiceField):
    """Any ids: which of them are the incident's own, the domain function knows."""

    def valid_value(self, value: str) -> bool:
        return value.isascii() and value.isdecimal() and len(value) < 19


class Split(forms.Form):
    alerts = AlertIds(
        coerce=int, error_messages={"required": "Choose the alerts that move to a new incident."}
    )
    title = forms.CharField(max_length=300, required=False, strip=True)


class Reason(forms.Form):
    reason = forms.CharField(max_length=1000, required=False, strip=True)


@dataclass(frozen=True, kw_only=True)
class Verb:
    """Something a responder may do. `statuses` are those in which it is lawful.

    `done` may name the `number` of the incident that `run` gives. With a `field` the page shows
    beside it why the domain refuses, and every other error beside its own.
    """

    slug: str
    label: str
    statuses: tuple[Status, ...]
    form: type[forms.Form]
    run: Callable[[Incident, User, dict[str, Any]], Incident]
    done: str
    field: str = ""


class Refused(Exception):
    """What was asked is not possible; the message says why."""


def merge(incident: Incident, by: User, data: dict[str, Any]) -> Incident:
    into = Incident.objects.filter(number=data["into"]).first()
    if into is None:
        raise Refused(f"There is no incident {data['into']}.")
    lifecycle.merge(incident, into=into, by=by)
    return into


def split(incident: Incident, by: User, data: dict[str, Any]) -> Incident:
    return lifecycle.split(incident, alert_ids=set(data["alerts"]), title=data["title"], by=by)


def attach(incident: Incident, by: User, data: dict[str, Any]) -> Incident:
    file: UploadedFile[bytes] = data["file"]
    added = attachments.add(
        incident,
        name=file.name or "",
        media_type=file.content_type or "",
        # One byte too many says all: what is larger is not read.
        content=file.read(MOST_BYTES + 1),
        note=data["note"],
        by=by,
    )
    return added.incident


def delete_attachment(incident: Incident, by: User, data: dict[str, Any]) -> Incident:
    known = incident.attachments.defer("content", "text").select_related("incident")
    try:
        return attachments.delete(known.get(pk=data["attachment"]), by=by)
    except Attachment.DoesNotExist:
        raise attachments.Refused("It is not there any more.") from None


def ask(incident: Incident, by: User, data: dict[str, Any]) -> Incident:
    return questions.ask(incident, text=data["text"], by=by).incident


def _reaching(status: Status) -> tuple[Status, ...]:
    return tuple(origin for origin, targets in TRANSITIONS.items() if status in targets)


_OPEN = (Status.TRIGGERED, Status.ACKNOWLEDGED, Status.MITIGATED)
_VERBS = (
    Verb(
        slug="acknowledge",
        label="Acknowledge",
        statuses=_reaching(Status.ACKNOWLEDGED),
        form=forms.Form,
        run=lambda incident, by, _: lifecycle.acknowledge(incident, by=by),
        done="Acknowledged.",
    ),
    Verb(
        slug="mitigate",
        label="Mark mitigated",
        statuses=_reaching(Status.MITIGATED),
        form=forms.Form,
        run=lambda incident, by, _: lifecycle.mitigate(incident, by=by),
        done="Marked as mitigated.",
    ),
    Verb(
        slug="resolve",
        label="Resolve",
        statuses=_reaching(Status.RESOLVED),
        form=Reason,
        run=lambda incident, by, data: lifecycle.resolve(incident, by=by, reason=data["reason"]),
        done="Resolved.",
    ),
    Verb(
        slug="close",
        label="Close",
        statuses=_reaching(Status.CLOSED),
        form=forms.Form,
        run=lambda incident, by, _: lifecycle.close(incident, by=by),
        done="Closed.",
    ),
    Verb(
        slug="reopen",
        label="Reopen",
        statuses=_reaching(Status.TRIGGERED),
        form=Reason,
        run=lambda incident, by, data: lifecycle.reopen(incident, by=by, reason=data["reason"]),
        done="Reopened.",
    ),
    Verb(
        slug="take",
        label="Assign to me",
        statuses=_OPEN,
        form=forms.Form,
        run=lambda incident, by, _: lifecycle.assign(incident, to=by, by=by),
        done="Assigned to you.",
    ),
    Verb(
        slug="release",
        label="Give back",
        statuses=_OPEN,
        form=forms.Form,
        run=lambda incident, by, _: lifecycle.assign(incident, to=None, by=by),
        done="The incident has no owner now.",
    ),
    Verb(
        slug="comment",
        label="Comment",
        statuses=tuple(Status),
        form=Comment,
        run=lambda incident, by, data: lifecycle.comment(incident, by=by, text=data["text"]),
        done="Comment added.",
    ),
    Verb(
        slug="ask",
        label="Ask",
        statuses=tuple(Status),
        form=Ask,
        run=ask,
        done="Asked. The answer comes soon and shows below.",
    ),
    Verb(
        slug="attach",
        label="Attach",
        statuses=tuple(Status),
        form=Attach,
        run=attach,
        done="Attached. It is read soon; how that ends shows below.",
    ),
    Verb(
        slug="delete-attachment",
        label="Delete attachment",
        statuses=tuple(Status),
        form=DeleteAttachment,
        run=delete_attachment,
        done="The attachment was deleted.",
    ),
    Verb(
        slug="severity",
        label="Change severity",
        statuses=tuple(status for status in Status if status != Status.MERGED),
        form=NewSeverity,
        run=lambda incident, by, data: lifecycle.change_severity(
            incident, severity=data["severity"], by=by
        ),
        done="Severity changed.",
    ),
    Verb(
        slug="snooze",
        label="Snooze",
        statuses=_OPEN,
        form=Snooze,
        run=lambda incident, by, data: lifecycle.snooze(
            incident, until=now() + timedelta(minutes=data["minutes"]), by=by
        ),
        done="Snoozed.",
    ),
    Verb(
        slug="wake",
        label="End snooze",
        statuses=_OPEN,
        form=forms.Form,
        run=lambda incident, by, _: lifecycle.snooze(incident, until=None, by=by),
        done="The snooze has ended.",
    ),
    Verb(
        slug="merge",
        label="Merge",
        statuses=_reaching(Status.MERGED),
        form=Merge,
        run=merge,
        done="Merged into incident #{number}. Reopening takes it out again.",
        field="into",
    ),
    Verb(
        slug="split",
        label="Split",
        statuses=_OPEN,
        form=Split,
        run=split,
        done="The alerts are in the new incident #{number} now.",
        field="alerts",
    ),
)
VERBS = {verb.slug: verb for verb in _VERBS}
BUTTONS = ("acknowledge", "mitigate", "resolve", "close", "reopen", "take", "release", "wake")


@requires("incident.view")
def detail(request: HttpRequest, number: int) -> HttpResponse:
    return _page(request, number)


def _page(
    request: HttpRequest, number: int, *, refused: dict[str, forms.Form] | None = None
) -> HttpResponse:
    """The page, with what was entered and the errors of a form that was refused."""
    incident = get_object_or_404(
        Incident.objects.select_related("assignee", "source"), number=number
    )
    shown = [
        (section, context)
        for section in sections()
        if (context := section.context(incident)) is not None
    ]
    context = {
        "snapshot": topics.snapshot(f"incident:{number}"),
        "source": incident.source,
        "main": [pair for pair in shown if not pair[0].aside],
        "aside": [pair for pair in shown if pair[0].aside],
        "buttons": [
            (verb, [status.value for status in verb.statuses], is_offered(verb, incident, request))
            for verb in map(VERBS.__getitem__, BUTTONS)
        ],
        "severities": Severity.values,
        "open_statuses": [status.value for status in _OPEN],
        "others": others(incident),
        "forms": {"merge": Merge(), "split": Split(), **(refused or {})},
    }
    return render(request, "incidents/incident.html", context)


def others(incident: Incident) -> QuerySet[Incident]:
    """Open incidents that it may be merged into, those of its service first, then the newest."""
    is_near = Case(When(service=incident.service, then=0), default=1)
    return Incident.objects.open().exclude(pk=incident.pk).order_by(is_near, "-pk")[:MOST_OTHERS]


def is_offered(verb: Verb, incident: Incident, request: HttpRequest) -> bool:
    """Whether the button makes sense now; the domain function decides anew when it is pressed."""
    if incident.status not in verb.statuses:
        return False
    match verb.slug:
        case "take":
            return incident.assignee != request.user
        case "release":
            return incident.assignee is not None
        case "wake":
            return incident.snoozed_until is not None
        case _:
            return True


@requires(reading("incident.view", POST="incident.respond"))
def act(request: HttpRequest, number: int, verb: str) -> HttpResponse:
    """Do what a form of the page asks for and lead back to the page.

    A form that was refused leaves its own address in the browser; whoever opens it is led back, too.
    """
    if verb not in VERBS:
        raise Http404(verb)
    incident = get_object_or_404(Incident, number=number)
    if request.method != "POST":
        return redirect("incident", number=number)
    chosen = VERBS[verb]
    form = chosen.form(request.POST, request.FILES)
    if not form.is_valid():
        if chosen.field:
            return _refused(request, number, chosen, form, status=HTTPStatus.BAD_REQUEST)
        problems = [f"{name}: {error}" for name, errors in form.errors.items() for error in errors]
        messages.error(request, f"{chosen.label} was not possible. {' '.join(problems)}")
        return redirect("incident", number=number)
    if not isinstance(request.user, User):
        messages.error(request, "Only people act here; programs use the API.")
        return redirect("incident", number=number)
    try:
        changed = chosen.run(incident, request.user, form.cleaned_data)
    except (lifecycle.InvalidTransition, attachments.Refused, questions.Refused, Refused) as error:
        if chosen.field:
            form.add_error(chosen.field, str(error))
            return _refused(request, number, chosen, form, status=HTTPStatus.CONFLICT)
        messages.error(request, f"{chosen.label} was not possible. {error}")
    else:
        messages.success(request, chosen.done.format(number=changed.number))
    return redirect("incident", number=number)


def _refused(
    request: HttpRequest, number: int, verb: Verb, form: forms.Form, *, status: HTTPStatus
) -> HttpResponse:
    page = _page(request, number, refused={verb.slug: form})
    page.status_code = status
    return page


def nothing_more(incident: Incident) -> dict[str, Any]:
    """For sections that show what the page's snapshot holds already."""
    del incident
    return {}


def sent(incident: Incident) -> dict[str, Any]:
    rows = Notification.objects.filter(incident_number=incident.number).order_by("-pk")[:50]
    return {
        "notifications": [
            {
                "at": instant(row.sent_at or row.created_at),
                "audience": row.audience,
                "transport": row.transport,
                "subject": row.subject,
                "body": row.body,
                "state": row.state,
                "held_until": instant(row.held_until) if row.due_at else None,
                "error": row.error,
                "provider": row.provider,
            }
            for row in rows
        ]
    }


register(
    Section(
        slug="timeline",
        title="Timeline",
        template="incidents/sections/timeline.html",
        order=60,
        context=nothing_more,
    )
)
register(
    Section(
        slug="alerts",
        title="Alerts",
        template="incidents/sections/alerts.html",
        order=50,
        context=nothing_more,
    )
)
register(
    Section(
        slug="attachments",
        title="Attachments",
        template="incidents/sections/attachments.html",
        order=55,
        context=lambda incident: {"most": attachments.MOST, "megabytes": MOST_BYTES // 1024**2},
    )
)
register(
    Section(
        slug="questions",
        title="Questions",
        template="incidents/sections/questions.html",
        order=45,
        context=lambda incident: {
            "longest": questions.LONGEST,
            "unshown": max(0, incident.questions.count() - QUESTIONS_SHOWN),
        },
    )
)
register(
    Section(
        slug="notifications",
        title="Messages sent",
        template="incidents/sections/notifications.html",
        order=70,
        context=sent,
        aside=True,
    )
)
