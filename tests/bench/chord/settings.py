"""The product's settings with specialists that do nothing, for both sides of the comparison."""

from __future__ import annotations

from incidentops.settings import *  # noqa: F403  # every setting of the product

SPECIALISTS = "tests.agents.fakes"
CELERY_RESULT_BACKEND = REDIS_URL  # noqa: F405  # a chord needs one
