from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from incidentops.realtime.events import Event, register


@register
@dataclass(frozen=True, kw_only=True)
class KpisUpdated(Event):
    """The numbers of the live window changed. The fields are the parts of the topic `demo`.

    Aggregates only: nothing here names an incident.
    """

    type: ClassVar[str] = "kpis.updated"
    kpis: dict[str, Any]
    in_progress: dict[str, Any]
