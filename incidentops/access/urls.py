from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from incidentops.access import api, views

urlpatterns: list[URLPattern | URLResolver] = [
    path("login/", views.SignIn.as_view(), name="login"),
    path("logout/", views.sign_out, name="logout"),
    path("signin/<str:secret>/", views.sign_in_by_link, name="signin"),
    path("api/schema/", api.Schema.as_view(), name="schema"),
    path("api/docs/", views.docs, name="docs"),
    path("api/v1/tokens/", api.Tokens.as_view(), name="tokens"),
    path("api/v1/tokens/<int:pk>/", api.Token.as_view(), name="token"),
    path("api/v1/audit/", api.AuditEntries.as_view(), name="audit"),
]
