"""Every route of the product and what it demands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.admin import AdminSite, ModelAdmin
from django.core.checks import CheckMessage, Error
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView

from incidentops.access.permissions import Access, RolePermission, access_of

ADMIN_SITE = Access(by_method={"GET": "admin.view", "POST": "admin.change"})
# Everybody who may see the site may leave it and change their own password there.
ADMIN_OWN_ACCOUNT = Access(by_method={"GET": "admin.view", "POST": "admin.view"})
OWN_ACCOUNT = {"logout", "password_change", "password_change_done", "login"}


@dataclass(frozen=True, kw_only=True)
class Route:
    """`pattern` is the whole pattern as Django shows it; `access` is None when undeclared."""

    pattern: str
    name: str
    view: Callable[..., Any]
    access: Access | None


def routes() -> Iterator[Route]:
    """All routes of the root URL configuration."""
    yield from _walk(get_resolver().url_patterns, "")


def _walk(patterns: list[URLPattern | URLResolver], prefix: str) -> Iterator[Route]:
    for entry in patterns:
        where = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _walk(entry.url_patterns, where)
        else:
            yield Route(
                pattern=where,
                name=entry.name or "",
                view=entry.callback,
                access=_bound(entry.callback, demanded_by(entry.callback, entry.name or "")),
            )


def _bound(view: Callable[..., Any], access: Access | None) -> Access | None:
    """Without the methods that a view set declares for its other routes."""
    actions = getattr(view, "actions", None)
    if access is None or not actions:
        return access
    bound = {name: right for name, right in access.by_method.items() if name.lower() in actions}
    return replace(access, by_method=bound)


def demanded_by(view: Callable[..., Any], name: str) -> Access | None:
    """What a view demands: its own declaration, or that of the admin site it belongs to."""
    if is_admin(view):
        return ADMIN_OWN_ACCOUNT if name in OWN_ACCOUNT else ADMIN_SITE
    return access_of(view)


def is_admin(view: Callable[..., Any]) -> bool:
    """Is this, under its decorators, a view of the admin site or of one of its models?"""
    layer: Any = view
    while layer is not None:
        if hasattr(layer, "admin_site") or hasattr(layer, "model_admin"):
            return True
        if isinstance(getattr(layer, "__self__", None), AdminSite | ModelAdmin):
            return True
        layer = getattr(layer, "__wrapped__", None)
    return False


def is_rest(view: Callable[..., Any]) -> bool:
    cls = getattr(view, "cls", None)
    return isinstance(cls, type) and issubclass(cls, APIView)


def check_declarations(**kwargs: Any) -> list[CheckMessage]:
    """System check: no route without a declaration, no REST route that does not ask for it."""
    found: list[CheckMessage] = []
    for route in routes():
        if route.access is None:
            found.append(
                Error(
                    f"The route {route.pattern!r} declares no access, so nobody can use it.",
                    hint="Decorate the view with @requires or @public, or give it `access`.",
                    id="access.E001",
                )
            )
        elif is_rest(route.view) and not route.access.public and not _asks(route.view):
            found.append(
                Error(
                    f"The route {route.pattern!r} declares access, but its permission classes "
                    "do not ask for it.",
                    hint="Leave `permission_classes` alone or keep RolePermission in it.",
                    id="access.E002",
                )
            )
    return found


def _asks(view: Any) -> bool:
    classes = view.initkwargs.get("permission_classes", view.cls.permission_classes)
    return any(isinstance(cls, type) and issubclass(cls, RolePermission) for cls in classes)
