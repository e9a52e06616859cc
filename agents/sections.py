"""What the incident page shows of a response. Everything is in the topic's `response` part."""

from __future__ import annotations

from typing import Any

from incidentops.incidents.models import Incident
from incidentops.incidents.sections import Section, register


def nothing_more(incident: Incident) -> dict[str, Any]:
    del incident
    return {}


for _slug, _title, _order, _aside in (
    ("phases", "Response", 10, False),
    ("findings", "Findings", 20, False),
    ("decision", "Decision", 30, False),
    ("evidence", "Evidence", 40, False),
    ("unknowns", "What is not known", 10, True),
    ("cost", "AI services", 80, True),
):
    register(
        Section(
            slug=_slug,
            title=_title,
            template=f"agents/sections/{_slug}.html",
            order=_order,
            context=nothing_more,
            aside=_aside,
        )
    )
