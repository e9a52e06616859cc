"""The Celery application: queues, routes and the beat schedule.

Messages are wake-ups: the database owns all progress, so no result backend, no retries in task
decorators, and losing every message costs only the time until the next sweep.
"""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "incidentops.settings")

app = Celery("incidentops")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
