from __future__ import annotations

import json
from typing import Any

import django_filters
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status, viewsets
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from incidentops.access.permissions import Access, reading, writing
from incidentops.rest.idempotency import IdempotentPosts
from incidentops.rest.problems import Conflict
from incidentops.telemetry import inventory, push, rows
from incidentops.telemetry.bodies import BoundedBody, JsonRows, NdjsonRows, TooLarge, refusal
from incidentops.telemetry.inventory import InvalidInventory, NameTaken, TopologyEntry
from incidentops.telemetry.models import Change, Service

MAX_SERVICES = 2000
MAX_DEPENDENCIES = 500
MAX_DETAIL = 16_384


def _name_field(**options: Any) -> serializers.RegexField:
    # Addresses of the API take an id or a name, so a name must not look like an id.
    return serializers.RegexField(
        r"^(?!\d+$)[^\x00-\x1f\x7f]+$",
        max_length=120,
        help_text="Not digits alone.",
        **options,
    )


def _names_field(**options: Any) -> serializers.ListField:
    return serializers.ListField(
        child=serializers.CharField(max_length=120),
        max_length=MAX_DEPENDENCIES,
        help_text="Names of the services it calls.",
        **options,
    )


class _KindField(serializers.ChoiceField):
    def __init__(self, **options: Any) -> None:
        super().__init__(choices=Service.Kind.choices, **options)


class ServiceSerializer(serializers.ModelSerializer[Service]):
    name = _name_field()
    kind = _KindField(default=Service.Kind.SERVICE)
    depends_on = _names_field(default=list)

    class Meta:
        model = Service
        fields = ["id", "name", "kind", "description", "owner", "depends_on", "created_at"]
        read_only_fields = ["id", "created_at"]

    def to_representation(self, instance: Service) -> dict[str, Any]:
        return {
            "id": instance.pk,
            "name": instance.name,
            "kind": instance.kind,
            "description": instance.description,
            "owner": instance.owner,
            "depends_on": sorted(edge.callee.name for edge in instance.calls.all()),
            "created_at": instance.created_at,
        }


class TopologyEntrySerializer(serializers.Serializer[Any]):
    name = _name_field()
    kind = _KindField(default=Service.Kind.SERVICE)
    depends_on = _names_field(default=list)


class TopologySerializer(serializers.Serializer[Any]):
    """Unknown members are ignored, so a topology kept for other tools can be sent as it is."""

    services = serializers.ListField(
        child=TopologyEntrySerializer(), max_length=MAX_SERVICES, allow_empty=False
    )


class ImportedSerializer(serializers.Serializer[Any]):
    created = serializers.IntegerField()
    updated = serializers.IntegerField()


