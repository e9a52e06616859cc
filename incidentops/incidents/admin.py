"""Staff review what came in and what became of it. History is read; actions are the domain's own."""

from __future__ import annotations

import json
from collections.abc import Callable

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from incidentops.access.permissions import permissions_of_user
from incidentops.incidents import deadletters, lifecycle, sources
from incidentops.incidents.lifecycle import InvalidTransition
from incidentops.incidents.models import (
    Alert,
    Attachment,
    DeadLetter,
    Delivery,
    Incident,
    Question,
    Source,
    TimelineEntry,
)
from incidentops.incidents.payloads import Malformed
from incidentops.review import ReadOnly

AT_ONCE = 200


class History(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Read-only rows whose actions need the rights of their own."""

    list_per_page = 50

    def has_respond_permission(self, request: HttpRequest) -> bool:
        return "incident.respond" in permissions_of_user(request.user)

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        return "deadletter.write" in permissions_of_user(request.user)

    def has_switch_permission(self, request: HttpRequest) -> bool:
        return "source.write" in permissions_of_user(request.user)


class TimelineInline(admin.TabularInline):  # type: ignore[type-arg]  # not subscriptable at run time
    """The newest lines of the story."""

    model = TimelineEntry
    fields = readonly_fields = ("at", "kind", "actor", "text")
    ordering = ("-pk",)
    extra = 0
    max_num = 0
    can_delete = False
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[TimelineEntry]:
        rows = super().get_queryset(request)
        match = request.resolver_match
        number = match.kwargs.get("object_id") if match else None
        if number is None:
            return rows.none()
        newest = rows.filter(incident=number).order_by("-pk").values("pk")[:50]
        return rows.filter(pk__in=list(newest.values_list("pk", flat=True)))


@admin.register(Incident)
class IncidentAdmin(History):
    list_display = (
        "number",
        "title",
        "status",
        "severity",
        "service",
        "alert_count",
        "detected_at",
        "resolved_at",
        "assignee",
    )
    list_filter = ("status", "severity", "origin", "source")
    search_fields = ("=number", "title", "service")
    date_hierarchy = "detected_at"
    ordering = ("-number",)
    list_select_related = ("assignee",)
    readonly_fields = ("page",)
    inlines = (TimelineInline,)
    actions = ("acknowledge", "resolve", "close")

    @admin.display(description="page")
    def page(self, incident: Incident) -> str:
        url = reverse("incident", args=[incident.number])
        return format_html('<a href="{}">{}</a>', url, incident)

    @admin.action(description="Acknowledge", permissions=["respond"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        self._change_each(request, queryset, lifecycle.acknowledge)

    @admin.action(description="Resolve", permissions=["respond"])
    def resolve(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        self._change_each(request, queryset, lifecycle.resolve)

    @admin.action(description="Close", permissions=["respond"])
    def close(self, request: HttpRequest, queryset: QuerySet[Incident]) -> None:
        self._change_each(request, queryset, lifecycle.close)

    def _change_each(
        self, request: HttpRequest, queryset: QuerySet[Incident], change: Callable[..., Incident]
    ) -> None:
        changed = 0
        for incident in queryset.order_by("number")[:AT_ONCE]:
            try:
                change(incident, by=request.user)
                changed += 1
            except InvalidTransition as error:
                messages.warning(request, str(error))
        messages.info(request, f"{changed} incidents changed.")


@admin.register(Alert)
class AlertAdmin(History):
    list_display = (
        "id",
        "title",
        "status",
        "severity",
        "service",
        "source",
        "incident",
        "count",
        "received_at",
        "is_future_dated",
    )
    list_filter = ("status", "severity", "is_current", "source")
    search_fields = ("=fingerprint", "title", "service", "=incident__number")
    date_hierarchy = "received_at"
    ordering = ("-pk",)
    list_select_related = ("source", "incident")

    @admin.display(boolean=True, description="future-dated")
    def is_future_dated(self, alert: Alert) -> bool:
        return alert.is_future_dated


@admin.register(TimelineEntry)
class TimelineEntryAdmin(History):
    list_display = ("at", "incident", "kind", "actor", "text")
    list_filter = ("kind",)
    search_fields = ("=incident__number", "text", "actor")
    date_hierarchy = "at"
    ordering = ("-pk",)
    list_select_related = ("incident",)


@admin.register(Attachment)
class AttachmentAdmin(History):
    list_display = (
        "id",
        "incident",
        "name",
        "size",
        "state",
        "reason",
        "provider",
        "added_by",
        "added_at",
    )
    list_filter = ("state", "provider")
    search_fields = ("=id", "=incident__number", "name", "=sha256")
    date_hierarchy = "added_at"
    ordering = ("-pk",)
    list_select_related = ("incident",)
    exclude = ("content",)
    readonly_fields = ("file",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attachment]:
        rows = super().get_queryset(request).defer("content")
        match = request.resolver_match
        return rows if match and "object_id" in match.kwargs else rows.defer("content", "text")

    @admin.display(description="file")
    def file(self, attachment: Attachment) -> str:
        return format_html('<a href="{}">Download {}</a>', attachment.url, attachment.name)


@admin.register(Question)
class QuestionAdmin(History):
    list_display = (
        "id",
        "incident",
        "text",
        "state",
        "reason",
        "provider",
        "asked_by",
        "asked_at",
        "answered_at",
    )
    list_filter = ("state", "provider")
    search_fields = ("=id", "=incident__number", "text", "asked_by")
    date_hierarchy = "asked_at"
    ordering = ("-pk",)
    list_select_related = ("incident",)


@admin.register(Source)
class SourceAdmin(History):
    list_display = ("name", "kind", "is_enabled", "created_at", "last_delivery_at", "deleted_at")
    list_filter = ("kind", "is_enabled")
    search_fields = ("name", "=id")
    date_hierarchy = "created_at"
    ordering = ("name",)
    exclude = ("secret_digest", "config")
    readonly_fields = ("shown_config",)
    actions = ("enable", "disable")

    @admin.display(description="config")
    def shown_config(self, source: Source) -> str:
        return json.dumps(source.shown_config, ensure_ascii=False)

    @admin.action(description="Enable", permissions=["switch"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        self._switch(request, queryset, is_enabled=True)

    @admin.action(description="Disable", permissions=["switch"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        self._switch(request, queryset, is_enabled=False)

    def _switch(
        self, request: HttpRequest, queryset: QuerySet[Source], *, is_enabled: bool
    ) -> None:
        chosen = queryset.filter(deleted_at=None).exclude(is_enabled=is_enabled)[:AT_ONCE]
        switched = [
            sources.change(source, by=request.user, is_enabled=is_enabled) for source in chosen
        ]
        messages.info(request, f"{len(switched)} sources changed.")


@admin.register(Delivery)
class DeliveryAdmin(History):
    list_display = (
        "id",
        "source",
        "received_at",
        "accepted",
        "duplicates",
        "truncated",
        "is_coalesced",
    )
    list_filter = ("source", "is_coalesced")
    search_fields = ("=id", "=key", "=body_digest")
    date_hierarchy = "received_at"
    ordering = ("-pk",)
    list_select_related = ("source",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        rows = super().get_queryset(request)
        match = request.resolver_match
        # A list of bodies of up to a mebibyte each would be read for nothing.
        return rows if match and "object_id" in match.kwargs else rows.defer("body")


@admin.register(DeadLetter)
class DeadLetterAdmin(History):
    list_display = ("id", "source", "field", "reason", "state", "count", "last_received_at")
    list_filter = ("state", "source")
    search_fields = ("=id", "field", "reason")
    date_hierarchy = "received_at"
    ordering = ("-pk",)
    list_select_related = ("source",)
    actions = ("requeue",)

    @admin.action(description="Take in after all", permissions=["requeue"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        taken = 0
        for letter in queryset.filter(state=DeadLetter.State.DEAD).order_by("pk")[:AT_ONCE]:
            try:
                deadletters.requeue(letter, by=request.user)
                taken += 1
            except Malformed as error:
                messages.warning(request, f"Letter {letter.pk}: {error}")
        messages.info(request, f"{taken} letters taken in.")
