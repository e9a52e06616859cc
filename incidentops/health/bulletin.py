"""The last published system health: what the board starts from and what later events change."""

from __future__ import annotations

import time
from typing import Any

from django.db import transaction

from incidentops.health.events import HealthUpdated
from incidentops.health.examination import system_health
from incidentops.realtime import outbox
from incidentops.realtime.models import OutboxEvent


def latest() -> dict[str, Any] | None:
    """The health the newest event told, None before the first."""
    event = OutboxEvent.objects.filter(type=HealthUpdated.type).order_by("-pk").first()
    return None if event is None else {**event.data["health"], "version": event.version}


def publish() -> None:
    """Tell the boards how the system is now."""
    health = system_health()
    with transaction.atomic():
        outbox.publish(HealthUpdated(health=health, version=int(time.time())))