class ChangeSerializer(serializers.ModelSerializer[Change]):
    service = serializers.SlugRelatedField(
        slug_field="name", queryset=Service.objects.all(), help_text="Name of the service."
    )
    at = serializers.DateTimeField(default=now)
    detail = serializers.DictField(default=dict)

    class Meta:
        model = Change
        fields = ["id", "service", "kind", "title", "at", "url", "detail"]

    def validate_detail(self, detail: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(detail)
        if len(text) > MAX_DETAIL:
            raise ValidationError(f"At most {MAX_DETAIL} characters of JSON.")
        if "\\u0000" in text or not _is_unicode(detail):
            raise ValidationError("Must not contain NUL characters or lone surrogates.")
        return detail


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


class ServiceFilter(django_filters.FilterSet):  # type: ignore[misc]  # has no types
    name = django_filters.CharFilter()
    kind = django_filters.ChoiceFilter(choices=Service.Kind.choices)
    owner = django_filters.CharFilter()
    q = django_filters.CharFilter("name", "icontains")


class ChangeFilter(django_filters.FilterSet):  # type: ignore[misc]  # has no types
    service = django_filters.CharFilter("service__name")
    kind = django_filters.ChoiceFilter(choices=Change.Kind.choices)
    since = django_filters.IsoDateTimeFilter("at", "gte")
    until = django_filters.IsoDateTimeFilter("at", "lt")


_KEY = OpenApiParameter("key", str, OpenApiParameter.PATH, description="Its id or its name.")


class ServiceViewSet(IdempotentPosts, viewsets.GenericViewSet[Service]):
    """The inventory: what can break, and what depends on what."""

    access = reading(
        "inventory.view",
        POST="inventory.write",
        PATCH="inventory.write",
        DELETE="inventory.write",
    )
    serializer_class = ServiceSerializer
    filterset_class = ServiceFilter
    queryset = Service.objects.prefetch_related("calls__callee")

    def get_object(self) -> Service:
        key = str(self.kwargs["key"])
        found: QuerySet[Service] = self.get_queryset()
        return get_object_or_404(found, **({"pk": key} if _is_id(key) else {"name": key}))

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(parameters=[_KEY])
    def retrieve(self, request: Request, key: str) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    def create(self, request: Request) -> Response:
        fields = self._validated(request)
        depends_on = fields.pop("depends_on")
        try:
            service = inventory.create_service(fields, depends_on=depends_on, by=request.user)
        except InvalidInventory as error:
            raise _as_answer(error) from error
        return Response(self.get_serializer(service).data, status=status.HTTP_201_CREATED)

    @extend_schema(parameters=[_KEY])
    def partial_update(self, request: Request, key: str) -> Response:
        service = self.get_object()
        changes = self._validated(request, service)
        depends_on = changes.pop("depends_on", None)
        try:
            inventory.update_service(service, changes, depends_on=depends_on, by=request.user)
        except InvalidInventory as error:
            raise _as_answer(error) from error
        return Response(self.get_serializer(self.get_queryset().get(pk=service.pk)).data)

    @extend_schema(parameters=[_KEY])
    def destroy(self, request: Request, key: str) -> Response:
        inventory.delete_service(self.get_object(), by=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _validated(self, request: Request, service: Service | None = None) -> dict[str, Any]:
        serializer = self.get_serializer(service, data=request.data, partial=service is not None)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


def _is_id(key: str) -> bool:
    return key.isascii() and key.isdecimal() and len(key) < 19


def _as_answer(error: InvalidInventory) -> ValidationError | Conflict:
    if isinstance(error, NameTaken):
        return Conflict(error.reason)
    return ValidationError({error.field: [error.reason]})


class TopologyView(APIView):
    """Many services and their dependencies at once."""

    access = Access(by_method={"PUT": "inventory.write"})

    @extend_schema(request=TopologySerializer, responses=ImportedSerializer)
    def put(self, request: Request) -> Response:
        serializer = TopologySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        entries = [
            TopologyEntry(
                name=entry["name"], kind=entry["kind"], depends_on=tuple(entry["depends_on"])
            )
            for entry in serializer.validated_data["services"]
        ]
        try:
            created, updated = inventory.import_topology(entries, by=request.user)
        except InvalidInventory as error:
            raise _as_answer(error) from error
        return Response({"created": created, "updated": updated})


class ChangeViewSet(IdempotentPosts, viewsets.GenericViewSet[Change]):
    """What people and pipelines did to services."""

    access = reading(
        "inventory.view", POST="change.write", PATCH="change.write", DELETE="change.write"
    )
    serializer_class = ChangeSerializer
    filterset_class = ChangeFilter
    queryset = Change.objects.select_related("service")

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    def create(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        change = inventory.record_change(serializer.validated_data, by=request.user)
        return Response(self.get_serializer(change).data, status=status.HTTP_201_CREATED)

    def partial_update(self, request: Request, pk: int) -> Response:
        change = self.get_object()
        serializer = self.get_serializer(change, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        change = inventory.update_change(change, serializer.validated_data, by=request.user)
        return Response(self.get_serializer(change).data)

    def destroy(self, request: Request, pk: int) -> Response:
        inventory.delete_change(self.get_object(), by=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PushedSerializer(serializers.Serializer[Any]):
    accepted = serializers.IntegerField(help_text="Rows in the body.")
    duplicates = serializers.IntegerField(help_text="Those of them that were there already.")


class SampleSerializer(serializers.Serializer[Any]):
    """Either `value` with `at`, or `points`. Documents the body; `rows.read_samples` reads it."""

    service = serializers.CharField(max_length=rows.LONGEST_SERVICE)
    metric = serializers.CharField(max_length=rows.LONGEST_METRIC)
    labels = serializers.DictField(child=serializers.CharField(), required=False)
    unit = serializers.CharField(max_length=rows.LONGEST_UNIT, required=False)
    at = serializers.DateTimeField(
        required=False,
        help_text="RFC 3339, or seconds or milliseconds since 1970; also named `timestamp`. "
        "Default: now.",
    )
    value = serializers.FloatField(required=False)
    points = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField(), min_length=2, max_length=2),
        required=False,
        help_text="[time, value] pairs of one series.",
    )


class SamplesSerializer(serializers.Serializer[Any]):
    samples = serializers.ListField(child=SampleSerializer(), max_length=rows.MAX_ROWS)


class LogSerializer(serializers.Serializer[Any]):
    service = serializers.CharField(max_length=rows.LONGEST_SERVICE)
    at = serializers.DateTimeField(required=False, help_text="As for samples.")
    level = serializers.CharField(max_length=rows.LONGEST_LEVEL, required=False)
    message = serializers.CharField(help_text=f"Cut after {rows.LONGEST_MESSAGE} characters.")


class LogsSerializer(serializers.Serializer[Any]):
    logs = serializers.ListField(child=LogSerializer(), max_length=rows.MAX_ROWS)


class SamplesView(IdempotentPosts, BoundedBody, APIView):
    """Push measurements: a list, `{"samples": [...]}`, one object, or one object a line."""

    access = writing("telemetry.write")
    parser_classes = [JsonRows, NdjsonRows]
    rows_name = "samples"

    @extend_schema(
        operation_id="push_samples",
        request={
            "application/json": SamplesSerializer,
            "application/x-ndjson": SampleSerializer,
        },
        responses={202: PushedSerializer},
    )
    def post(self, request: Request) -> Response:
        try:
            samples = rows.read_samples(_rows(request), received_at=now())
            duplicates = push.store_samples(samples)
        except rows.InvalidRow as error:
            raise refusal(error) from error
        except rows.TooManyRows as error:
            raise TooLarge from error
        except push.TooManySeries as error:
            raise ValidationError({"labels": [str(error)]}) from error
        return _accepted(len(samples), duplicates)


class LogsView(IdempotentPosts, BoundedBody, APIView):
    """Push log lines: a list, `{"logs": [...]}`, one object, or one object a line."""

    access = writing("telemetry.write")
    parser_classes = [JsonRows, NdjsonRows]
    rows_name = "logs"

    @extend_schema(
        operation_id="push_logs",
        request={"application/json": LogsSerializer, "application/x-ndjson": LogSerializer},
        responses={202: PushedSerializer},
    )
    def post(self, request: Request) -> Response:
        try:
            lines = rows.read_logs(_rows(request), received_at=now())
        except rows.InvalidRow as error:
            raise refusal(error) from error
        except rows.TooManyRows as error:
            raise TooLarge from error
        return _accepted(len(lines), push.store_logs(lines))


def _rows(request: Request) -> list[Any]:
    """What the parser made of the body; REST framework parses no empty one."""
    if not isinstance(request.data, list):
        raise ValidationError({"body": ["There is none."]})
    return request.data


def _accepted(accepted: int, duplicates: int) -> Response:
    return Response(
        {"accepted": accepted, "duplicates": duplicates}, status=status.HTTP_202_ACCEPTED
    )
