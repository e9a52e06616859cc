"""Cursor pages: stable while rows arrive, and never a COUNT over the whole table."""

from __future__ import annotations

from rest_framework.pagination import CursorPagination


class NewestFirst(CursorPagination):
    """Newest rows first; views whose primary key is not the order set their own `ordering`."""

    ordering = "-pk"
    page_size_query_param = "page_size"
    max_page_size = 200
