"""Django's own permissions, as the admin site asks for them, follow from roles."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from incidentops.access.permissions import permissions_of_user


class RoleBackend(BaseBackend):
    """`admin.change` may everything the admin site offers, `admin.view` may look at it.

    What no role may do there (history is read-only) each `ModelAdmin` refuses itself.
    """

    def has_perm(
        self, user_obj: AbstractBaseUser | AnonymousUser, perm: str, obj: Any = None
    ) -> bool:
        granted = permissions_of_user(user_obj)
        if "admin.change" in granted:
            return True
        return "admin.view" in granted and perm.partition(".")[2].startswith("view_")

    def has_module_perms(self, user_obj: AbstractBaseUser | AnonymousUser, app_label: str) -> bool:
        return "admin.view" in permissions_of_user(user_obj)
