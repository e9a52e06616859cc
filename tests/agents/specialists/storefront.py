"""A shop in rows whose checkout breaks after a deploy, and the whole way of the alert about it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.test import Client
from django.utils.timezone import now

from agents import swarm
from agents.models import Response
from incidentops.incidents import grouping
from incidentops.incidents.models import Incident, Source
from incidentops.realtime import outbox
from incidentops.telemetry.models import Change, LogLine, Sample, Series
from tests.agents.specialists.case_building import noise
from tests.factories import SECRET, make_service, make_source

ONSET_MINUTES = 20


def push(service: str, metric: str, values: Any) -> None:
    series = Series.objects.create(service=service, metric=metric, key=f"{service} {metric}")
    start = now() - timedelta(minutes=len(values) - 1)
    Sample.objects.bulk_create(
        Sample(series=series, at=start + timedelta(minutes=i), value=value)
        for i, value in enumerate(values)
    )


def stock() -> None:
    """Four services; since the onset one of them fails, three minutes after its deploy."""
    checkout = make_service("checkout", depends_on=(make_service("orders-db", kind="database"),))
    gateway = make_service("gateway", kind="gateway", depends_on=(checkout,))
    make_service("mobile", kind="gateway", depends_on=(gateway,))
    errors = noise(240, level=1, spread=0.1)
    errors[-ONSET_MINUTES:] += 30
    push("checkout", "error_ratio", errors)
    push("orders-db", "cpu", noise(240, level=40, spread=2))
    Change.objects.create(
        service=checkout, kind="deploy", title="checkout 2.4.0", at=now() - timedelta(minutes=23)
    )
    LogLine.objects.bulk_create(
        LogLine(service="checkout", at=now() - timedelta(minutes=i), message=f"order {i} placed")
        for i in range(100)
    )


def report(*, title: str = "Checkout fails", description: str = "Errors above 5 %") -> Incident:
    """Post the alert, as Alertmanager does, and have it made an incident."""
    source = Source.objects.filter(kind="alertmanager").first() or make_source()
    number = Incident.objects.count() + 1
    labels = {"alertname": f"CheckoutFails{number}", "service": "checkout", "severity": "critical"}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": title, "description": description},
        "startsAt": (now() - timedelta(minutes=ONSET_MINUTES - 2)).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": f"{number:016x}",
    }
    body = {
        "version": "4",
        "groupKey": f"{{}}:{{alertname={number}}}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "incidentops",
        "groupLabels": {},
        "commonLabels": labels,
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": [alert],
    }
    answer = Client().post(
        f"/intake/{source.pk}/",
        json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {SECRET}"},
    )
    assert answer.status_code == 202, answer.content
    grouping.attach_pending()
    return Incident.objects.latest("number")


def respond(incident: Incident) -> Response:
    """Hand the event of its opening to the swarm and let that go on until nothing is due."""
    outbox.relay()
    swarm.advance()
    return incident.responses.get()
