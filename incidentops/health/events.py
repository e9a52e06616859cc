from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from incidentops.realtime.events import Event, register


@register
@dataclass(frozen=True, kw_only=True)
class HealthUpdated(Event):
    """System health as it now is; `version` is the second since 1970 in which it was read."""

    type: ClassVar[str] = "health.updated"
    health: dict[str, Any]
