"""What happens to alerts and incidents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from incidentops.realtime.events import Event, register


@register
@dataclass(frozen=True, kw_only=True)
class AlertsReceived(Event):
    """A delivery is committed; its alerts wait to be attached to incidents. Internal: on no topic."""

    type: ClassVar[str] = "alerts.received"
    delivery: int


@dataclass(frozen=True, kw_only=True)
class _IncidentEvent(Event):
    """`number` names the incident, `incident` is its card (see `cards.card`), whole and current.

    `entry` is the timeline entry that came with it (see `cards.timeline_row`).
    """

    number: int
    origin: str
    incident: dict[str, Any]
    entry: dict[str, Any] = field(default_factory=dict)


@register
@dataclass(frozen=True, kw_only=True)
class IncidentOpened(_IncidentEvent):
    type: ClassVar[str] = "incident.opened"


@register
@dataclass(frozen=True, kw_only=True)
class IncidentUpdated(_IncidentEvent):
    """`change` is the dotted kind of the timeline entry that came with it.

    `alerts` tells of at most 20 alerts when the change is "alert.changed": some recovered or fire
    again.
    """

    type: ClassVar[str] = "incident.updated"
    change: str
    alerts: list[dict[str, Any]] = field(default_factory=list)


@register
@dataclass(frozen=True, kw_only=True)
class IncidentResolved(_IncidentEvent):
    type: ClassVar[str] = "incident.resolved"


@register
@dataclass(frozen=True, kw_only=True)
class AlertAttached(_IncidentEvent):
    """`alerts` tells of at most 20 of the `attached` alerts; the incident's alert list has all."""

    type: ClassVar[str] = "alert.attached"
    attached: int
    alerts: list[dict[str, Any]]
