from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from incidentops.access.permissions import reading
from metrics import kpis
from metrics.windows import InvalidWindow


class QualitySerializer(serializers.Serializer[Any]):
    share = serializers.FloatField(
        allow_null=True, help_text="Share of the facts behind the number that are sound."
    )
    missing = serializers.IntegerField(help_text="Incidents left out because a stamp is missing.")
    clamped = serializers.IntegerField(help_text="Incidents whose stamps are out of order.")
    flags = serializers.ListField(child=serializers.CharField())


class KpiSerializer(serializers.Serializer[Any]):
    value = serializers.FloatField(allow_null=True, help_text="null: not known, see `reason`.")
    low = serializers.FloatField(allow_null=True, help_text="Lower end of the 95 % interval.")
    high = serializers.FloatField(allow_null=True)
    n = serializers.IntegerField(help_text="Observations the value rests on.")
    unit = serializers.CharField(help_text="`seconds`, `incidents`, `ratio` or `USD`.")
    method = serializers.CharField(help_text="The estimate and how its interval was had.")
    definition = serializers.CharField()
    previous = serializers.FloatField(
        allow_null=True, help_text="The value in the window of equal length just before."
    )
    previous_n = serializers.IntegerField()
    change = serializers.FloatField(
        allow_null=True, help_text="`value` - `previous`, in the same unit."
    )
    change_low = serializers.FloatField(allow_null=True)
    change_high = serializers.FloatField(allow_null=True)
    quality = QualitySerializer()
    reason = serializers.CharField(help_text="Why something is null; else empty.")


class WindowSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    origin = serializers.ChoiceField(choices=kpis.ORIGINS)
    to = serializers.DateTimeField(help_text="Exclusive.")
    previous_from = serializers.DateTimeField()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # "from" cannot be the name of an attribute.
        return {**super().get_fields(), "from": serializers.DateTimeField(help_text="Inclusive.")}


_KpiByName = type(
    "KpiByNameSerializer",
    (serializers.Serializer,),
    {name: KpiSerializer() for name in kpis.NAMES},
)


class KpisSerializer(serializers.Serializer[Any]):
    window = WindowSerializer()
    kpis = _KpiByName()


class KpisView(APIView):
    """Every indicator with its interval, sample, method and definition."""

    access = reading("kpi.view")

    @extend_schema(
        operation_id="kpis",
        parameters=[
            OpenApiParameter(
                "window", str, default="7d", description='Days or hours: "7d", "24h".'
            ),
            OpenApiParameter("origin", str, default="live", enum=kpis.ORIGINS),
        ],
        responses=KpisSerializer,
    )
    def get(self, request: Request) -> Response:
        window = request.query_params.get("window", "7d")
        origin = request.query_params.get("origin", "live")
        try:
            return Response(kpis.compute(window, origin))
        except InvalidWindow as error:
            raise ValidationError({"window": [str(error)]}) from error
        except kpis.UnknownOrigin as error:
            raise ValidationError({"origin": [str(error)]}) from error
