from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from agents import swarm
from agents.models import (
    AgentRun,
    Approval,
    ApprovalVoice,
    Ballot,
    Candidate,
    Decision,
    Equivocation,
    Evidence,
    PhaseRun,
    PhaseState,
    Response,
    VoterKey,
)
from incidentops.access import roles
from incidentops.review import ReadOnly


class PhaseRunInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]  # not subscriptable at run time
    model = PhaseRun
    fields = ("phase", "state", "attempts", "started_at", "finished_at", "reason", "error")
    extra = 0


class AgentRunInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]  # not subscriptable at run time
    model = AgentRun
    fields = ("agent", "phase", "state", "provider", "started_at", "finished_at", "error")
    extra = 0


class BallotInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]  # not subscriptable at run time
    model = Ballot
    fields = ("round", "voter", "choice", "reason", "cast_at")
    extra = 0


class VoiceInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]  # not subscriptable at run time
    model = ApprovalVoice
    extra = 0


class DeadPhases(admin.SimpleListFilter):
    title = "dead phases"
    parameter_name = "dead"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "with a dead phase")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() != "1":
            return queryset
        return queryset.filter(phases__state=PhaseState.FAILED).distinct()


@admin.register(Response)
class ResponseAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("incident", "cycle", "state", "urgency", "started_at", "finished_at", "reason")
    list_filter = ("state", DeadPhases, "urgency")
    search_fields = ("=incident__number", "incident__title")
    list_select_related = ("incident",)
    ordering = ("-pk",)
    inlines = (PhaseRunInline, AgentRunInline, BallotInline)
    actions = ("requeue",)

    @admin.action(description="Requeue the dead phase", permissions=["requeue"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[Response]) -> None:
        for response in queryset[:50]:
            try:
                swarm.requeue(response.incident_id, by=request.user)
            except swarm.NotDead as error:
                messages.warning(request, str(error))
            else:
                messages.info(request, f"The response to incident {response.incident_id} goes on.")

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        return "incident.respond" in roles.permissions_of(roles.roles_of(request.user))


@admin.register(PhaseRun)
class PhaseRunAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Filtered by state `failed` this is the list of dead phases."""

    list_display = ("response", "phase", "state", "attempts", "due_at", "finished_at", "error")
    list_filter = ("state", "phase")
    search_fields = ("=response__incident__number",)
    list_select_related = ("response",)
    ordering = ("-pk",)
    actions = ("requeue",)

    @admin.action(description="Requeue dead phases", permissions=["requeue"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[PhaseRun]) -> None:
        dead = queryset.filter(state=PhaseState.FAILED)
        for number in sorted(set(dead.values_list("response__incident", flat=True)))[:50]:
            try:
                swarm.requeue(number, by=request.user)
            except swarm.NotDead as error:
                messages.warning(request, str(error))
            else:
                messages.info(request, f"The response to incident {number} goes on.")

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        return "incident.respond" in roles.permissions_of(roles.roles_of(request.user))


@admin.register(AgentRun)
class AgentRunAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("response", "agent", "phase", "state", "provider", "started_at", "error")
    list_filter = ("agent", "phase", "state", "provider")
    search_fields = ("=response__incident__number",)
    list_select_related = ("response",)
    ordering = ("-pk",)


@admin.register(Evidence)
class EvidenceAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("id", "response", "agent", "family", "kind", "title", "source")
    list_filter = ("agent", "family", "kind")
    search_fields = ("=id", "=response__incident__number", "title")
    list_select_related = ("response",)
    ordering = ("-created_at",)


@admin.register(Candidate)
class CandidateAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("response", "action", "target", "digest")
    list_filter = ("action",)
    list_select_related = ("response",)
    ordering = ("-pk",)


@admin.register(Ballot)
class BallotAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("response", "round", "voter", "epoch", "choice", "cast_at")
    list_filter = ("voter", "round")
    search_fields = ("=response__incident__number",)
    list_select_related = ("response",)
    ordering = ("-pk",)


@admin.register(Equivocation)
class EquivocationAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("response", "round", "voter", "found_at")
    list_filter = ("voter",)
    list_select_related = ("response",)
    ordering = ("-pk",)


@admin.register(VoterKey)
class VoterKeyAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("epoch", "voter", "weight", "public_key", "quarantined_at")
    list_filter = ("voter",)
    ordering = ("-epoch", "voter")


@admin.register(Decision)
class DecisionAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("response", "outcome", "choice", "round", "reason", "decided_at")
    list_filter = ("outcome",)
    search_fields = ("=response__incident__number",)
    list_select_related = ("response",)
    ordering = ("-pk",)


@admin.register(Approval)
class ApprovalAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("response", "state", "required", "requested_at", "expires_at", "decided_at")
    list_filter = ("state",)
    list_select_related = ("response",)
    ordering = ("-pk",)
    inlines = (VoiceInline,)
