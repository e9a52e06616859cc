from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class IncidentOpsConfig(AppConfig):
    name = "incidentops"

    def ready(self) -> None:
        """Let every app register what it shows, hears and checks, without being imported by name."""
        autodiscover_modules("topics", "receivers", "probes", "vitals", "sections", "briefing")
