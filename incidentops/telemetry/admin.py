from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from incidentops.review import ReadOnly
from incidentops.telemetry import inventory
from incidentops.telemetry.models import Change, Dependency, LogLine, Sample, Series, Service


class DependencyInline(admin.TabularInline):  # type: ignore[type-arg]  # not subscriptable at run time
    model = Dependency
    fk_name = "caller"
    verbose_name_plural = "depends on"
    autocomplete_fields = ("callee",)
    extra = 0


@admin.register(Service)
class ServiceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("name", "kind", "owner", "created_at")
    list_filter = ("kind",)
    search_fields = ("name", "owner")
    ordering = ("name",)
    readonly_fields = ("created_at",)
    inlines = (DependencyInline,)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        inventory.note_service(form.instance, is_new=not change, by=request.user)

    def delete_model(self, request: HttpRequest, obj: Service) -> None:
        inventory.delete_service(obj, by=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for service in queryset:
            inventory.delete_service(service, by=request.user)


@admin.register(Change)
class ChangeAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("at", "service", "kind", "title")
    list_filter = ("kind",)
    list_select_related = ("service",)
    search_fields = ("title", "service__name")
    autocomplete_fields = ("service",)
    ordering = ("-at",)

    def save_model(self, request: HttpRequest, obj: Change, form: Any, change: bool) -> None:
        fields = {name: form.cleaned_data[name] for name in form.changed_data}
        if change:
            inventory.update_change(obj, fields, by=request.user)
        else:
            obj.pk = inventory.record_change(form.cleaned_data, by=request.user).pk

    def delete_model(self, request: HttpRequest, obj: Change) -> None:
        inventory.delete_change(obj, by=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for change in queryset:
            inventory.delete_change(change, by=request.user)


@admin.register(Series)
class SeriesAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("service", "metric", "labels", "unit", "created_at")
    search_fields = ("service", "metric")
    ordering = ("service", "metric", "pk")


@admin.register(Sample)
class SampleAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("at", "series", "value")
    list_select_related = ("series",)
    search_fields = ("series__service", "series__metric")
    ordering = ("-pk",)


@admin.register(LogLine)
class LogLineAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("at", "service", "level", "message")
    list_filter = ("level",)
    search_fields = ("service",)
    ordering = ("-pk",)
