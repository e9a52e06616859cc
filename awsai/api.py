"""REST: the ledger, the services behind it, prices, budgets, routes, models and the knowledge."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from io import BytesIO
from typing import IO, Any, TypeVar

import django_filters
from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.db.models.functions import Length
from django.shortcuts import get_object_or_404
from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from awsai import budgets, documents, health, payloads, services, telemetry
from awsai.gateway import Asker
from awsai.ledger import call_record
from awsai.models import (
    AwsCall,
    Budget,
    BudgetUse,
    CatalogueModel,
    Knowledge,
    KnowledgeKind,
    PriceRate,
    RouteDecision,
    RouteOutcome,
)
from awsai.models.budgets import BudgetScope
from awsai.models.prices import PriceStatus
from awsai.ports import CallFailed, Trouble
from incidentops.access.permissions import permissions_of, reading
from incidentops.rest.pagination import NewestFirst
from incidentops.rest.parsers import JSONParser
from incidentops.rest.uploads import MOST_BYTES, BoundedUploads, TooLarge


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
    nano_usd = serializers.IntegerField(
        allow_null=True, help_text="What was billed; null: no price is known."
    )
    list_price_nano_usd = serializers.IntegerField(
        allow_null=True, help_text="What AWS would have charged for the same calls; null: likewise."
    )
    latency_ms = serializers.FloatField(allow_null=True, help_text="Mean over the calls.")
    latency_ms_reason = serializers.CharField(help_text="Why there is no latency.")
    last_call_at = serializers.DateTimeField(allow_null=True)


class SummarySerializer(FiguresSerializer):
    configured_provider = serializers.CharField()
    by_provider = serializers.DictField(child=serializers.IntegerField())


# --- Services ----------------------------------------------------------------------------------


class SuccessRateSerializer(serializers.Serializer[Any]):
    """With Wilson's 95 % interval. Calls refused as wrong or stopped by a guard are not in `n`."""

    value = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    n = serializers.IntegerField()


class LatencySerializer(serializers.Serializer[Any]):
    """Percentiles within 2.5 %."""

    n = serializers.IntegerField()
    p50_ms = serializers.IntegerField(allow_null=True)
    p95_ms = serializers.IntegerField(allow_null=True)
    p99_ms = serializers.IntegerField(allow_null=True)


class ServiceWindowSerializer(serializers.Serializer[Any]):
    calls = serializers.IntegerField()
    failures = serializers.IntegerField()
    by_outcome = serializers.DictField(child=serializers.IntegerField())
    success_rate = SuccessRateSerializer()
    latency = LatencySerializer()
    tokens = TokensSerializer()
    nano_usd = serializers.IntegerField(allow_null=True)
    list_price_nano_usd = serializers.IntegerField(allow_null=True)
    unpriced = serializers.IntegerField()


class LastErrorSerializer(serializers.Serializer[Any]):
    call = serializers.IntegerField(help_text="Its place in the ledger.")
    outcome = serializers.CharField()
    code = serializers.CharField()
    operation = serializers.CharField()
    model = serializers.CharField()
    at = serializers.DateTimeField()


class BreakerSerializer(serializers.Serializer[Any]):
    model = serializers.CharField()
    region = serializers.CharField()
    state = serializers.CharField()
    reason = serializers.CharField()


class StandingSerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=[state.value for state in health.OnboardingState])
    reason = serializers.CharField()
    missing = serializers.ListField(
        child=serializers.CharField(), help_text="Variables without which it is not asked."
    )


class LivesSerializer(serializers.Serializer[Any]):
    models = serializers.IntegerField()
    usable = serializers.IntegerField(help_text="Not at their end, and not denied to the account.")
    warnings = serializers.ListField(child=serializers.CharField())


class AiServiceSerializer(FiguresSerializer):
    service = serializers.CharField()
    title = serializers.CharField()
    provider = serializers.CharField(help_text="Who served its calls, or `not called`.")
    last_error = LastErrorSerializer(allow_null=True)
    breaker = serializers.CharField(
        help_text="The worst of its breakers: closed, limited, half_open, open, or unknown."
    )
    breakers = BreakerSerializer(many=True, help_text="Those that are not closed.")
    onboarding = StandingSerializer()
    lifecycle = LivesSerializer()
    last_24_hours = ServiceWindowSerializer()
    all_time = ServiceWindowSerializer()


class SpanSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    kind = serializers.CharField()
    start_time = serializers.DateTimeField()
    duration_ms = serializers.IntegerField(allow_null=True)
    attributes = serializers.DictField()


class CallFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    incident = django_filters.NumberFilter(field_name="incident_number")
    since = django_filters.IsoDateTimeFilter(field_name="started_at", lookup_expr="gte")

    class Meta:
        model = AwsCall
        fields = ("service", "operation", "provider", "agent", "outcome")


