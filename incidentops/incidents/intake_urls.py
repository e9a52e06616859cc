"""Intake, with or without a slash at the end: senders are configured by hand."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path, re_path

from incidentops.incidents import intake_views, source_api

_SOURCE = r"^intake/(?P<source_id>[^/]+)"
_SECRET = r"/(?P<secret>[^/]+)"  # noqa: S105 - a pattern
_PROMETHEUS = r"/api/v[12]/alerts/?$"

urlpatterns: list[URLPattern | URLResolver] = [
    re_path(_SOURCE + r"/?$", intake_views.receive, name="intake"),
    re_path(_SOURCE + _PROMETHEUS, intake_views.receive, name="intake-prometheus"),
    re_path(_SOURCE + _SECRET + r"/?$", intake_views.receive, name="intake-by-path"),
    re_path(
        _SOURCE + _SECRET + _PROMETHEUS,
        intake_views.receive,
        name="intake-prometheus-by-path",
    ),
    # A misspelt path may hold a secret: it must not get as far as Django's log of missing pages.
    re_path(r"^intake/", intake_views.nothing_here, name="intake-nothing"),
    path("api/v1/sources/", source_api.Sources.as_view(), name="sources"),
    path("api/v1/sources/<slug:pk>/", source_api.SourceDetail.as_view(), name="source"),
    path(
        "api/v1/sources/<slug:pk>/rotate/",
        source_api.SourceSecret.as_view(),
        name="source-rotate",
    ),
    path(
        "api/v1/sources/<slug:pk>/preview/",
        source_api.SourcePreview.as_view(),
        name="source-preview",
    ),
    path("api/v1/dead-letters/", source_api.DeadLetters.as_view(), name="dead-letters"),
    path(
        "api/v1/dead-letters/<int:pk>/",
        source_api.DeadLetterDetail.as_view(),
        name="dead-letter",
    ),
    path(
        "api/v1/dead-letters/<int:pk>/requeue/",
        source_api.RequeuedDeadLetter.as_view(),
        name="dead-letter-requeue",
    ),
]
