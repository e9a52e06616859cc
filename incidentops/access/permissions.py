"""What a view demands of whoever calls it. A view that declares nothing is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from incidentops.access import roles
from incidentops.access.models import ApiToken

if TYPE_CHECKING:
    # REST framework's views import this module through its settings.
    from rest_framework.views import APIView


@dataclass(frozen=True, kw_only=True)
class Access:
    """The permission each HTTP method needs. A method that is not named is refused.

    `public` views need none: `reason` says why, for the reader of the route list.
    """

    by_method: Mapping[str, str] = field(default_factory=dict)
    public: bool = False
    reason: str = ""

    def permission_for(self, method: str) -> str | None:
        if method in ("HEAD", "OPTIONS"):
            method = "GET" if "GET" in self.by_method else next(iter(self.by_method), method)
        return self.by_method.get(method)


def reading(permission: str, **by_method: str) -> Access:
    """Access that needs `permission` to GET, and the named permissions for other methods."""
    return Access(by_method={"GET": permission, **by_method})


def writing(permission: str) -> Access:
    """Access by POST alone."""
    return Access(by_method={"POST": permission})


V = TypeVar("V", bound=Callable[..., Any])


def requires(access: Access | str) -> Callable[[V], V]:
    """Decorator for Django function views; REST views carry `access` as a class attribute."""
    rule = reading(access) if isinstance(access, str) else access

    def declare(view: V) -> V:
        view.access = rule  # type: ignore[attr-defined]  # functions take attributes, Callable does not say so
        return view

    return declare


def public(reason: str) -> Callable[[V], V]:
    """Decorator: anybody may call this view, for the reason given."""
    return requires(Access(public=True, reason=reason))


def public_when(flag: bool, reason: str, *, otherwise: Access | str) -> Callable[[V], V]:
    """Decorator: public where the operator says so, else what `otherwise` demands."""
    return public(reason) if flag else requires(otherwise)


def access_of(view: Callable[..., Any]) -> Access | None:
    """What a resolved view declares, wherever it carries it.

    `@action(access=...)` of a view set stands in the keyword arguments of `as_view`.
    """
    for rule in (
        getattr(view, "initkwargs", {}).get("access"),
        getattr(view, "access", None),
        getattr(getattr(view, "cls", None), "access", None),
        getattr(getattr(view, "view_class", None), "access", None),
    ):
        if isinstance(rule, Access):
            return rule
    return None


def permissions_of(request: Any) -> frozenset[str]:
    """Everything the caller of this request may do: by token when it carries one, else by user."""
    token = getattr(request, "auth", None)
    if isinstance(token, ApiToken):
        return permissions_of_token(token)
    return permissions_of_user(request.user)


def permissions_of_token(token: ApiToken) -> frozenset[str]:
    return roles.PERMISSIONS[roles.Role(token.role)] if token.is_valid else frozenset()


def permissions_of_user(user: AbstractBaseUser | AnonymousUser) -> frozenset[str]:
    return roles.permissions_of(roles.roles_of(user))


def is_allowed(rule: Access, method: str, permissions: frozenset[str]) -> bool:
    """May a caller with these permissions call a view by this method?

    A method the view does not name counts as allowed for those who may call it at all: they get
    the view's 405.
    """
    if rule.public:
        return True
    needed = rule.permission_for(method)
    if needed is None:
        needed = rule.permission_for("GET") or next(iter(rule.by_method.values()), None)
    return needed is not None and needed in permissions


class RolePermission(BasePermission):
    """Lets a REST request through when its caller has what the view's `access` names."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        rule = getattr(view, "access", None)
        if not isinstance(rule, Access):
            return False
        return is_allowed(rule, request.method or "", permissions_of(request))
