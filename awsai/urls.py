from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from awsai import api

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/awsai/calls/", api.Calls.as_view(), name="awsai-calls"),
    path("api/v1/awsai/summary/", api.SummaryView.as_view(), name="awsai-summary"),
    path("api/v1/awsai/services/", api.Services.as_view(), name="awsai-services"),
    path("api/v1/awsai/prices/", api.Prices.as_view(), name="awsai-prices"),
]
