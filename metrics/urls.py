from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from metrics import api, pages

urlpatterns: list[URLPattern | URLResolver] = [
    path("demo", pages.demo, name="demo"),
    path("api/v1/kpis/", api.KpisView.as_view(), name="kpis"),
]
