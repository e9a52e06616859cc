from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents import approvals, swarm
from agents.models import Approval
from agents.record import agent_states, approval_row, response_record
from incidentops.access.permissions import reading, writing
from incidentops.incidents.models import Incident
from incidentops.rest.idempotency import IdempotentPosts
from incidentops.rest.problems import Conflict


class CostSerializer(serializers.Serializer[Any]):
    nano_usd = serializers.IntegerField(allow_null=True, help_text="Null: no price is known.")
    list_price_nano_usd = serializers.IntegerField(allow_null=True)
    calls = serializers.IntegerField()
    unpriced = serializers.IntegerField(help_text="Calls whose price is not known: in no sum.")


class ResponseSerializer(serializers.Serializer[Any]):
    """The response to an incident, for the description of the API."""

    incident = serializers.IntegerField()
    cycle = serializers.IntegerField(allow_null=True)
    cycles = serializers.ListField(child=serializers.DictField())
    phase = serializers.CharField(allow_null=True)
    state = serializers.CharField(allow_null=True)
    reason = serializers.CharField()
    version = serializers.IntegerField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    phases = serializers.ListField(child=serializers.DictField())
    runs = serializers.ListField(child=serializers.DictField())
    evidence = serializers.ListField(child=serializers.DictField())
    candidates = serializers.ListField(child=serializers.DictField())
    ballots = serializers.ListField(child=serializers.DictField())
    equivocations = serializers.ListField(child=serializers.DictField())
    decision = serializers.DictField(allow_null=True)
    approvals = serializers.ListField(child=serializers.DictField())
    actions = serializers.ListField(child=serializers.DictField())
    cost = CostSerializer()


class IncidentResponse(APIView):
    """The swarm's response to an incident: phases, findings, evidence, ballots, decision, cost."""

    access = reading("incident.view")

    @extend_schema(responses=ResponseSerializer)
    def get(self, request: Request, number: int) -> Response:
        return Response(response_record(get_object_or_404(Incident, pk=number)))


class Requeue(IdempotentPosts, APIView):
    """Give the phase that failed for good another set of attempts."""

    access = writing("incident.respond")

    @extend_schema(request=None, responses=ResponseSerializer)
    def post(self, request: Request, number: int) -> Response:
        incident = get_object_or_404(Incident, pk=number)
        try:
            swarm.requeue(number, by=request.user)
        except swarm.NotDead as error:
            raise Conflict(str(error)) from None
        return Response(response_record(incident))


class AgentSerializer(serializers.Serializer[Any]):
    agent = serializers.CharField()
    state = serializers.CharField()
    incident = serializers.IntegerField(allow_null=True)
    phase = serializers.CharField(allow_null=True)
    at = serializers.DateTimeField(allow_null=True)


class Agents(APIView):
    """What every agent is doing now."""

    access = reading("dashboard.view")

    @extend_schema(responses=AgentSerializer(many=True))
    def get(self, request: Request) -> Response:
        return Response(agent_states())


class ApprovalSerializer(serializers.ModelSerializer[Approval]):
    incident = serializers.IntegerField(source="response.incident_id")
    voices = serializers.SerializerMethodField()

    class Meta:
        model = Approval
        fields = (
            "id",
            "incident",
            "state",
            "plan_digest",
            "plan",
            "required",
            "requested_at",
            "expires_at",
            "decided_at",
            "voices",
        )

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_voices(self, approval: Approval) -> list[dict[str, Any]]:
        voices: list[dict[str, Any]] = approval_row(approval)["voices"]
        return voices


class Approvals(generics.ListAPIView[Approval]):
    """Plans that wait, or waited, for people.

    Plans ask for approval when an executor could carry them out. None is installed: what the agents
    decide is handed to people as a recommendation, and this list stays empty.
    """

    access = reading("approval.view")
    serializer_class = ApprovalSerializer
    filterset_fields = ("state",)

    def get_queryset(self) -> QuerySet[Approval]:
        return Approval.objects.select_related("response").prefetch_related("voices")


class WordSerializer(serializers.Serializer[Any]):
    plan_digest = serializers.CharField(
        max_length=64, help_text="The digest of the plan that was shown to the person."
    )
    reason = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)


class _Speak(IdempotentPosts, APIView):
    access = writing("approval.decide")
    word = staticmethod(approvals.approve)

    @extend_schema(request=WordSerializer, responses=ApprovalSerializer)
    def post(self, request: Request, pk: int) -> Response:
        approval = get_object_or_404(Approval, pk=pk)
        asked = WordSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            approval = self.word(approval, by=request.user, **asked.validated_data)
        except approvals.Refused as refusal:
            raise Conflict(str(refusal)) from None
        return Response(approval_row(approval))


class Approve(_Speak):
    """Consent to the plan with this digest; 409 when another one was shown or it is decided."""


class Reject(_Speak):
    """Turn down the plan with this digest; 409 when another one was shown or it is decided."""

    word = staticmethod(approvals.reject)
