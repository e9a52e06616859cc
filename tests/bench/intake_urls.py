"""The product's URLs, and the same intake with one ORM write after the other."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Any

from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.utils.timezone import now
from django.views.decorators.csrf import csrf_exempt

from incidentops.access.permissions import public
from incidentops.incidents import intake_views, payloads
from incidentops.incidents.events import AlertsReceived
from incidentops.incidents.models import Alert, Delivery, Source
from incidentops.incidents.payloads import AlertIn
from incidentops.realtime import outbox
from incidentops.urls import urlpatterns as product_urls


def write(source: Source, alert: AlertIn, at: Any) -> bool:
    """As Django's documentation has it: get or create, then save; whether it was known."""
    with transaction.atomic():
        fields = {
            "status": alert.status,
            "severity": alert.severity,
            "title": alert.title,
            "description": alert.description,
            "service": alert.service,
            "labels": alert.labels,
            "annotations": alert.annotations,
            "url": alert.url,
            "starts_at": alert.starts_at,
            "ends_at": alert.ends_at,
            "last_received_at": at,
        }
        row, is_new = Alert.objects.select_for_update().get_or_create(
            source=source,
            fingerprint=alert.fingerprint,
            is_current=True,
            defaults={**fields, "received_at": at, "state_changed_at": at},
        )
        if not is_new:
            if row.status != alert.status:
                row.state_changed_at = at
            for name, value in fields.items():
                setattr(row, name, value)
            row.count = F("count") + 1
            row.save()
    return not is_new


@csrf_exempt
@public("The benchmark's baseline.")
def per_alert(request: HttpRequest, source_id: str, secret: str) -> JsonResponse:
    source = intake_views._source(source_id, secret)
    body = intake_views._body(request, source)
    at, text = now(), payloads.text_of(body)
    batch = payloads.parse(source.kind, payloads.document_of(text), config=source.config, at=at)
    with transaction.atomic():
        delivery = Delivery.objects.create(
            source=source,
            body=text,
            body_digest=hashlib.sha256(body).hexdigest(),
            received_at=at,
            accepted=len(batch.alerts),
            duplicates=0,
        )
        outbox.publish(AlertsReceived(delivery=delivery.pk))
    duplicates = sum(write(source, alert, at) for alert in batch.alerts)
    Delivery.objects.filter(pk=delivery.pk).update(duplicates=duplicates)
    return JsonResponse(
        {"delivery": delivery.pk, "accepted": len(batch.alerts), "duplicates": duplicates},
        status=HTTPStatus.ACCEPTED,
    )


urlpatterns = [path("baseline/intake/<str:source_id>/<str:secret>/", per_alert), *product_urls]
