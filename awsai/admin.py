from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from awsai.models import AwsCall
from incidentops.access.permissions import permissions_of_user
from incidentops.review import ReadOnly


@admin.register(AwsCall)
class AwsCallAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """The ledger, to look at: its rows are never changed."""

    list_display = (
        "sequence",
        "started_at",
        "service",
        "operation",
        "provider",
        "agent",
        "incident_number",
        "outcome",
        "nano_usd",
        "latency_ms",
    )
    list_filter = ("service", "provider", "outcome")
    search_fields = ("request_id", "run_ref", "model_invoked")
    date_hierarchy = "started_at"
    ordering = ("-sequence",)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return "ledger.view" in permissions_of_user(request.user)
