"""The product's ASGI application with the topics of tests."""

from __future__ import annotations

from incidentops.asgi import application
from tests.incidentops.realtime import weather

__all__ = ["application", "weather"]
