from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from agents import api, pages

urlpatterns: list[URLPattern | URLResolver] = [
    path("transparency", pages.transparency, name="transparency"),
    path("approvals/", pages.pending, name="approvals"),
    path("approvals/<int:pk>/approve/", pages.decide, {"verb": "approve"}, name="approve"),
    path("approvals/<int:pk>/reject/", pages.decide, {"verb": "reject"}, name="reject"),
    path(
        "api/v1/incidents/<int:number>/response/",
        api.IncidentResponse.as_view(),
        name="incident-response",
    ),
    path(
        "api/v1/incidents/<int:number>/response/requeue/",
        api.Requeue.as_view(),
        name="incident-response-requeue",
    ),
    path("api/v1/agents/", api.Agents.as_view(), name="agents"),
    path("api/v1/approvals/", api.Approvals.as_view(), name="approvals-api"),
    path("api/v1/approvals/<int:pk>/approve/", api.Approve.as_view(), name="approval-approve"),
    path("api/v1/approvals/<int:pk>/reject/", api.Reject.as_view(), name="approval-reject"),
]
