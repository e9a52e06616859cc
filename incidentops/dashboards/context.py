"""What every page knows besides its own subject."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from incidentops.access.permissions import permissions_of


def page(request: HttpRequest) -> dict[str, Any]:
    """`may` holds the reader's permissions; `has_libraries` says whether scripts can be loaded."""
    return {
        "may": SimpleLazyObject(lambda: _permissions(request)),
        "has_libraries": has_libraries(),
        "is_public_demo": settings.PUBLIC_DEMO,
    }


def _permissions(request: HttpRequest) -> frozenset[str]:
    # An error can end a request before it has a user.
    return permissions_of(request) if hasattr(request, "user") else frozenset()


@cache
def has_libraries() -> bool:
    """Whether `manage.py assets` could install the browser libraries."""
    return (settings.BASE_DIR / "static" / "vendor" / "libraries.json").exists()
