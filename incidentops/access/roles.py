"""Roles and what each may do.

A permission is a dotted word ("incident.respond"). Roles are Django groups of the same name; an API
token has one role. Whoever is not named here may do nothing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group, User


class Role(StrEnum):
    VIEWER = "viewer"
    RESPONDER = "responder"
    APPROVER = "approver"
    ADMIN = "admin"
    AUDITOR = "auditor"


_VIEW = frozenset(
    {"incident.view", "dashboard.view", "kpi.view", "approval.view", "inventory.view"}
)
_RESPOND = _VIEW | {"incident.respond", "incident.open", "telemetry.write", "change.write"}
_APPROVE = _RESPOND | {"approval.decide", "silence.write"}
_AUDIT = _VIEW | {"audit.view", "ledger.view", "token.view", "source.view", "admin.view"}

PERMISSIONS: dict[Role, frozenset[str]] = {
    Role.VIEWER: _VIEW,
    Role.RESPONDER: _RESPOND,
    Role.APPROVER: _APPROVE,
    Role.AUDITOR: _AUDIT,
    Role.ADMIN: _APPROVE
    | _AUDIT
    | {
        "admin.change",
        "source.write",
        "token.write",
        "inventory.write",
        "budget.write",
        "deadletter.write",
    },
}
ALL_PERMISSIONS = frozenset().union(*PERMISSIONS.values())


def roles_of(user: AbstractBaseUser | AnonymousUser) -> frozenset[Role]:
    """The roles of a signed-in user; superusers are admins."""
    if not user.is_authenticated or not user.is_active:
        return frozenset()
    if getattr(user, "is_superuser", False):
        return frozenset({Role.ADMIN})
    names = set(user.groups.values_list("name", flat=True))  # type: ignore[attr-defined]  # AbstractBaseUser has no groups, ours does
    return frozenset(role for role in Role if role.value in names)


def permissions_of(roles: frozenset[Role]) -> frozenset[str]:
    return frozenset().union(*(PERMISSIONS[role] for role in roles))


def grant(user: User, role: Role) -> None:
    """Give the user a role, and the admin site with it when the role may see that."""
    user.groups.add(Group.objects.get_or_create(name=role.value)[0])
    if "admin.view" in PERMISSIONS[role] and not user.is_staff:
        user.is_staff = True
        user.save(update_fields=["is_staff"])


def ensure_groups(using: str, **kwargs: Any) -> None:
    """After `migrate`: there is a group for every role."""
    for role in Role:
        Group.objects.using(using).get_or_create(name=role.value)
