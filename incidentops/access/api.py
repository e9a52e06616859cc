from __future__ import annotations

from datetime import timedelta
from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from incidentops.access import tokens
from incidentops.access.models import ApiToken, AuditEntry
from incidentops.access.permissions import RolePermission, reading
from incidentops.access.roles import Role
from incidentops.rest.idempotency import IdempotentPosts
from incidentops.rest.problems import Conflict


class Schema(SpectacularAPIView):
    """This description of the API, as OpenAPI."""

    access = reading("dashboard.view")
    permission_classes = [RolePermission]


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    class Meta:
        model = ApiToken
        fields = (
            "id",
            "name",
            "role",
            "prefix",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        )
        read_only_fields = fields


class NewTokenSerializer(serializers.Serializer[Any]):
    name = serializers.RegexField(r"^[\w.@+-]+$", max_length=80)
    role = serializers.ChoiceField(choices=[role.value for role in Role])
    expires_days = serializers.IntegerField(
        min_value=1, max_value=3650, default=tokens.LIFETIME.days
    )


class CreatedTokenSerializer(TokenSerializer):
    token = serializers.CharField(
        allow_null=True, help_text="The secret. Shown once: null when the request is repeated."
    )

    class Meta:
        model = ApiToken
        fields = (*TokenSerializer.Meta.fields, "token")
        read_only_fields = fields


class Tokens(IdempotentPosts, generics.ListAPIView[ApiToken]):
    """API tokens, revoked ones included; a new one's secret is shown once."""

    access = reading("token.view", POST="token.write")
    queryset = ApiToken.objects.all()
    serializer_class = TokenSerializer
    secret_fields = ("token",)

    @extend_schema(request=NewTokenSerializer, responses={201: CreatedTokenSerializer})
    def post(self, request: Request) -> Response:
        asked = NewTokenSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            token, text = tokens.create(
                asked.validated_data["name"],
                Role(asked.validated_data["role"]),
                timedelta(days=asked.validated_data["expires_days"]),
                by=request.user,
            )
        except tokens.NameTaken as error:
            raise Conflict(str(error)) from None
        data = {**TokenSerializer(token).data, "token": text}
        return Response(data, status=status.HTTP_201_CREATED)


class Token(generics.RetrieveDestroyAPIView[ApiToken]):
    """One token. DELETE revokes it and closes its sockets; the row stays for the record."""

    access = reading("token.view", DELETE="token.write")
    queryset = ApiToken.objects.all()
    serializer_class = TokenSerializer

    def perform_destroy(self, instance: ApiToken) -> None:
        tokens.revoke(instance, self.request.user)


class AuditFilter(django_filters.FilterSet):  # type: ignore[misc]  # django-filter has no types
    class Meta:
        model = AuditEntry
        fields = ("actor", "action", "target")


class AuditSerializer(serializers.ModelSerializer[AuditEntry]):
    class Meta:
        model = AuditEntry
        fields = (
            "sequence",
            "at",
            "actor",
            "action",
            "target",
            "detail",
            "previous_hash",
            "hash",
        )


class AuditEntries(generics.ListAPIView[AuditEntry]):
    """Who changed what, newest first, with the hashes by which it can be checked."""

    access = reading("audit.view")
    serializer_class = AuditSerializer
    filterset_class = AuditFilter

    def get_queryset(self) -> QuerySet[AuditEntry]:
        return AuditEntry.objects.order_by("-sequence")
