"""Every URL of the product, by the app that owns it."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("incidentops.access.urls")),
    path("", include("incidentops.health.urls")),
    path("", include("incidentops.dashboards.urls")),
    path("", include("incidentops.telemetry.urls")),
    path("", include("incidentops.incidents.urls")),
    path("", include("awsai.urls")),
    path("", include("agents.urls")),
    path("", include("metrics.urls")),
    path("admin/", admin.site.urls),
]

handler400 = "incidentops.rest.problems.bad_request"
handler404 = "incidentops.rest.problems.not_found"
handler500 = "incidentops.rest.problems.server_error"
