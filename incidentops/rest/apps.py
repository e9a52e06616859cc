from __future__ import annotations

from django.apps import AppConfig


class RestConfig(AppConfig):
    name = "incidentops.rest"
    label = "rest"
