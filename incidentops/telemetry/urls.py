from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from incidentops.telemetry import api

urlpatterns: list[URLPattern | URLResolver] = [
    path(
        "api/v1/services/",
        api.ServiceViewSet.as_view({"get": "list", "post": "create"}),
        name="services",
    ),
    path("api/v1/services/topology/", api.TopologyView.as_view(), name="topology"),
    path(
        "api/v1/services/<str:key>/",
        api.ServiceViewSet.as_view(
            {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}
        ),
        name="service",
    ),
    path(
        "api/v1/changes/",
        api.ChangeViewSet.as_view({"get": "list", "post": "create"}),
        name="changes",
    ),
    path(
        "api/v1/changes/<int:pk>/",
        api.ChangeViewSet.as_view(
            {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}
        ),
        name="change",
    ),
    path("api/v1/telemetry/samples/", api.SamplesView.as_view(), name="push-samples"),
    path("api/v1/telemetry/logs/", api.LogsView.as_view(), name="push-logs"),
]
