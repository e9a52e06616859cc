"""The Celery application: queues, routes and the beat schedule.

Messages are wake-ups: the database owns all progress, so no result backend, no retries in task
decorators, and losing every message costs only the time until the next sweep.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_init
from django.db import connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "incidentops.settings")

app = Celery("incidentops")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def without_pool(**kwargs: Any) -> None:
    """Celery closes the process's pool after every task, under the feet of its other threads."""
    for alias in connections:
        connections.settings[alias]["OPTIONS"].pop("pool", None)
