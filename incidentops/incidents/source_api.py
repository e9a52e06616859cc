"""REST: the sources of alerts, and the bodies that were refused."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import QuerySet
from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from incidentops.access.permissions import reading, writing
from incidentops.incidents import deadletters, payloads, sources
from incidentops.incidents.cards import instant
from incidentops.incidents.models import DeadLetter, Source
from incidentops.incidents.payloads import AlertIn, Malformed
from incidentops.rest.idempotency import IdempotentPosts
from incidentops.rest.problems import Conflict


class SourceSerializer(serializers.ModelSerializer[Source]):
    url = serializers.SerializerMethodField(help_text="Post here with the secret as bearer token.")

    class Meta:
        model = Source
        fields: tuple[str, ...] = (
            "id",
            "kind",
            "name",
            "config",
            "is_enabled",
            "url",
            "created_at",
            "last_delivery_at",
        )
        read_only_fields = fields

    def to_representation(self, instance: Source) -> dict[str, Any]:
        return {**super().to_representation(instance), "config": instance.shown_config}

    def get_url(self, source: Source) -> str:
        return sources.url_of(source)


class SourceWithSecretSerializer(SourceSerializer):
    url = serializers.CharField(help_text="Post here; the secret is in it.")  # type: ignore[assignment]  # given, not computed
    secret = serializers.CharField(
        allow_null=True, help_text="Shown once: null when the request is repeated."
    )

    class Meta(SourceSerializer.Meta):
        fields = (*SourceSerializer.Meta.fields, "secret")
        read_only_fields = fields


class NewSourceSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=Source.Kind.choices)
    name = serializers.CharField(max_length=80)
    config = serializers.DictField(default=dict)


class SourceChangeSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80, required=False)
    config = serializers.DictField(required=False)
    is_enabled = serializers.BooleanField(required=False)


class Sources(IdempotentPosts, generics.ListAPIView[Source]):
    """The sources of alerts; a new one's secret is shown once."""

    access = reading("source.view", POST="source.write")
    queryset = Source.objects.present()
    serializer_class = SourceSerializer
    filterset_fields = ("kind", "name", "is_enabled")
    ordering = ("-created_at", "id")
    secret_fields = ("secret", "url")

    @extend_schema(request=NewSourceSerializer, responses={201: SourceWithSecretSerializer})
    def post(self, request: Request) -> Response:
        asked = NewSourceSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            source, secret = sources.create(**asked.validated_data, by=request.user)
        except Malformed as error:
            raise _invalid(error) from None
        except sources.NameTaken as error:
            raise Conflict(str(error)) from None
        return Response(_with_secret(source, secret), status=status.HTTP_201_CREATED)


