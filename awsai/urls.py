from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from awsai import api

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/awsai/calls/", api.Calls.as_view(), name="awsai-calls"),
    path(
        "api/v1/awsai/calls/<int:sequence>/words/",
        api.CallWords.as_view(),
        name="awsai-call-words",
    ),
    path("api/v1/awsai/calls/<int:sequence>/otel/", api.CallSpan.as_view(), name="awsai-call-otel"),
    path("api/v1/awsai/summary/", api.SummaryView.as_view(), name="awsai-summary"),
    path("api/v1/awsai/services/", api.Services.as_view(), name="awsai-services"),
    path("api/v1/awsai/prices/", api.Prices.as_view(), name="awsai-prices"),
    path("api/v1/awsai/budgets/", api.Budgets.as_view(), name="awsai-budgets"),
    path("api/v1/awsai/routes/", api.Routes.as_view(), name="awsai-routes"),
    path("api/v1/awsai/models/", api.Models.as_view(), name="awsai-models"),
    path("api/v1/knowledge/", api.KnowledgeList.as_view(), name="knowledge"),
    path("api/v1/knowledge/<int:pk>/", api.KnowledgeDetail.as_view(), name="knowledge-document"),
]
