from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from incidentops.incidents import api, pages

_ACTIONS = {
    "acknowledge": api.Acknowledge,
    "mitigate": api.Mitigate,
    "assign": api.Assign,
    "resolve": api.Resolve,
    "close": api.Close,
    "reopen": api.Reopen,
    "comment": api.CommentOn,
    "merge": api.Merge,
    "split": api.Split,
    "severity": api.ChangeSeverity,
    "snooze": api.Snooze,
}

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("incidentops.incidents.intake_urls")),
    path("incidents/<int:number>/", pages.detail, name="incident"),
    path("incidents/<int:number>/<slug:verb>/", pages.act, name="incident-act"),
    path("api/v1/incidents/", api.Incidents.as_view(), name="api-incidents"),
    path("api/v1/incidents/<int:number>/", api.IncidentDetail.as_view(), name="api-incident"),
    path(
        "api/v1/incidents/<int:number>/alerts/",
        api.IncidentAlerts.as_view(),
        name="api-incident-alerts",
    ),
    path(
        "api/v1/incidents/<int:number>/timeline/",
        api.IncidentTimeline.as_view(),
        name="api-incident-timeline",
    ),
    path(
        "api/v1/incidents/<int:number>/attachments/",
        api.IncidentAttachments.as_view(),
        name="api-incident-attachments",
    ),
    path(
        "api/v1/incidents/<int:number>/attachments/<int:pk>/",
        api.IncidentAttachment.as_view(),
        name="api-incident-attachment",
    ),
    path(
        "api/v1/incidents/<int:number>/questions/",
        api.IncidentQuestions.as_view(),
        name="api-incident-questions",
    ),
    path(
        "api/v1/incidents/<int:number>/questions/<int:pk>/",
        api.IncidentQuestion.as_view(),
        name="api-incident-question",
    ),
    *(
        path(f"api/v1/incidents/<int:number>/{verb}/", view.as_view(), name=f"api-incident-{verb}")
        for verb, view in _ACTIONS.items()
    ),
]