R = TypeVar("R", AwsCall, RouteDecision)


def _readable(rows: QuerySet[R], request: Request) -> QuerySet[R]:
    """All rows to readers of the ledger; else those that the pages of incidents show as well."""
    if "ledger.view" in permissions_of(request):
        return rows
    return rows.filter(incident_number__isnull=False)


class Calls(generics.ListAPIView[AwsCall]):
    """The ledger, newest first; without `ledger.view` the calls about incidents."""

    access = reading("incident.view")
    serializer_class = CallSerializer
    filterset_class = CallFilter

    def get_queryset(self) -> QuerySet[AwsCall]:
        return _readable(AwsCall.objects.order_by("-sequence"), self.request)


class WordsSerializer(serializers.Serializer[Any]):
    words = serializers.CharField()


class CallWords(APIView):
    """The words of a call, where this installation keeps them. Each reading is audited."""

    access = reading("audit.view")

    @extend_schema(responses=WordsSerializer)
    def get(self, request: Request, sequence: int) -> Response:
        call = get_object_or_404(AwsCall, sequence=sequence)
        try:
            return Response({"words": payloads.read(call, by=request.user)})
        except payloads.NotKept as error:
            raise NotFound(str(error)) from None


class CallSpan(APIView):
    """A call of the ledger as OpenTelemetry's conventions for generative AI name its facts."""

    access = reading("incident.view")

    @extend_schema(responses=SpanSerializer)
    def get(self, request: Request, sequence: int) -> Response:
        call = get_object_or_404(_readable(AwsCall.objects.all(), request), sequence=sequence)
        return Response(telemetry.span(call_record(call)))


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
    """The AI services the product can use, how they are and what was asked of each so far.

    The figures beside the windows are those of all time. The local provider has a row of its own.
    """

    access = reading("dashboard.view")

    @extend_schema(responses=AiServiceSerializer(many=True))
    def get(self, request: Request) -> Response:
        return Response(AiServiceSerializer(health.facts(), many=True).data)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise serializers.ValidationError({"incident": "Must be an incident's number."})
    return int(text)


# --- Prices ------------------------------------------------------------------------------------


class PriceSerializer(serializers.ModelSerializer[PriceRate]):
    """What `unit_size` units of a meter cost."""

    amount_usd = serializers.SerializerMethodField()
    source = serializers.CharField(source="source_url")  # type: ignore[assignment]  # a column of that name, not the field option
    version = serializers.CharField(source="version.label")

    class Meta:
        model = PriceRate
        fields = (
            "sku",
            "meter",
            "amount_usd",
            "unit_size",
            "tier",
            "effective_from",
            "effective_to",
            "source",
            "confidence",
            "region",
            "scope",
            "min_input_tokens",
            "version",
        )

    def get_amount_usd(self, rate: PriceRate) -> str:
        return f"{rate.amount.normalize():f}"


class PriceFilter(django_filters.FilterSet):  # type: ignore[misc]  # as above
    class Meta:
        model = PriceRate
        fields = ("service", "sku", "meter", "scope", "region", "tier")


class Prices(generics.ListAPIView[PriceRate]):
    """The list in force, whole: by it calls are billed. Empty when no list is."""

    access = reading("dashboard.view")
    serializer_class = PriceSerializer
    filterset_class = PriceFilter
    pagination_class = None

    def get_queryset(self) -> QuerySet[PriceRate]:
        rates = PriceRate.objects.filter(version__status=PriceStatus.ACTIVE)
        return rates.select_related("version").order_by(*PriceRate.key, "effective_from")


# --- Budgets -----------------------------------------------------------------------------------


class BudgetChangeSerializer(serializers.Serializer[Any]):
    scope = serializers.ChoiceField(choices=BudgetScope.choices)
    limit_nano_usd = serializers.IntegerField(min_value=0, max_value=10**18)
    note = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)


class BudgetHistorySerializer(serializers.ModelSerializer[Budget]):
    class Meta:
        model = Budget
        fields = ("limit_nano_usd", "set_by", "set_at", "note")
        read_only_fields = fields


class BudgetSerializer(serializers.Serializer[Any]):
    """`day` and `critical` tell what is used today (UTC); incidents and runs have each their own."""

    scope = serializers.ChoiceField(choices=BudgetScope.choices)
    limit_nano_usd = serializers.IntegerField(allow_null=True, help_text="Null: no limit.")
    spent_nano_usd = serializers.IntegerField(allow_null=True)
    reserved_nano_usd = serializers.IntegerField(allow_null=True)
    history = BudgetHistorySerializer(many=True, help_text="The newest 20 settings, newest first.")


_HISTORY = 20
_BY_DAY = (BudgetScope.DAY, BudgetScope.CRITICAL)


