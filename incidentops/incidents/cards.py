"""The shapes in which incidents and alerts are shown on boards, sockets and in the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from incidentops.incidents.models import Alert, Attachment, Incident, Question, TimelineEntry
from incidentops.realtime import names


def instant(at: datetime | None) -> str | None:
    """As `names.instant`; None where there is none."""
    return names.instant(at) if at else None


def card(incident: Incident) -> dict[str, Any]:
    """An incident as every list and event shows it. Reads `assignee` and nothing else."""
    return {
        "number": incident.number,
        "title": incident.title,
        "status": incident.status,
        "severity": incident.severity,
        "service": incident.service,
        "origin": incident.origin,
        "alert_count": incident.alert_count,
        "version": incident.version,
        "impact_start": instant(incident.impact_start),
        "detected_at": instant(incident.detected_at),
        "received_at": instant(incident.received_at),
        "acknowledged_at": instant(incident.acknowledged_at),
        "mitigated_at": instant(incident.mitigated_at),
        "resolved_at": instant(incident.resolved_at),
        "closed_at": instant(incident.closed_at),
        "assignee": incident.assignee.get_username() if incident.assignee else None,
        "source": incident.source_id,
        "merged_into": incident.merged_into_id,
        "snoozed_until": instant(incident.snoozed_until),
        "reopen_count": incident.reopen_count,
    }


def alert_row(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.pk,
        "fingerprint": alert.fingerprint,
        "title": alert.title,
        "description": alert.description,
        "service": alert.service,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "status": alert.status,
        "severity": alert.severity,
        "starts_at": instant(alert.starts_at),
        "ends_at": instant(alert.ends_at),
        "received_at": instant(alert.received_at),
        "last_received_at": instant(alert.last_received_at),
        "count": alert.count,
        "url": alert.url,
        "merge_reason": alert.merge_reason,
    }


def timeline_row(entry: TimelineEntry) -> dict[str, Any]:
    return {
        "id": entry.pk,
        "at": instant(entry.at),
        "kind": entry.kind,
        "actor": entry.actor,
        "text": entry.text,
        "detail": entry.detail,
    }


def attachment_row(attachment: Attachment) -> dict[str, Any]:
    """An attachment of `Attachment.objects.described()`: all but its bytes and its whole text."""
    return {
        "id": attachment.pk,
        "name": attachment.name,
        "media_type": attachment.media_type,
        "note": attachment.note,
        "size": attachment.size,
        "sha256": attachment.sha256,
        "added_by": attachment.added_by,
        "added_at": instant(attachment.added_at),
        "state": attachment.state,
        "reason": attachment.reason,
        "provider": attachment.provider,
        "call": attachment.call,
        "read_at": instant(attachment.read_at),
        "characters": attachment.characters,  # type: ignore[attr-defined]  # annotated
        "beginning": attachment.beginning,  # type: ignore[attr-defined]  # annotated
        "url": attachment.url,
    }


def question_row(question: Question) -> dict[str, Any]:
    return {
        "id": question.pk,
        "text": question.text,
        "asked_by": question.asked_by,
        "asked_at": instant(question.asked_at),
        "state": question.state,
        "answer": question.answer,
        "sources": question.sources,
        "note": question.note,
        "reason": question.reason,
        "provider": question.provider,
        "call": question.call,
        "answered_at": instant(question.answered_at),
        "url": question.url,
    }
