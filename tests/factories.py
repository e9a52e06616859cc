"""Plain functions that make rows for tests. Every argument has a sensible default."""

from __future__ import annotations

import hashlib
import itertools
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils.timezone import now

from incidentops.access import roles, tokens
from incidentops.access.roles import Role
from incidentops.incidents import attachments, questions
from incidentops.incidents.models import (
    Alert,
    Attachment,
    Incident,
    Question,
    Severity,
    Source,
    Status,
)
from incidentops.telemetry.models import Dependency, Service

_number = itertools.count(1)
SECRET = "secret-of-a-test-source"


def make_source(kind: str = "alertmanager", *, config: dict[str, Any] | None = None) -> Source:
    """A source whose secret is `SECRET`."""
    return Source.objects.create(
        kind=kind,
        name=f"{kind} {next(_number)}",
        config=config or {},
        secret_digest=hashlib.sha256(SECRET.encode()).hexdigest(),
    )


def make_user(role: str | None = "responder", *, name: str = "", password: str = "") -> User:
    """A user to `force_login`; hashing a password is slow, so it is set only when asked for."""
    user = User.objects.create_user(name or f"user{next(_number)}", password=password or None)
    if role:
        roles.grant(user, Role(role))
    return user


def make_incident(status: str = Status.TRIGGERED, **fields: Any) -> Incident:
    """An incident with the stamps its status implies, detected ten minutes ago."""
    detected_at = fields.pop("detected_at", now() - timedelta(minutes=10))
    passed = {
        Status.ACKNOWLEDGED: ["acknowledged_at"],
        Status.MITIGATED: ["acknowledged_at", "mitigated_at"],
        Status.RESOLVED: ["acknowledged_at", "mitigated_at", "resolved_at"],
        Status.CLOSED: ["acknowledged_at", "mitigated_at", "resolved_at", "closed_at"],
    }.get(Status(status), [])
    stamps = {
        stamp: detected_at + timedelta(minutes=minute) for minute, stamp in enumerate(passed, 1)
    }
    return Incident.objects.create(
        **{
            "title": "Something is wrong",
            "status": status,
            "severity": Severity.HIGH,
            "dedup_key": f"test:{next(_number)}",
            "detected_at": detected_at,
            "received_at": detected_at,
            **stamps,
            **fields,
        }
    )


def make_alert(
    source: Source | None = None, *, name: str = "HighLatency", service: str = "", **fields: Any
) -> Alert:
    """A current, firing, unattached alert that began now."""
    number = next(_number)
    at = fields.pop("at", None) or now()
    labels = {"alertname": name, **({"service": service} if service else {})}
    return Alert.objects.create(
        **{
            "source": source or make_source(),
            "fingerprint": f"{number:016x}",
            "status": Alert.Status.FIRING,
            "severity": Severity.HIGH,
            "title": name,
            "service": service,
            "labels": labels | fields.pop("labels", {}),
            "starts_at": at,
            "received_at": at,
            "last_received_at": at,
            "state_changed_at": at,
            **fields,
        }
    )


def make_attachment(
    incident: Incident | None = None,
    *,
    name: str = "app.log",
    content: bytes = b"pool exhausted",
    media_type: str = "text/plain",
    note: str = "",
) -> Attachment:
    """A file that nobody has read yet."""
    return attachments.add(
        incident or make_incident(),
        name=name,
        media_type=media_type,
        content=content,
        note=note,
        by="ada",
    )


def make_question(incident: Incident | None = None, *, text: str = "Who is the owner?") -> Question:
    """A question that nobody has answered yet."""
    return questions.ask(incident or make_incident(), text=text, by="ada")


def make_service(name: str = "", *, depends_on: tuple[Service, ...] = (), **fields: Any) -> Service:
    service = Service.objects.create(name=name or f"service-{next(_number)}", **fields)
    for callee in depends_on:
        Dependency.objects.create(caller=service, callee=callee)
    return service


def make_token(role: str = "responder", **options: Any) -> str:
    """The text of a valid API token."""
    return tokens.create(f"token{next(_number)}", Role(role), by="test", **options)[1]
