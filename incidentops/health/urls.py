from __future__ import annotations

from django.urls import path

from incidentops.health import views

urlpatterns = [
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.Metrics.as_view(), name="metrics"),
    path("dashboard/system/health", views.SystemHealth.as_view(), name="system-health"),
]
