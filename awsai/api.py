from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from awsai import services
from awsai.ledger import call_record
from awsai.models import AwsCall
from incidentops.access.permissions import reading


class TokensSerializer(serializers.Serializer[Any]):
    input = serializers.IntegerField(help_text="Without what came from or went to a cache.")
    output = serializers.IntegerField()
    cache_read = serializers.IntegerField()
    cache_write = serializers.IntegerField()
    cache_write_5m = serializers.IntegerField()
    cache_write_1h = serializers.IntegerField()


class AttemptSerializer(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    http_status = serializers.IntegerField(allow_null=True, help_text="Null: no answer came.")
    error = serializers.CharField()
    latency_ms = serializers.IntegerField()
    request_id = serializers.CharField()


class CallSerializer(serializers.Serializer[AwsCall]):
    """One call, as billed. `id` is its place in the ledger; money is null where no price is known."""

    id = serializers.IntegerField()
    request_id = serializers.CharField()
    service = serializers.CharField()
    operation = serializers.CharField()
    provider = serializers.CharField()
    region = serializers.CharField()
    model_requested = serializers.CharField()
    model_invoked = serializers.CharField()
    incident = serializers.IntegerField(allow_null=True)
    agent = serializers.CharField()
    route_decision = serializers.IntegerField(allow_null=True)
    outcome = serializers.CharField()
    error_code = serializers.CharField()
    stop_reason = serializers.CharField()
    attempts = serializers.IntegerField()
    attempt_log = AttemptSerializer(many=True)
    tokens = TokensSerializer()
    units = serializers.DictField(child=serializers.IntegerField())
    usage_confidence = serializers.CharField()
    nano_usd = serializers.IntegerField(allow_null=True)
    list_price_nano_usd = serializers.IntegerField(allow_null=True)
    price_version = serializers.CharField()
    price_confidence = serializers.CharField()
    latency_ms = serializers.IntegerField(allow_null=True)
    first_token_ms = serializers.IntegerField(allow_null=True)
    started_at = serializers.DateTimeField()

    def to_representation(self, instance: AwsCall) -> dict[str, Any]:
        return call_record(instance)


class FiguresSerializer(serializers.Serializer[Any]):
    calls = serializers.IntegerField()
    failures = serializers.IntegerField()
    unpriced = serializers.IntegerField(help_text="Calls whose price is not known: in no sum.")
    nano_usd = serializers.IntegerField(help_text="What was billed.")
    list_price_nano_usd = serializers.IntegerField(
        help_text="What AWS would have charged for the same calls."
    )
    latency_ms = serializers.FloatField(allow_null=True, help_text="Mean over the calls.")
    latency_ms_reason = serializers.CharField(help_text="Why there is no latency.")
    last_call_at = serializers.DateTimeField(allow_null=True)


class SummarySerializer(FiguresSerializer):
    configured_provider = serializers.CharField()
    by_provider = serializers.DictField(child=serializers.IntegerField())


class AiServiceSerializer(FiguresSerializer):
    service = serializers.CharField()
    title = serializers.CharField()
    provider = serializers.CharField(help_text="Who served its calls, or `not called`.")


class PriceSerializer(serializers.Serializer[Any]):
    sku = serializers.CharField()
    meter = serializers.CharField()
    amount_usd = serializers.CharField()
    unit_size = serializers.IntegerField()
    tier = serializers.CharField()
    effective_from = serializers.DateField()
    source = serializers.CharField()  # type: ignore[assignment]  # a column of that name, not the field option
    confidence = serializers.CharField()


class CallFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    incident = django_filters.NumberFilter(field_name="incident_number")
    since = django_filters.IsoDateTimeFilter(field_name="started_at", lookup_expr="gte")

    class Meta:
        model = AwsCall
        fields = ("service", "operation", "provider", "agent", "outcome")


class Calls(generics.ListAPIView[AwsCall]):
    """The ledger, newest first."""

    access = reading("ledger.view")
    serializer_class = CallSerializer
    filterset_class = CallFilter

    def get_queryset(self) -> QuerySet[AwsCall]:
        return AwsCall.objects.order_by("-sequence")


class SummaryView(APIView):
    """All calls, or with `?incident=` those of one incident, added up."""

    access = reading("dashboard.view")

    @extend_schema(responses=SummarySerializer)
    def get(self, request: Request) -> Response:
        calls = AwsCall.objects.all()
        if text := request.query_params.get("incident"):
            calls = calls.of_incident(_number(text))
        return Response(SummarySerializer(services.summary(calls)).data)


class Services(APIView):
    """The AI services the product can use and what was asked of each so far."""

    access = reading("dashboard.view")

    @extend_schema(responses=AiServiceSerializer(many=True))
    def get(self, request: Request) -> Response:
        return Response(AiServiceSerializer(services.services(), many=True).data)


class Prices(APIView):
    """The prices by which calls are billed: none is loaded, so no call can have been billed."""

    access = reading("dashboard.view")

    @extend_schema(responses=PriceSerializer(many=True))
    def get(self, request: Request) -> Response:
        return Response([])


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise serializers.ValidationError({"incident": "Must be an incident's number."})
    return int(text)
