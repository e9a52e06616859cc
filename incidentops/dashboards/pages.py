"""The operators' page."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from incidentops.access.permissions import requires
from incidentops.dashboards import board
from incidentops.realtime import topics


@requires("dashboard.view")
def ops(request: HttpRequest) -> HttpResponse:
    snapshot = topics.snapshot("ops")
    wanted = {name: request.GET.get(name, "") for name in board.FILTERS}
    cards = [
        {**card, "response": response}
        for card, response in _with_responses(snapshot)
        if board.matches(card, wanted)
    ]
    context = {
        "snapshot": snapshot,
        "columns": board.columns(cards),
        "counts": board.counts(snapshot["incidents"]),
        "services": sorted({card["service"] for card in snapshot["incidents"] if card["service"]}),
        "severities": board.SEVERITIES,
        "wanted": wanted,
        "is_filtered": any(wanted.values()),
        "public_url": settings.PUBLIC_URL,
    }
    return render(request, "dashboards/ops.html", context)


def _with_responses(snapshot: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    responses = {row["incident"]: row for row in snapshot.get("responses") or ()}
    return [(card, responses.get(card["number"])) for card in snapshot["incidents"]]
