"""The product's settings, with the baseline's URL beside its own."""

from __future__ import annotations

from incidentops.settings import *  # noqa: F403 - settings are names in a module

ROOT_URLCONF = "tests.bench.intake_urls"
