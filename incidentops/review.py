"""How history appears in the admin."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


class ReadOnly:
    """For admin classes and inlines: rows to look at, which nobody adds, changes or deletes there.

    What may change them are the same functions as everywhere else, offered as actions.
    """

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
