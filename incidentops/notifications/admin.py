from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from incidentops.access import roles
from incidentops.notifications import delivery
from incidentops.notifications.models import Notification
from incidentops.review import ReadOnly


def _may(request: HttpRequest, permission: str) -> bool:
    return permission in roles.permissions_of(roles.roles_of(request.user))


@admin.register(Notification)
class NotificationAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """History: rows are read, and what failed for good can be sent again."""

    list_display = ("created_at", "incident_number", "audience", "transport", "state", "subject")
    list_filter = ("state", "transport", "audience", "provider")
    search_fields = ("subject", "=incident_number")
    date_hierarchy = "created_at"
    ordering = ("-pk",)
    actions = ("send_again",)

    @admin.action(description="Send again what failed for good", permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Notification]) -> None:
        renewed = sum(
            delivery.send_again(row, by=request.user)
            for row in queryset.filter(state=Notification.State.FAILED)[:200]
        )
        messages.info(request, f"{renewed} messages will be sent again within a minute.")

    def has_send_permission(self, request: HttpRequest) -> bool:
        return _may(request, "incident.respond")

    @admin.display(description="recipient")
    def hidden_recipient(self, notification: Notification) -> str:
        return notification.masked_recipient

    def get_fields(self, request: HttpRequest, obj: Notification | None = None) -> list[Any]:
        return self._columns(request)

    def get_readonly_fields(
        self, request: HttpRequest, obj: Notification | None = None
    ) -> list[str]:
        return self._columns(request)

    def _columns(self, request: HttpRequest) -> list[str]:
        recipient = "recipient" if _may(request, "audit.view") else "hidden_recipient"
        hidden = {"id", "recipient"}
        columns = [field.name for field in Notification._meta.fields if field.name not in hidden]
        return [recipient, *columns]