class Budgets(APIView):
    """What may be spent, at list prices, and what is. Setting a limit is audited."""

    access = reading("dashboard.view", PUT="budget.write")

    @extend_schema(responses=BudgetSerializer(many=True))
    def get(self, request: Request) -> Response:
        return Response([_budget(scope) for scope in BudgetScope])

    @extend_schema(request=BudgetChangeSerializer, responses=BudgetSerializer)
    def put(self, request: Request) -> Response:
        asked = BudgetChangeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        scope = BudgetScope(asked.validated_data["scope"])
        budgets.set_limit(
            scope,
            asked.validated_data["limit_nano_usd"],
            by=request.user,
            note=asked.validated_data["note"],
        )
        return Response(_budget(scope))


def _budget(scope: BudgetScope) -> dict[str, Any]:
    history = Budget.objects.filter(scope=scope).order_by("-pk")[:_HISTORY]
    spent, reserved = _used_today(scope) if scope in _BY_DAY else (None, None)
    return {
        "scope": scope,
        "limit_nano_usd": budgets.limits().get(scope),
        "spent_nano_usd": spent,
        "reserved_nano_usd": reserved,
        "history": BudgetHistorySerializer(history, many=True).data,
    }


def _used_today(scope: BudgetScope) -> tuple[int, int]:
    use = BudgetUse.objects.filter(scope=scope, key=now().date().isoformat()).first()
    return (use.spent, use.reserved) if use else (0, 0)


# --- Routes ------------------------------------------------------------------------------------


class RouteOutcomeSerializer(serializers.ModelSerializer[RouteOutcome]):
    class Meta:
        model = RouteOutcome
        fields = ("model", "kind", "is_good", "at")
        read_only_fields = fields


class RouteSerializer(serializers.ModelSerializer[RouteDecision]):
    """A choice of models with all candidates: those in `order` are asked in turn."""

    incident = serializers.IntegerField(source="incident_number", allow_null=True)
    run = serializers.CharField(source="run_ref")
    candidates = serializers.ListField(child=serializers.DictField())
    residency = serializers.DictField()
    weights = serializers.DictField(child=serializers.FloatField())
    outcomes = RouteOutcomeSerializer(many=True)

    class Meta:
        model = RouteDecision
        fields = (
            "id",
            "at",
            "task",
            "severity",
            "level",
            "incident",
            "run",
            "input_tokens",
            "max_tokens",
            "residency",
            "weights",
            "price_version",
            "candidates",
            "chosen",
            "chosen_region",
            "top",
            "top_region",
            "reason",
            "outcomes",
        )
        read_only_fields = fields


class RouteFilter(django_filters.FilterSet):  # type: ignore[misc]  # as above
    incident = django_filters.NumberFilter(field_name="incident_number")

    class Meta:
        model = RouteDecision
        fields = ("task", "chosen", "level")


class Routes(generics.ListAPIView[RouteDecision]):
    """Which models were chosen, from which candidates and why, and how their answers turned out.

    Without `ledger.view` the choices for incidents.
    """

    access = reading("incident.view")
    serializer_class = RouteSerializer
    filterset_class = RouteFilter

    def get_queryset(self) -> QuerySet[RouteDecision]:
        decisions = RouteDecision.objects.select_related("considered")
        return _readable(decisions.prefetch_related("outcomes"), self.request)


# --- Models ------------------------------------------------------------------------------------


class ModelSerializer(serializers.ModelSerializer[CatalogueModel]):
    lifecycle = serializers.SerializerMethodField()
    ending_soon = serializers.SerializerMethodField(help_text="It ends within 60 days.")
    regions = serializers.ListField(child=serializers.CharField(), help_text="Empty: not known.")
    capabilities = serializers.DictField(
        child=serializers.BooleanField(allow_null=True), help_text="Null: not known."
    )

    class Meta:
        model = CatalogueModel
        fields = (
            "model_id",
            "name",
            "provider_name",
            "family",
            "service",
            "base_id",
            "scope",
            "regions",
            "capabilities",
            "context_tokens",
            "max_output",
            "lifecycle",
            "eol_at",
            "ending_soon",
            "onboarding",
            "synced_at",
            "source",
        )
        read_only_fields = fields

    def get_lifecycle(self, model: CatalogueModel) -> str:
        return model.lifecycle_at(now())

    def get_ending_soon(self, model: CatalogueModel) -> bool:
        return health.is_ending_soon(model, now())


class ModelFilter(django_filters.FilterSet):  # type: ignore[misc]  # as above
    class Meta:
        model = CatalogueModel
        fields = ("service", "family", "scope", "onboarding")


class ById(NewestFirst):
    ordering = "model_id"


