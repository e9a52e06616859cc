"""What happens in the ledger and to the services behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from incidentops.realtime.events import Event, register


@register
@dataclass(frozen=True, kw_only=True)
class AwsCallRecorded(Event):
    """A call about an incident: no topic shows any other.

    `version` is the row's place in the ledger; `call` the row as the API shows it.
    """

    type: ClassVar[str] = "awsai.call"
    incident: int
    call: dict[str, Any]


@register
@dataclass(frozen=True, kw_only=True)
class ServiceHealthChanged(Event):
    """The AI services as they now are; `version` is the second since 1970 in which they were read."""

    type: ClassVar[str] = "awsai.health"
    services: list[dict[str, Any]]
