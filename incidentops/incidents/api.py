"""REST: incidents, their alerts and story, and what responders may do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from typing import Any, ClassVar

import django_filters
from django.contrib.auth.models import User
from django.core.files.uploadedfile import UploadedFile
from django.db.models import BigIntegerField, Case, ExpressionWrapper, F, Q, QuerySet, Value, When
from django.db.models.expressions import Combinable, CombinedExpression
from django.db.models.functions import Cast
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.http import content_disposition_header
from django.utils.timezone import now
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.exceptions import Throttled, ValidationError
from rest_framework.filters import OrderingFilter
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from incidentops.access.permissions import reading, writing
from incidentops.incidents import attachments, lifecycle, questions
from incidentops.incidents.cards import (
    alert_row,
    attachment_row,
    card,
    question_row,
    timeline_row,
)
from incidentops.incidents.lifecycle import InvalidTransition
from incidentops.incidents.models import (
    OPEN_STATUSES,
    Alert,
    Attachment,
    Incident,
    Question,
    Severity,
    Source,
    Status,
    TimelineEntry,
)
from incidentops.incidents.payloads import EARLIEST
from incidentops.rest.idempotency import IdempotentPosts
from incidentops.rest.problems import Conflict
from incidentops.rest.uploads import MOST_BYTES, BoundedUploads, TooLarge

# When to ask again where too many questions wait.
RETRY_SECONDS = 15

# --- Shapes -----------------------------------------------------------------------------------


class IncidentSerializer(serializers.ModelSerializer[Incident]):
    """The same card that boards and sockets show."""

    assignee = serializers.CharField(allow_null=True, help_text="User name.")
    source = serializers.CharField(  # type: ignore[assignment]  # a field named as an attribute
        allow_null=True, help_text="Id of the source that opened it."
    )
    merged_into = serializers.IntegerField(allow_null=True)

    class Meta:
        model = Incident
        fields = (
            "number",
            "title",
            "status",
            "severity",
            "service",
            "origin",
            "alert_count",
            "version",
            "impact_start",
            "detected_at",
            "received_at",
            "acknowledged_at",
            "mitigated_at",
            "resolved_at",
            "closed_at",
            "assignee",
            "source",
            "merged_into",
            "snoozed_until",
            "reopen_count",
        )
        read_only_fields = fields

    def to_representation(self, instance: Incident) -> dict[str, Any]:
        return card(instance)


class AlertSerializer(serializers.ModelSerializer[Alert]):
    labels = serializers.DictField(child=serializers.CharField())
    annotations = serializers.DictField(child=serializers.CharField())
    merge_reason = serializers.DictField(
        help_text="Why it belongs to this incident: `kind`, `explanation`, and the parts of a score."
    )

    class Meta:
        model = Alert
        fields = (
            "id",
            "fingerprint",
            "title",
            "description",
            "service",
            "labels",
            "annotations",
            "status",
            "severity",
            "starts_at",
            "ends_at",
            "received_at",
            "last_received_at",
            "count",
            "url",
            "merge_reason",
        )
        read_only_fields = fields

    def to_representation(self, instance: Alert) -> dict[str, Any]:
        return alert_row(instance)


class TimelineEntrySerializer(serializers.ModelSerializer[TimelineEntry]):
    detail = serializers.DictField()

    class Meta:
        model = TimelineEntry
        fields = ("id", "at", "kind", "actor", "text", "detail")
        read_only_fields = fields

    def to_representation(self, instance: TimelineEntry) -> dict[str, Any]:
        return timeline_row(instance)


class AttachmentSerializer(serializers.ModelSerializer[Attachment]):
    """`state` tells whether its text was read, `reason` why not; `url` gives its bytes."""

    characters = serializers.IntegerField(help_text="Of the text that was read.")
    beginning = serializers.CharField(help_text="How that text begins.")
    url = serializers.CharField()

    class Meta:
        model = Attachment
        fields = (
            "id",
            "name",
            "media_type",
            "note",
            "size",
            "sha256",
            "added_by",
            "added_at",
            "state",
            "reason",
            "provider",
            "call",
            "read_at",
            "characters",
            "beginning",
            "url",
        )
        read_only_fields = fields

    def to_representation(self, instance: Attachment) -> dict[str, Any]:
        return attachment_row(instance)


class CitedSourceSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="As it stands in the answer, in square brackets.")
    title = serializers.CharField()
    uri = serializers.CharField()


class QuestionSerializer(serializers.ModelSerializer[Question]):
    """`state` tells whether it was answered, `reason` why not; `provider` says who answered.

    `sources` are what the answer cites; `note` says why the local provider answered where another is
    configured.
    """

    sources = CitedSourceSerializer(many=True)
    url = serializers.CharField()

    class Meta:
        model = Question
        fields = (
            "id",
            "text",
            "asked_by",
            "asked_at",
            "state",
            "answer",
            "sources",
            "note",
            "reason",
            "provider",
            "call",
            "answered_at",
            "url",
        )
        read_only_fields = fields

    def to_representation(self, instance: Question) -> dict[str, Any]:
        return question_row(instance)


class NoFields(serializers.Serializer[Any]):
    pass


class ReasonFields(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=1000, required=False, allow_blank=True, default="")


class NewIncidentFields(serializers.Serializer[Any]):
    title = serializers.CharField(max_length=300)
    severity = serializers.ChoiceField(choices=Severity.choices)
    service = serializers.CharField(max_length=120, required=False, allow_blank=True, default="")
    description = serializers.CharField(
        max_length=4000, required=False, allow_blank=True, default=""
    )
    impact_start = serializers.DateTimeField(required=False, allow_null=True, default=None)
    detected_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="Now, when not given."
    )

    def validate_impact_start(self, at: datetime | None) -> datetime | None:
        return _believable(at)

    def validate_detected_at(self, at: datetime | None) -> datetime | None:
        return _believable(at)


def _believable(at: datetime | None) -> datetime | None:
    if at is not None and at > now():
        raise ValidationError("This lies in the future.")
    if at is not None and at < EARLIEST:
        raise ValidationError(f"This lies before {EARLIEST:%Y-%m-%d}.")
    return at


class AssignFields(serializers.Serializer[Any]):
    assignee = serializers.SlugRelatedField(
        slug_field="username",
        queryset=User.objects.filter(is_active=True),
        allow_null=True,
        required=False,
        help_text="User name; null gives the incident back; left out: the caller.",
    )


class CommentFields(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=4000)


class MergeFields(serializers.Serializer[Any]):
    into = serializers.IntegerField(min_value=1, help_text="Number of the incident that remains.")


class SplitFields(serializers.Serializer[Any]):
    alerts = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1),
        min_length=1,
        max_length=1000,
        help_text="Ids of the alerts that move to the new incident.",
    )
    title = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")


class SeverityFields(serializers.Serializer[Any]):
    severity = serializers.ChoiceField(choices=Severity.choices)


class SnoozeFields(serializers.Serializer[Any]):
    until = serializers.DateTimeField(
        required=False, allow_null=True, help_text="null ends the snooze."
    )
    minutes = serializers.IntegerField(required=False, min_value=1, max_value=30 * 24 * 60)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("until" in attrs) == ("minutes" in attrs):
            raise ValidationError("Give either until or minutes.")
        if attrs.get("until") and attrs["until"] <= now():
            raise ValidationError({"until": "This lies in the past."})
        return attrs


# --- Lists ------------------------------------------------------------------------------------


class StatusIn(django_filters.BaseInFilter, django_filters.ChoiceFilter):  # type: ignore[misc]  # have no types
    """One or several choices, separated by commas."""


class IncidentFilter(django_filters.FilterSet):  # type: ignore[misc]  # has no types
    status = StatusIn(choices=Status.choices)
    severity = StatusIn(choices=Severity.choices)
    is_open = django_filters.BooleanFilter(method="filter_open")
    service = django_filters.CharFilter()
    source = django_filters.ModelChoiceFilter(queryset=Source.objects.all())
    origin = django_filters.ChoiceFilter(choices=Incident.Origin.choices)
    q = django_filters.CharFilter(method="search", label="Words of the title or service, or number")

    class Meta:
        model = Incident
        fields = ("status", "severity", "is_open", "service", "source", "origin", "q")

    def filter_open(self, rows: QuerySet[Incident], name: str, value: bool) -> QuerySet[Incident]:
        del name
        condition = Q(status__in=OPEN_STATUSES)
        return rows.filter(condition if value else ~condition)

    def search(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        del name
        condition = Q(title__icontains=value) | Q(service__icontains=value)
        number = value.removeprefix("#")
        if number.isascii() and number.isdecimal() and len(number) < 19:
            condition |= Q(number=number)
        return rows.filter(condition)


# Cursor pages need an order without long ties, so a coarse key carries the number behind it.
_STEP = 10**12
_HOW_SEVERE = Case(
    *(When(severity=one.value, then=Value(len(Severity) - one.rank)) for one in Severity),
    output_field=BigIntegerField(),
)


def _before_number(key: Combinable) -> ExpressionWrapper[CombinedExpression]:
    # As an IntegerField, Django would take a cursor beyond 32 bits for a bound that all rows meet.
    return ExpressionWrapper(
        key * Value(_STEP, output_field=BigIntegerField()) + F("number"),
        output_field=BigIntegerField(),
    )


_SORT_KEYS = {
    "severity": _before_number(_HOW_SEVERE),
    "alert_count": _before_number(Cast(F("alert_count"), BigIntegerField())),
}


class IncidentOrdering(OrderingFilter):
    """Order by one field; a minus before it reverses. More severe is greater."""

    fields = ("number", "severity", "detected_at", "received_at", "alert_count")

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: APIView) -> list[str]:
        asked = request.query_params.get(self.ordering_param, "").strip() or "-number"
        name = asked.removeprefix("-")
        if name not in self.fields:
            raise ValidationError({"ordering": [f"Must be one of {', '.join(self.fields)}."]})
        key = asked.replace(name, f"sort_{name}") if name in _SORT_KEYS else asked
        return [key] if name == "number" else [key, "-number"]

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> QuerySet[Any]:
        keys = {f"sort_{name}": key for name, key in _SORT_KEYS.items()}
        keyed: QuerySet[Any] = queryset.annotate(**keys)
        return keyed.order_by(*self.get_ordering(request, queryset, view))

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        choices = [sign + name for name in self.fields for sign in ("", "-")]
        return [
            {
                "name": self.ordering_param,
                "required": False,
                "in": "query",
                "description": "A field, with a minus before it to reverse; default -number.",
                "schema": {"type": "string", "enum": choices},
            }
        ]


class Incidents(IdempotentPosts, generics.ListAPIView[Incident]):
    """Incidents, the newest first; POST opens one by hand."""

    access = reading("incident.view", POST="incident.open")
    queryset = Incident.objects.select_related("assignee")
    serializer_class = IncidentSerializer
    filter_backends = (DjangoFilterBackend, IncidentOrdering)
    filterset_class = IncidentFilter

    @extend_schema(request=NewIncidentFields, responses={201: IncidentSerializer})
    def post(self, request: Request) -> Response:
        fields = NewIncidentFields(data=request.data)
        fields.is_valid(raise_exception=True)
        asked = fields.validated_data
        reason = asked.pop("description")
        incident = lifecycle.open_incident(**asked, reason=reason, by=request.user)
        return Response(card(incident), status=status.HTTP_201_CREATED)


class IncidentDetail(generics.RetrieveAPIView[Incident]):
    access = reading("incident.view")
    queryset = Incident.objects.select_related("assignee")
    serializer_class = IncidentSerializer
    lookup_field = "number"


class AlertFilter(django_filters.FilterSet):  # type: ignore[misc]  # has no types
    class Meta:
        model = Alert
        fields = ("status", "severity", "is_current")


class IncidentAlerts(generics.ListAPIView[Alert]):
    """The alerts of an incident, the newest first."""

    access = reading("incident.view")
    serializer_class = AlertSerializer
    queryset = Alert.objects.all()
    filterset_class = AlertFilter

    def get_queryset(self) -> QuerySet[Alert]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return super().get_queryset().filter(incident=_find(self.kwargs["number"]))


class IncidentTimeline(generics.ListAPIView[TimelineEntry]):
    """What happened in an incident, the newest first."""

    access = reading("incident.view")
    serializer_class = TimelineEntrySerializer
    queryset = TimelineEntry.objects.all()

    def get_queryset(self) -> QuerySet[TimelineEntry]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return super().get_queryset().filter(incident=_find(self.kwargs["number"]))


def _find(number: int) -> Incident:
    return get_object_or_404(Incident, number=number)


# --- Attachments ------------------------------------------------------------------------------


class AttachmentFields(serializers.Serializer[Any]):
    file = serializers.FileField(
        max_length=255, help_text=f"A document, log or screenshot of at most {MOST_BYTES} bytes."
    )
    note = serializers.CharField(
        max_length=1000, required=False, allow_blank=True, default="", help_text="Why it matters."
    )


class TooManyAttachments(ValidationError):
    status_code = status.HTTP_409_CONFLICT


class IncidentAttachments(IdempotentPosts, BoundedUploads, generics.ListAPIView[Attachment]):
    """Documents, logs and screenshots of an incident, the newest first; POST adds one.

    Its text is read soon after: `state` tells how that ended. At most 20 an incident.
    """

    access = reading("incident.view", POST="incident.respond")
    serializer_class = AttachmentSerializer
    parser_classes = [MultiPartParser]
    queryset = Attachment.objects.described()
    filterset_fields = ("state",)

    def get_queryset(self) -> QuerySet[Attachment]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return super().get_queryset().filter(incident=_find(self.kwargs["number"]))

    @extend_schema(
        request={"multipart/form-data": AttachmentFields}, responses={201: AttachmentSerializer}
    )
    def post(self, request: Request, number: int) -> Response:
        incident = _find(number)
        fields = AttachmentFields(data=request.data)
        fields.is_valid(raise_exception=True)
        file: UploadedFile[bytes] = fields.validated_data["file"]
        if (file.size or 0) > MOST_BYTES:
            raise TooLarge
        try:
            added = attachments.add(
                incident,
                name=file.name or "",
                media_type=file.content_type or "",
                content=file.read(),
                note=fields.validated_data["note"],
                by=request.user,
            )
        except attachments.TooMany as error:
            raise TooManyAttachments({"file": [str(error)]}) from None
        row = attachment_row(self.get_queryset().get(pk=added.pk))
        return Response(row, status=status.HTTP_201_CREATED, headers={"Location": str(row["url"])})


class IncidentAttachment(APIView):
    """GET gives the bytes to be saved, never to be shown here; DELETE deletes them and their text."""

    access = reading("incident.view", DELETE="incident.respond")

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, number: int, pk: int) -> HttpResponse:
        attachment = get_object_or_404(Attachment.objects.defer("text"), incident=number, pk=pk)
        return HttpResponse(
            bytes(attachment.content),
            # Whatever its sender called it: our origin must never be made to show it.
            content_type="application/octet-stream",
            headers={
                "Content-Disposition": content_disposition_header(True, attachment.name) or "",
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "default-src 'none'; sandbox",
                "Cache-Control": "private, no-store",
            },
        )

    @extend_schema(responses={204: None})
    def delete(self, request: Request, number: int, pk: int) -> Response:
        described = Attachment.objects.described().select_related("incident")
        attachments.delete(get_object_or_404(described, incident=number, pk=pk), by=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


# --- Questions --------------------------------------------------------------------------------


class QuestionFields(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=questions.LONGEST, help_text="In plain words.")


class IncidentQuestions(IdempotentPosts, generics.ListAPIView[Question]):
    """Questions about an incident with their answers, the newest first; POST asks one.

    It is answered soon after: `state` tells how that ended. At most 5 wait at a time, more are 429.
    """

    access = reading("incident.view", POST="incident.respond")
    serializer_class = QuestionSerializer
    queryset = Question.objects.all()
    filterset_fields = ("state",)

    def get_queryset(self) -> QuerySet[Question]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return super().get_queryset().filter(incident=_find(self.kwargs["number"]))

    @extend_schema(request=QuestionFields, responses={202: QuestionSerializer})
    def post(self, request: Request, number: int) -> Response:
        incident = _find(number)
        fields = QuestionFields(data=request.data)
        fields.is_valid(raise_exception=True)
        try:
            asked = questions.ask(incident, text=fields.validated_data["text"], by=request.user)
        except questions.TooMany as error:
            raise Throttled(wait=RETRY_SECONDS, detail=str(error)) from None
        row = question_row(asked)
        headers = {"Location": str(row["url"])}
        return Response(row, status=status.HTTP_202_ACCEPTED, headers=headers)


class IncidentQuestion(generics.RetrieveAPIView[Question]):
    access = reading("incident.view")
    serializer_class = QuestionSerializer
    queryset = Question.objects.all()

    def get_object(self) -> Question:
        return get_object_or_404(Question, incident=self.kwargs["number"], pk=self.kwargs["pk"])


# --- What responders do -----------------------------------------------------------------------


class Action(IdempotentPosts, APIView, ABC):
    """One change of an incident. What is not possible in its state is a 409 and changes nothing."""

    access = writing("incident.respond")
    fields: ClassVar[type[serializers.Serializer[Any]]] = NoFields
    status_code: ClassVar[int] = status.HTTP_200_OK

    def post(self, request: Request, number: int) -> Response:
        incident = _find(number)
        fields = self.fields(data=request.data)
        fields.is_valid(raise_exception=True)
        try:
            changed = self.change(incident, request.user, fields.validated_data)
        except InvalidTransition as error:
            raise Conflict(str(error)) from None
        return Response(card(changed), status=self.status_code)

    @abstractmethod
    def change(self, incident: Incident, by: Any, asked: dict[str, Any]) -> Incident: ...


def _describe(fields: type[serializers.Serializer[Any]], code: int = 200) -> Any:
    """Class decorator: the schema of an action."""
    request = None if fields is NoFields else fields
    responses: dict[int, Any] = {code: IncidentSerializer}
    return extend_schema_view(post=extend_schema(request=request, responses=responses))


@_describe(NoFields)
class Acknowledge(Action):
    """Take the incident: escalation stops."""

    def change(self, incident: Incident, by: Any, asked: dict[str, Any]) -> Incident:
        return lifecycle.acknowledge(incident, by=by)


@_describe(NoFields)
class Mitigate(Action):
    """Users no longer suffer, though the cause may remain."""

    def change(self, incident: Incident, by: Any, asked: dict[str, Any]) -> Incident:
        return lifecycle.mitigate(incident, by=by)


@_describe(AssignFields)
class Assign(Action):
    """Give the incident to a user, to the caller, or to nobody."""

    fields = AssignFields

    def change(self, incident: Incident, by: Any, asked: dict[str, Any]) -> Incident:
        if "assignee" not in asked and not isinstance(by, User):
            raise ValidationError({"assignee": ["A token must name a user."]})
        return lifecycle.assign(incident, to=asked.get("assignee", by), by=by)


@_describe(ReasonFields)
class Resolve(Action):
    """End the incident; what its alerts fire from now on is a new one."""

    fields = ReasonFields

    def change(self, incident: Incident, by: Any, asked: dict[str, Any]) -> Incident:
        return lifecycle.resolve(incident, by=by, reason=asked["reason"])


@_describe(NoFields)
class Close(Action):
    """Put a resolved incident away."""

    def change(self, incident: Incident, by: Any, asked: dict[str, Any]) -> Incident:
        return lifecycle.close(incident, by=by)


@_describe(ReasonFields)
class Reopen(Action):
    """Take a resolved, closed, mitigated or merged incident up again."""

    fields = ReasonFields

    def change(self, incident: Incident, by: Any, asked: dict[str, Any]) -> Incident:
        return lifecycle.reopen(incident, by=by, reason=asked["reason"])


@_describe(CommentFields)
class CommentOn(Action):
    """Add a comment to the timeline."""

    fields = CommentFields

    def change(self, incident: Incident, by: Any, asked: dict[str, Any]) -> Incident:
        return lifecycle.comment(incident, by=by, text=asked["text"])


@_describe(MergeFields)
class Merge(Action):
    """Make this incident part of another, which takes its alerts. Reopening undoes it."""

    fields = MergeFields

    def change(self, incident: Incident, by: Any, asked: dict[str, Any]) -> Incident:
        into = Incident.objects.filter(number=asked["into"]).first()
        if into is None:
            raise ValidationError({"into": [f"There is no incident {asked['into']}."]})
        return lifecycle.merge(incident, into=into, by=by)


@_describe(SplitFields, status.HTTP_201_CREATED)
class Split(Action):
    """Move alerts to a new incident, which is the answer."""

    fields = SplitFields
    status_code = status.HTTP_201_CREATED

    def change(self, incident: Incident, by: Any, asked: dict[str, Any]) -> Incident:
        return lifecycle.split(incident, alert_ids=asked["alerts"], title=asked["title"], by=by)


@_describe(SeverityFields)
class ChangeSeverity(Action):
    """Judge anew how urgent it is; alerts no longer raise the severity then."""

    fields = SeverityFields

    def change(self, incident: Incident, by: Any, asked: dict[str, Any]) -> Incident:
        return lifecycle.change_severity(incident, severity=asked["severity"], by=by)


@_describe(SnoozeFields)
class Snooze(Action):
    """Ask for quiet for a while; `until: null` ends it."""

    fields = SnoozeFields

    def change(self, incident: Incident, by: Any, asked: dict[str, Any]) -> Incident:
        until = asked.get("until")
        if "minutes" in asked:
            until = now() + timedelta(minutes=asked["minutes"])
        return lifecycle.snooze(incident, until=until, by=by)