class Models(generics.ListAPIView[CatalogueModel]):
    """The catalogue: every model under every id by which it can be called."""

    access = reading("dashboard.view")
    serializer_class = ModelSerializer
    filterset_class = ModelFilter
    pagination_class = ById
    queryset = CatalogueModel.objects.all()


# --- Knowledge ---------------------------------------------------------------------------------

_MAY_PASS = (Trouble.THROTTLED, Trouble.TIMEOUT, Trouble.UNAVAILABLE, Trouble.BROKEN)


class Unreadable(ValidationError):
    """The request is right, but its document cannot be read."""

    status_code = HTTPStatus.UNPROCESSABLE_ENTITY


class ReaderAway(APIException):
    """Who could read the document gives no answer now."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_code = "reader_away"


class BoundedJson(BaseParser):
    """Not a `JSONParser`: those are given no more than Django keeps in memory."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        raw = stream.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise TooLarge("text")
        return JSONParser().parse(BytesIO(raw), media_type, parser_context)


class KnowledgeSerializer(serializers.ModelSerializer[Knowledge]):
    characters = serializers.IntegerField()

    class Meta:
        model = Knowledge
        fields: tuple[str, ...] = (
            "id",
            "kind",
            "ref",
            "title",
            "uri",
            "version",
            "characters",
            "learnt_at",
        )
        read_only_fields = fields


class KnowledgeTextSerializer(KnowledgeSerializer):
    class Meta(KnowledgeSerializer.Meta):
        fields = (*KnowledgeSerializer.Meta.fields, "text")
        read_only_fields = fields


class NewKnowledgeSerializer(serializers.Serializer[Any]):
    """Either `text`, or a `file` in a form. The same `kind` and `ref` replace what was there."""

    kind = serializers.ChoiceField(choices=KnowledgeKind.choices)
    ref = serializers.CharField(max_length=200, help_text="Its name where it comes from.")
    title = serializers.CharField(
        max_length=300, required=False, help_text="Default: the name of the file, else `ref`."
    )
    uri = serializers.CharField(max_length=1000, required=False, default="", allow_blank=True)
    text = serializers.CharField(required=False)
    file = serializers.FileField(required=False)

    def validate(self, fields: dict[str, Any]) -> dict[str, Any]:
        if ("text" in fields) == ("file" in fields):
            raise ValidationError({"text": ["Either a text or a file."]})
        return fields


class KnowledgeFilter(django_filters.FilterSet):  # type: ignore[misc]  # as above
    class Meta:
        model = Knowledge
        fields = ("kind", "ref")


class KnowledgeList(BoundedUploads, generics.ListAPIView[Knowledge]):
    """What this installation can look things up in.

    Learning is idempotent by `kind` and `ref`, so that a POST takes no key; reading a document may
    need Textract, which is not asked inside a transaction.
    """

    access = reading("inventory.view", POST="incident.respond")
    parser_classes = [BoundedJson, MultiPartParser]
    serializer_class = KnowledgeSerializer
    filterset_class = KnowledgeFilter

    def get_queryset(self) -> QuerySet[Knowledge]:
        return _with_length(Knowledge.objects.defer("text"))

    @extend_schema(
        request={
            "application/json": NewKnowledgeSerializer,
            "multipart/form-data": NewKnowledgeSerializer,
        },
        responses={200: KnowledgeSerializer, 201: KnowledgeSerializer},
    )
    def post(self, request: Request) -> Response:
        asked = NewKnowledgeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        file: UploadedFile[bytes] | None = told.get("file")
        row, is_new = documents.learn(
            KnowledgeKind(told["kind"]),
            told["ref"],
            title=told.get("title") or (file.name if file else None) or told["ref"],
            text=told["text"] if file is None else _text_of(file),
            uri=told["uri"],
            by=request.user,
        )
        row = self.get_queryset().get(pk=row.pk)
        created = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(KnowledgeSerializer(row).data, status=created)


class KnowledgeDetail(generics.RetrieveAPIView[Knowledge]):
    """One document with its text. DELETE forgets it."""

    access = reading("inventory.view", DELETE="incident.respond")
    serializer_class = KnowledgeTextSerializer

    def get_queryset(self) -> QuerySet[Knowledge]:
        return _with_length(Knowledge.objects.all())

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        documents.forget(self.get_object(), by=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _with_length(rows: QuerySet[Knowledge]) -> QuerySet[Knowledge]:
    return rows.annotate(characters=Length("text"))


def _text_of(file: UploadedFile[bytes]) -> str:
    if (file.size or 0) > MOST_BYTES:
        raise TooLarge
    try:
        return documents.read(
            file.read(), media_type=file.content_type or "", name=file.name or "", asker=Asker()
        ).text
    except CallFailed as failed:
        if failed.trouble in _MAY_PASS:
            raise ReaderAway(f"The document cannot be read now: {failed}") from failed
        raise Unreadable({"file": [str(failed)]}) from failed
