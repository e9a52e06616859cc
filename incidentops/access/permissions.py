"""What a view demands of whoever calls it. A view that declares nothing is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from incidentops.access import roles
from incidentops.access.models import ApiToken


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


def access_of(view: Callable[..., Any]) -> Access | None:
    """What a resolved view declares, wherever the class or function carries it."""
    for holder in (view, getattr(view, "cls", None), getattr(view, "view_class", None)):
        rule = getattr(holder, "access", None)
        if isinstance(rule, Access):
            return rule
    return None


def permissions_of(request: Any) -> frozenset[str]:
    """Everything the caller of this request may do: by token when it carries one, else by user."""
    token = getattr(request, "auth", None)
    if isinstance(token, ApiToken):
        return roles.PERMISSIONS[roles.Role(token.role)]
    return roles.permissions_of(roles.roles_of(request.user))


class RolePermission(BasePermission):
    """Lets a REST request through when its caller has what the view's `access` names."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        rule = getattr(view, "access", None)
        if not isinstance(rule, Access):
            return False
        if rule.public:
            return True
        needed = rule.permission_for(request.method or "")
        if needed is None:
            # Let the view answer 405 to a caller who may at least read it.
            needed = rule.permission_for("GET") or next(iter(rule.by_method.values()), None)
        return needed is not None and needed in permissions_of(request)
