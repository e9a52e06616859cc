from __future__ import annotations

from django.urls import URLPattern, URLResolver, path
from django.views.generic import RedirectView

from incidentops.access.permissions import public
from incidentops.dashboards import pages

urlpatterns: list[URLPattern | URLResolver] = [
    path(
        "",
        public("Leads to the board, which asks for what it needs.")(
            RedirectView.as_view(url="/ops")
        ),
        name="home",
    ),
    path("ops", pages.ops, name="ops"),
    *(
        path(
            f"{page}/",
            public("Leads to the page, which asks for what it needs.")(
                RedirectView.as_view(url=f"/{page}", query_string=True)
            ),
            name=f"{page}-with-slash",
        )
        for page in ("ops", "transparency", "demo")
    ),
]
