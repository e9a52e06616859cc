"""A process that works on the live instance's database, as a worker would. A command a line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "incidentops.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.test import Client  # noqa: E402

from incidentops.access import tokens  # noqa: E402
from incidentops.access.roles import Role  # noqa: E402
from incidentops.realtime import control, gauges, outbox  # noqa: E402
from incidentops.realtime.models import OutboxEvent, TopicHead  # noqa: E402
from tests import factories  # noqa: E402
from tests.incidentops.realtime import weather  # noqa: E402


def measure(place, degrees, count=1, region="", pad=0):
    for number in range(count):
        weather.measure(place + "x" * pad, degrees + number, region)


def token(name, role):
    row, text = tokens.create(name, Role(role))
    return {"subject": row.subject, "text": text}


def session(role):
    user = factories.make_user(role)
    client = Client()
    client.force_login(user)
    key = client.cookies[settings.SESSION_COOKIE_NAME].value
    return {"subject": f"user:{user.pk}", "cookie": f"{settings.SESSION_COOKIE_NAME}={key}"}


def state():
    head = TopicHead.objects.filter(topic="weather").first()
    return {
        "temperatures": weather.temperatures(),
        "position": head.position if head else 0,
        "epoch": head.epoch if head else "",
        "unpositioned": OutboxEvent.objects.filter(positioned_at=None).count(),
    }


def new_epoch():
    TopicHead.objects.filter(topic="weather").update(epoch="another")


COMMANDS: dict[str, Callable[..., object]] = {
    "measure": measure,
    "token": token,
    "session": session,
    "state": state,
    "new_epoch": new_epoch,
    "revoke": control.revoke,
    "relay": outbox.relay,
    "processes": lambda: [process.sockets for process in gauges.web_processes()],
}

for line in sys.stdin:
    name, arguments = json.loads(line)
    sys.stdout.write(json.dumps(COMMANDS[name](**arguments)) + "\n")
    sys.stdout.flush()
