"""Staff review calls, routes and models, and change prices, limits, weights and the knowledge.

History is read-only; what changes something goes through the domain's own functions.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import transaction
from django.db.models import ForeignKey, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from awsai import budgets, documents, prices, refresh, routes
from awsai.models import (
    AwsCall,
    AwsCallIntent,
    Budget,
    CatalogueModel,
    Conversation,
    Knowledge,
    KnowledgeKind,
    MemoryEntry,
    PriceRate,
    PriceVersion,
    RouteDecision,
    RouteOutcome,
    RouteWeights,
)
from awsai.models.budgets import BudgetScope
from awsai.models.prices import PriceStatus
from awsai.ports import CallFailed
from awsai.prices import Diff, NeedsConfirmation, NotADraft, OverlappingRates
from incidentops.access import audit
from incidentops.access.permissions import permissions_of_user
from incidentops.incidents.models import Severity
from incidentops.review import ReadOnly
from incidentops.templatetags.display import UNKNOWN


class Ledgered(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Rows for those who may see the ledger."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return "ledger.view" in permissions_of_user(request.user)


def _table(names: tuple[str, ...], rows: list[dict[str, Any]]) -> SafeString:
    cells = [
        format_html_join("", "<td>{}</td>", ((_shown(row.get(name)),) for name in names))
        for row in rows
    ]
    return format_html(
        "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>",
        format_html_join("", "<th>{}</th>", ((name.replace("_", " "),) for name in names)),
        format_html_join("", "<tr>{}</tr>", ((row,) for row in cells)),
    )


def _shown(value: Any) -> Any:
    return UNKNOWN if value is None else value


# --- The ledger --------------------------------------------------------------------------------


@admin.register(AwsCall)
class AwsCallAdmin(Ledgered):
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
    exclude = ("attempts", "route_decision")
    readonly_fields = ("attempt_log", "route")

    @admin.display(description="attempts")
    def attempt_log(self, call: AwsCall) -> SafeString:
        columns = ("number", "http_status", "error", "latency_ms", "request_id")
        return _table(columns, call.attempts)

    @admin.display(description="route decision")
    def route(self, call: AwsCall) -> str:
        if call.route_decision is None:
            return "none"
        url = reverse("admin:awsai_routedecision_change", args=[call.route_decision])
        return format_html('<a href="{}">{}</a>', url, call.route_decision)


@admin.register(AwsCallIntent)
class AwsCallIntentAdmin(Ledgered):
    """Calls under way, and those whose process died before their row was written."""

    list_display = (
        "started_at",
        "service",
        "operation",
        "provider",
        "model_requested",
        "agent",
        "incident_number",
        "estimated_nano_usd",
    )
    list_filter = ("service", "provider")
    ordering = ("-started_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AwsCallIntent]:
        return super().get_queryset(request).filter(is_settled=False)


# --- Routes ------------------------------------------------------------------------------------


class RouteOutcomeInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]  # not subscriptable at run time
    model = RouteOutcome
    fields = ("model", "kind", "is_good", "at")
    extra = 0


@admin.register(RouteDecision)
class RouteDecisionAdmin(Ledgered):
    list_display = (
        "id",
        "at",
        "task",
        "severity",
        "level",
        "incident_number",
        "chosen",
        "top",
        "reason",
    )
    list_filter = ("task", "severity", "level", "chosen")
    search_fields = ("=incident_number", "=run_ref", "chosen")
    date_hierarchy = "at"
    ordering = ("-pk",)
    exclude = ("considered",)
    readonly_fields = ("candidates",)
    inlines = (RouteOutcomeInline,)

    @admin.display(description="candidates")
    def candidates(self, decision: RouteDecision) -> SafeString:
        columns = ("order", "model", "region", "cost_nano_usd", "p95_ms", "good", "bad", "rejected")
        return _table(columns, decision.candidates)


@admin.register(RouteOutcome)
class RouteOutcomeAdmin(Ledgered):
    list_display = ("decision", "model", "task", "kind", "is_good", "at")
    list_filter = ("task", "kind", "is_good", "model")
    list_select_related = ("decision",)
    date_hierarchy = "at"
    ordering = ("-pk",)


class Dated(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """What is in force is the newest row: adding one changes it, and the rows are the history."""

    asked: tuple[str, ...]
    needs: str
    ordering = ("-pk",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.needs in permissions_of_user(request.user)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.asked if obj is None else (*self.asked, "set_by", "set_at")


class RouteWeightsForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    severity = forms.ChoiceField(choices=Severity.choices)


@admin.register(RouteWeights)
class RouteWeightsAdmin(Dated):
    form = RouteWeightsForm
    asked = ("severity", "usd_per_second", "usd_per_failure", "source")
    needs = "admin.change"
    list_display = (*asked, "set_by", "set_at")
    list_filter = ("severity",)

    def save_model(self, request: HttpRequest, obj: RouteWeights, form: Any, change: bool) -> None:
        obj.pk = routes.set_weights(
            Severity(obj.severity),
            usd_per_second=obj.usd_per_second,
            usd_per_failure=obj.usd_per_failure,
            source=obj.source,
            by=request.user,
        ).pk


@admin.register(Budget)
class BudgetAdmin(Dated):
    asked = ("scope", "limit_nano_usd", "note")
    needs = "budget.write"
    list_display = (*asked, "set_by", "set_at")
    list_filter = ("scope",)

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        obj.pk = budgets.set_limit(
            BudgetScope(obj.scope), obj.limit_nano_usd, by=request.user, note=obj.note
        ).pk


# --- Prices ------------------------------------------------------------------------------------


class PriceRateInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]  # not subscriptable at run time
    """The rates of a list. They are edited one by one: a form of all has too many fields to be sent."""

    model = PriceRate
    fields = (
        "sku",
        "meter",
        "scope",
        "region",
        "tier",
        "min_input_tokens",
        "amount",
        "unit_size",
        "effective_from",
        "effective_to",
        "confidence",
    )
    ordering = (*PriceRate.key, "effective_from")
    extra = 0
    show_change_link = True


@admin.register(PriceVersion)
class PriceVersionAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("label", "status", "source", "fetched_at", "approved_by", "activated_at")
    list_filter = ("status",)
    ordering = ("-pk",)
    inlines = (PriceRateInline,)
    actions = ("clone", "activate")

    def has_price_permission(self, request: HttpRequest) -> bool:
        return "admin.change" in permissions_of_user(request.user)

    @admin.action(description="Clone to a draft", permissions=["price"])
    def clone(self, request: HttpRequest, queryset: QuerySet[PriceVersion]) -> None:
        if [version.status for version in queryset] != [PriceStatus.ACTIVE]:
            messages.warning(request, "Select the list in force: drafts are cloned from it alone.")
            return
        draft = prices.clone_to_draft(by=request.user)
        url = reverse("admin:awsai_priceversion_change", args=[draft.pk])
        messages.info(request, format_html('<a href="{}">{}</a> is ready.', url, draft))

    @admin.action(description="Activate the draft", permissions=["price"])
    def activate(
        self, request: HttpRequest, queryset: QuerySet[PriceVersion]
    ) -> HttpResponseBase | None:
        """Show what would change, then do what was shown and nothing else."""
        drafts = list(queryset[:2])
        if len(drafts) != 1 or not drafts[0].is_draft:
            messages.warning(request, "Select one draft.")
            return None
        (draft,) = drafts
        difference = prices.diff(draft)
        if request.POST.get("shown") != _digest(difference):
            if "shown" in request.POST:
                messages.warning(request, "The draft has changed since: look at it once more.")
            return self._confirmation(request, draft, difference)
        try:
            prices.activate(draft, by=request.user, confirmed="confirmed" in request.POST)
        except NeedsConfirmation:
            messages.warning(request, "Tick that you have looked at what needs a person.")
            return self._confirmation(request, draft, difference)
        except (NotADraft, OverlappingRates) as error:
            messages.error(request, f"Not activated: {type(error).__name__}, {error}")
            return None
        messages.info(request, f"Calls are billed by {draft.label} from now on.")
        return None

    def _confirmation(
        self, request: HttpRequest, draft: PriceVersion, difference: Diff
    ) -> HttpResponseBase:
        context = {
            **self.admin_site.each_context(request),
            "title": f"Activate {draft.label}",
            "opts": self.opts,
            "draft": draft,
            "difference": difference,
            "shown": _digest(difference),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/awsai/activate_prices.html", context)


def _digest(difference: Diff) -> str:
    lines = [*map(str, difference.changes), *difference.reasons]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@admin.register(PriceRate)
class PriceRateAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """The rates of drafts may be changed; whatever bills, or has billed, is to look at."""

    list_display = ("sku", "meter", "scope", "region", "tier", "amount", "unit_size", "version")
    list_filter = ("version", "service", "scope", "tier", "confidence")
    search_fields = ("sku", "meter", "region")
    list_select_related = ("version",)
    ordering = ("-version", *PriceRate.key, "effective_from")
    show_full_result_count = False

    def has_change_permission(self, request: HttpRequest, obj: PriceRate | None = None) -> bool:
        return self._may(request) and (obj is None or obj.version.is_draft)

    def has_delete_permission(self, request: HttpRequest, obj: PriceRate | None = None) -> bool:
        """One by one: nobody sees what many at once belong to."""
        return self._may(request) and obj is not None and obj.version.is_draft

    def _may(self, request: HttpRequest) -> bool:
        return "admin.change" in permissions_of_user(request.user)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("version",) if obj else ()

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        kwargs["queryset"] = PriceVersion.objects.filter(status=PriceStatus.DRAFT)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: PriceRate, form: Any, change: bool) -> None:
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            self._record("price.edit", request, obj, changed=sorted(form.changed_data))

    def delete_model(self, request: HttpRequest, obj: PriceRate) -> None:
        with transaction.atomic():
            super().delete_model(request, obj)
            self._record("price.delete", request, obj)

    def _record(self, action: str, request: HttpRequest, rate: PriceRate, **detail: Any) -> None:
        audit.record(
            action,
            actor=request.user,
            target=f"price:{rate.version.label}",
            detail={"rate": str(rate), "amount": str(rate.amount), **detail},
        )


# --- Models, knowledge, memory -----------------------------------------------------------------


@admin.register(CatalogueModel)
class CatalogueModelAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = (
        "model_id",
        "name",
        "service",
        "scope",
        "lifecycle",
        "eol_at",
        "onboarding",
        "synced_at",
    )
    list_filter = ("service", "scope", "lifecycle", "onboarding", "provider_name")
    search_fields = ("model_id", "name", "family")
    ordering = ("model_id",)
    actions = ("sync",)

    def has_sync_permission(self, request: HttpRequest) -> bool:
        return refresh.is_possible() and "admin.change" in permissions_of_user(request.user)

    @admin.action(description="Sync the whole catalogue with Bedrock now", permissions=["sync"])
    def sync(self, request: HttpRequest, queryset: QuerySet[CatalogueModel]) -> None:
        try:
            synced = refresh.sync_catalogue(by=request.user)
        except CallFailed as failed:
            messages.error(request, f"The catalogue was not synced: {failed}")
            return
        messages.info(
            request,
            f"{len(synced.added)} models added, {len(synced.changed)} changed, "
            f"{len(synced.gone)} no longer listed.",
        )


@admin.register(Knowledge)
class KnowledgeAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Documents are added and deleted; a new state of one comes by the API."""

    list_display = ("kind", "ref", "title", "version", "learnt_at")
    list_filter = ("kind",)
    search_fields = ("ref", "title")
    ordering = ("-learnt_at",)
    asked = ("kind", "ref", "title", "text", "uri")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return "admin.change" in permissions_of_user(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return "admin.change" in permissions_of_user(request.user)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.asked if obj is None else (*self.asked, "version", "learnt_at")

    def save_model(self, request: HttpRequest, obj: Knowledge, form: Any, change: bool) -> None:
        row, _ = documents.learn(
            KnowledgeKind(obj.kind),
            obj.ref,
            title=obj.title,
            text=obj.text,
            uri=obj.uri,
            by=request.user,
        )
        obj.pk = row.pk

    def delete_model(self, request: HttpRequest, obj: Knowledge) -> None:
        documents.forget(obj, by=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Knowledge]) -> None:
        for row in queryset:
            documents.forget(row, by=request.user)


@admin.register(MemoryEntry)
class MemoryEntryAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """What the local assistant keeps of its sessions."""

    list_display = ("memory_id", "session_id", "at", "summary")
    search_fields = ("=memory_id", "=session_id")
    ordering = ("-at",)


@admin.register(Conversation)
class ConversationAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Sessions about incidents, and whether their end was told."""

    list_display = (
        "session_id",
        "incident",
        "memory_id",
        "state",
        "reason",
        "begun_at",
        "ended_at",
    )
    list_filter = ("state",)
    search_fields = ("=incident__number", "=memory_id")
    date_hierarchy = "begun_at"
    ordering = ("-pk",)
    list_select_related = ("incident",)
