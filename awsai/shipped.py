"""What an installation starts with: models, prices and what waiting and failing are worth."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import connections

from awsai import catalogue, prices, routes
from awsai.models import RouteWeights


def load(sender: AppConfig, *, using: str, **kwargs: Any) -> None:
    """After `migrate`: load what is new. Nothing that a person or a sync has set is overwritten."""
    del sender, kwargs
    # Migrating backwards takes the tables away.
    if RouteWeights._meta.db_table not in connections[using].introspection.table_names():
        return
    catalogue.load()
    prices.load()
    routes.ensure_weights()
