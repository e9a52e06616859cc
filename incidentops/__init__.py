"""The project package and the ground floor: incidents, live updates, access, telemetry, health."""

from __future__ import annotations

from incidentops.celery import app as celery_app

__all__ = ["celery_app"]
