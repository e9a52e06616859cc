"""The page of the numbers."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from incidentops.access.permissions import public_when
from incidentops.realtime import topics

# What stands on the page, in this order, under these names.
TITLES = {
    "mttr": "Mean time to resolve",
    "mttr_median": "Median time to resolve",
    "mtta": "Mean time to acknowledge",
    "incidents_handled": "Incidents handled",
    "success_rate": "Success rate",
    "incidents_in_progress": "Incidents in progress",
    "incidents_prevented": "Incidents prevented",
    "cost_savings": "Cost savings",
    "efficiency": "Efficiency",
    "data_quality": "Data quality",
}


@public_when(
    settings.PUBLIC_DEMO, "The operator has published the aggregates.", otherwise="kpi.view"
)
def demo(request: HttpRequest) -> HttpResponse:
    snapshot = topics.snapshot("demo")
    context = {
        "snapshot": snapshot,
        "tiles": tiles(snapshot["kpis"]["kpis"]),
        "titles": list(TITLES.items()),
        "can_follow": request.user.is_authenticated or settings.PUBLIC_DEMO,
    }
    return render(request, "metrics/demo.html", context)


def tiles(kpis: dict[str, Any]) -> list[dict[str, Any]]:
    """The KPIs with their titles, and where the whisker of each interval is drawn."""
    return [
        {"name": name, "title": title, **kpis[name], "whisker": whisker(kpis[name])}
        for name, title in TITLES.items()
        if name in kpis
    ]


def whisker(kpi: dict[str, Any]) -> dict[str, float] | None:
    """Positions in [0, 100] of low, value and high on an axis from 0 to beyond the upper bound."""
    low, value, high = kpi["low"], kpi["value"], kpi["high"]
    if low is None or value is None or high is None:
        return None
    end = 1.0 if kpi["unit"] == "ratio" else high * 1.15 or 1.0
    return {
        name: round(100 * at / end, 2)
        for name, at in zip(("low", "at", "high"), (low, value, high), strict=True)
    }
