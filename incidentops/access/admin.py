from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from incidentops.access import audit, tokens
from incidentops.access.models import ApiToken, AuditEntry
from incidentops.access.permissions import permissions_of_user
from incidentops.access.roles import roles_of
from incidentops.review import ReadOnly


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    list_display = ("sequence", "at", "actor", "action", "target")
    list_filter = ("action",)
    search_fields = ("actor", "action", "target")
    date_hierarchy = "at"
    ordering = ("-sequence",)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return "audit.view" in permissions_of_user(request.user)


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """Tokens are made by `manage.py token create` or the API, which show the secret once."""

    list_display = ("name", "role", "prefix", "created_at", "expires_at", "last_used_at", "state")
    list_filter = ("role",)
    search_fields = ("name", "prefix")
    exclude = ("digest",)
    ordering = ("-created_at",)
    actions = ("revoke",)

    @admin.display(description="State")
    def state(self, token: ApiToken) -> str:
        if token.revoked_at is not None:
            return "revoked"
        return "valid" if token.is_valid else "expired"

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return "token.write" in permissions_of_user(request.user)

    @admin.action(description="Revoke the selected tokens", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        for token in queryset:
            tokens.revoke(token, request.user)
        self.message_user(request, "The selected tokens are revoked; their sockets are closed.")


admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class MemberAdmin(UserAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """People and their roles. A role is a group; what a role may do is in the code."""

    list_display = ("username", "email", "role_names", "is_active", "last_login")
    list_filter = ("groups", "is_active")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Roles", {"fields": ("groups", "is_active", "is_staff", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    filter_horizontal = ("groups",)
    readonly_fields = ("last_login", "date_joined")

    @admin.display(description="Roles")
    def role_names(self, user: User) -> str:
        return ", ".join(sorted(roles_of(user))) or "none"

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The last step of the form, where the user's roles are known: record what was saved."""
        with transaction.atomic():
            super().save_related(request, form, formsets, change)
            audit.record(
                "user.change" if change else "user.create",
                actor=request.user,
                target=f"user:{form.instance}",
                detail={
                    "changed": sorted(form.changed_data),
                    "roles": sorted(roles_of(form.instance)),
                    "is_active": form.instance.is_active,
                },
            )

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:
        response = super().user_change_password(request, id, form_url)
        if request.method == "POST" and response.status_code == 302:
            audit.record("user.password", actor=request.user, target=f"user:{self._named(id)}")
        return response

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        with transaction.atomic():
            name = str(obj)
            super().delete_model(request, obj)
            audit.record("user.delete", actor=request.user, target=f"user:{name}")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        with transaction.atomic():
            names = sorted(str(user) for user in queryset)
            super().delete_queryset(request, queryset)
            audit.record("user.delete", actor=request.user, target="users", detail={"names": names})

    def _named(self, pk: str) -> str:
        return str(User.objects.filter(pk=pk).first() or pk)
