"""The sections of the incident page. Each app registers its own in its `sections.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from incidentops.incidents.models import Incident


@dataclass(frozen=True, kw_only=True)
class Section:
    """`context` gives what `template` needs; None leaves the section out. Lower `order` is higher."""

    slug: str
    title: str
    template: str
    order: int
    context: Callable[[Incident], dict[str, Any] | None]
    aside: bool = False


_sections: dict[str, Section] = {}


def register(section: Section) -> Section:
    if section.slug in _sections:
        raise ValueError(f"Two sections are named {section.slug!r}.")
    _sections[section.slug] = section
    return section


def sections() -> list[Section]:
    return sorted(_sections.values(), key=lambda section: section.order)
