from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from incidentops.incidents import pages

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("incidentops.incidents.intake_urls")),
    path("incidents/<int:number>/", pages.detail, name="incident"),
    path("incidents/<int:number>/<slug:verb>/", pages.act, name="incident-act"),
]