class SourceDetail(generics.RetrieveAPIView[Source]):
    """One source. DELETE takes nothing from it any more; what it delivered stays."""

    access = reading("source.view", PATCH="source.write", DELETE="source.write")
    queryset = Source.objects.present()
    serializer_class = SourceSerializer

    @extend_schema(request=SourceChangeSerializer, responses=SourceSerializer)
    def patch(self, request: Request, pk: str) -> Response:
        asked = SourceChangeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            source = sources.change(self.get_object(), by=request.user, **asked.validated_data)
        except Malformed as error:
            raise _invalid(error) from None
        except sources.NameTaken as error:
            raise Conflict(str(error)) from None
        return Response(SourceSerializer(source).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: str) -> Response:
        sources.delete(self.get_object(), by=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class SourceSecret(IdempotentPosts, generics.GenericAPIView[Source]):
    """A new secret for a source; the old one ends at once."""

    access = writing("source.write")
    queryset = Source.objects.present()
    serializer_class = SourceWithSecretSerializer
    secret_fields = ("secret", "url")

    @extend_schema(request=None, responses=SourceWithSecretSerializer)
    def post(self, request: Request, pk: str) -> Response:
        source, secret = sources.rotate(self.get_object(), by=request.user)
        return Response(_with_secret(source, secret))


class PreviewSerializer(serializers.Serializer[Any]):
    document = serializers.JSONField(help_text="What the sender would post.")
    config = serializers.DictField(
        required=False, help_text="A configuration to try instead of the source's own."
    )


class PreviewedAlertSerializer(serializers.Serializer[Any]):
    fingerprint = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    status = serializers.CharField()
    severity = serializers.CharField()
    service = serializers.CharField()
    labels = serializers.DictField(child=serializers.CharField())
    annotations = serializers.DictField(child=serializers.CharField())
    url = serializers.CharField()
    starts_at = serializers.CharField(allow_null=True)
    ends_at = serializers.CharField(allow_null=True)


class PreviewedSerializer(serializers.Serializer[Any]):
    alerts = PreviewedAlertSerializer(many=True)
    truncated = serializers.IntegerField()


class SourcePreview(generics.GenericAPIView[Source]):
    """What a source would make of a document. Nothing is stored."""

    access = writing("source.view")
    queryset = Source.objects.present()
    serializer_class = PreviewSerializer

    @extend_schema(request=PreviewSerializer, responses=PreviewedSerializer)
    def post(self, request: Request, pk: str) -> Response:
        source = self.get_object()
        asked = PreviewSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        config = asked.validated_data.get("config", source.config)
        try:
            # As intake reads it: the request's own JSON may hold what no alert may.
            document = payloads.document_of(json.dumps(asked.validated_data["document"]))
            batch = payloads.parse(source.kind, document, config=config, at=now())
        except Malformed as error:
            raise _invalid(error) from None
        alerts = [_previewed(alert) for alert in batch.alerts]
        return Response({"alerts": alerts, "truncated": batch.truncated})


class DeadLetterSerializer(serializers.ModelSerializer[DeadLetter]):
    class Meta:
        model = DeadLetter
        fields = (
            "id",
            "source",
            "state",
            "field",
            "reason",
            "count",
            "received_at",
            "last_received_at",
            "body",
            "delivery",
        )
        read_only_fields = fields


class DeadLetters(generics.ListAPIView[DeadLetter]):
    """Bodies that were JSON but not their source's format, with the reason."""

    access = reading("source.view")
    serializer_class = DeadLetterSerializer
    filterset_fields = ("source", "state")

    def get_queryset(self) -> QuerySet[DeadLetter]:
        return DeadLetter.objects.all()


class DeadLetterDetail(generics.RetrieveAPIView[DeadLetter]):
    access = reading("source.view")
    queryset = DeadLetter.objects.all()
    serializer_class = DeadLetterSerializer


class RequeuedDeadLetter(IdempotentPosts, generics.GenericAPIView[DeadLetter]):
    """Another chance for a body, with the source's format as it is read today."""

    access = writing("deadletter.write")
    queryset = DeadLetter.objects.all()
    serializer_class = DeadLetterSerializer

    @extend_schema(request=None, responses=DeadLetterSerializer)
    def post(self, request: Request, pk: int) -> Response:
        try:
            letter = deadletters.requeue(self.get_object(), by=request.user)
        except Malformed as error:
            raise Conflict(f"The body is still not in the source's format: {error}") from None
        return Response(DeadLetterSerializer(letter).data)


def _with_secret(source: Source, secret: str) -> dict[str, Any]:
    return {
        **SourceSerializer(source).data,
        "url": sources.url_of(source, secret),
        "secret": secret,
    }


def _previewed(alert: AlertIn) -> dict[str, Any]:
    return {
        "fingerprint": alert.fingerprint,
        "title": alert.title,
        "description": alert.description,
        "status": alert.status,
        "severity": alert.severity,
        "service": alert.service,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "url": alert.url,
        "starts_at": instant(alert.starts_at),
        "ends_at": instant(alert.ends_at),
    }


def _invalid(error: Malformed) -> ValidationError:
    return ValidationError({error.field: [error.reason]})
