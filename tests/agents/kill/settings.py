"""The product's settings with specialists that take their time, so that kills hit them at work."""

from __future__ import annotations

from incidentops.settings import *  # noqa: F403  # every setting of the product

SPECIALISTS = "tests.agents.kill.slow"
