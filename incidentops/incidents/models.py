"""Sources, deliveries, alerts and incidents: the state, its constraints and its sets."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Left, Length, Now
from django.utils.timezone import now

from incidentops.incidents.masking import masked

# Clocks that agree this well are right.
CLOCK_TOLERANCE = timedelta(seconds=5)


def new_source_id() -> str:
    return secrets.token_hex(6)


class SourceQuerySet(models.QuerySet["Source"]):
    def present(self) -> SourceQuerySet:
        """Without deleted ones."""
        return self.filter(deleted_at=None)


class Source(models.Model):
    """Where alerts come from. `kind` decides the format; only the secret's SHA-256 is kept.

    A deleted source keeps its row, for the sake of what it once delivered.
    """

    class Kind(models.TextChoices):
        ALERTMANAGER = "alertmanager"
        PROMETHEUS = "prometheus"
        GENERIC = "generic"

    id = models.CharField(max_length=12, primary_key=True, default=new_source_id)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    name = models.CharField(max_length=80)
    config = models.JSONField(default=dict, blank=True)
    secret_digest = models.CharField(max_length=64)
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now)
    last_delivery_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = SourceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name"],
                condition=models.Q(deleted_at=None),
                name="one_present_source_per_name",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"

    @property
    def shown_config(self) -> dict[str, Any]:
        """The configuration for anybody to see: without the passwords in its URLs."""
        shown: dict[str, Any] = masked(self.config)
        return shown


class Delivery(models.Model):
    """One accepted body, as it came. From the moment this row is committed it is never lost.

    `key` is the sender's idempotency key. `truncated` counts the alerts the sender says it left out.
    """

    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="deliveries")
    key = models.CharField(max_length=200, blank=True, default="")
    body = models.TextField()
    body_digest = models.CharField(max_length=64)
    received_at = models.DateTimeField()
    accepted = models.PositiveIntegerField()
    duplicates = models.PositiveIntegerField()
    truncated = models.PositiveBigIntegerField(default=0)
    is_coalesced = models.BooleanField(default=False)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["source", "key"],
                condition=~models.Q(key=""),
                name="delivery_key_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["source", "body_digest", "-received_at"], name="delivery_by_digest"
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} from {self.source_id}"


class DeadLetter(models.Model):
    """A body that was valid JSON but not the source's format, kept with the reason.

    The same body again only adds to `count` while it lies here.
    """

    class State(models.TextChoices):
        DEAD = "dead"
        REQUEUED = "requeued"

    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="dead_letters")
    body = models.TextField()
    body_digest = models.CharField(max_length=64, blank=True, default="")
    field = models.CharField(max_length=200)
    reason = models.TextField()
    received_at = models.DateTimeField(default=now)
    last_received_at = models.DateTimeField(default=now)
    count = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=8, choices=State.choices, default=State.DEAD)
    delivery = models.ForeignKey(Delivery, on_delete=models.PROTECT, null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "body_digest"],
                condition=models.Q(state="dead") & ~models.Q(body_digest=""),
                name="dead_body_once",
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.field}: {self.reason}"


class Severity(models.TextChoices):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 is the most urgent."""
        return list(Severity).index(self)


class Status(models.TextChoices):
    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"
    CLOSED = "closed"
    MERGED = "merged"


OPEN_STATUSES = (Status.TRIGGERED, Status.ACKNOWLEDGED, Status.MITIGATED)

# The only lawful changes of status. The database refuses every other one, too: a migration writes
# this table into a trigger.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.TRIGGERED: frozenset(
        {Status.ACKNOWLEDGED, Status.MITIGATED, Status.RESOLVED, Status.MERGED}
    ),
    Status.ACKNOWLEDGED: frozenset({Status.MITIGATED, Status.RESOLVED, Status.MERGED}),
    Status.MITIGATED: frozenset({Status.TRIGGERED, Status.RESOLVED, Status.MERGED}),
    Status.RESOLVED: frozenset({Status.TRIGGERED, Status.CLOSED}),
    Status.CLOSED: frozenset({Status.TRIGGERED}),
    Status.MERGED: frozenset({Status.TRIGGERED}),
}


class IncidentQuerySet(models.QuerySet["Incident"]):
    def open(self) -> IncidentQuerySet:
        return self.filter(status__in=OPEN_STATUSES)

    def live(self) -> IncidentQuerySet:
        """Without exercises."""
        return self.filter(origin=Incident.Origin.LIVE)


class Incident(models.Model):
    """A disturbance of service that people or agents must end.

    Seven stamps tell its story: when users began to suffer, when monitoring saw it, when we were
    told, and when it was acknowledged, mitigated, resolved and closed. `version` grows with every
    change, so a reader can tell which of two views is newer.
    """

    class Origin(models.TextChoices):
        LIVE = "live"
        GAMEDAY = "gameday"

    number = models.BigAutoField(primary_key=True)
    title = models.CharField(max_length=300)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.TRIGGERED)
    severity = models.CharField(max_length=8, choices=Severity.choices)
    # A person has judged: alerts no longer raise the severity.
    is_severity_fixed = models.BooleanField(default=False)
    service = models.CharField(max_length=120, blank=True, default="")
    origin = models.CharField(max_length=8, choices=Origin.choices, default=Origin.LIVE)
    source = models.ForeignKey(Source, on_delete=models.PROTECT, null=True, blank=True)
    dedup_key = models.CharField(max_length=200)
    version = models.BigIntegerField(default=1)

    impact_start = models.DateTimeField(null=True, blank=True)
    detected_at = models.DateTimeField()
    received_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    mitigated_at = models.DateTimeField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True
    )
    alert_count = models.PositiveIntegerField(default=0)
    reopen_count = models.PositiveIntegerField(default=0)
    failed_action_count = models.PositiveIntegerField(default=0)
    merged_into = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="merged"
    )
    snoozed_until = models.DateTimeField(null=True, blank=True)

    objects = IncidentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["dedup_key"],
                condition=models.Q(status__in=OPEN_STATUSES),
                name="one_open_incident_per_dedup_key",
            ),
        ]
        indexes = [
            models.Index(fields=["status", "-number"], name="incident_by_status"),
            models.Index(fields=["resolved_at"], name="incident_by_resolution"),
        ]

    def __str__(self) -> str:
        return f"#{self.number} {self.title}"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def time_to_acknowledge(self) -> timedelta | None:
        return self.acknowledged_at - self.detected_at if self.acknowledged_at else None

    @property
    def time_to_resolve(self) -> timedelta | None:
        return self.resolved_at - self.detected_at if self.resolved_at else None


class Alert(models.Model):
    """What a source says is wrong, folded by fingerprint.

    One row stands for a fingerprint for as long as its incident is open (`is_current`), however
    often it fires, repeats and recovers. What fires after that is a new row and can open a new
    incident.
    """

    class Status(models.TextChoices):
        FIRING = "firing"
        RESOLVED = "resolved"

    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="alerts")
    fingerprint = models.CharField(max_length=200)
    is_current = models.BooleanField(default=True)
    status = models.CharField(max_length=8, choices=Status.choices)
    severity = models.CharField(max_length=8, choices=Severity.choices)
    title = models.CharField(max_length=300)
    description = models.TextField(blank=True, default="")
    service = models.CharField(max_length=120, blank=True, default="")
    labels = models.JSONField(default=dict)
    annotations = models.JSONField(default=dict)
    url = models.TextField(blank=True, default="")
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    received_at = models.DateTimeField()
    last_received_at = models.DateTimeField()
    state_changed_at = models.DateTimeField()
    count = models.PositiveIntegerField(default=1)
    # The status its incident's readers were last told of; "" until it is attached.
    told_status = models.CharField(max_length=8, blank=True, default="", db_default="")
    incident = models.ForeignKey(
        Incident, on_delete=models.PROTECT, null=True, blank=True, related_name="alerts"
    )
    merge_reason = models.JSONField(default=dict, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "fingerprint"],
                condition=models.Q(is_current=True),
                name="one_current_alert_per_fingerprint",
            ),
        ]
        indexes = [
            models.Index(
                fields=["id"],
                condition=models.Q(incident=None, is_current=True),
                name="alert_unattached",
            ),
            models.Index(fields=["incident", "status"], name="alert_by_incident"),
            models.Index(fields=["incident", "-id"], name="alert_newest_of_incident"),
            models.Index(
                fields=["incident"],
                condition=models.Q(is_current=True) & ~models.Q(status=models.F("told_status")),
                name="alert_untold",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def began_at(self) -> datetime:
        """When it began as far as can be believed: never after we heard of it."""
        return min(self.starts_at or self.received_at, self.received_at)

    @property
    def is_future_dated(self) -> bool:
        """The sender's clock is ahead: it says the alert began after it told us."""
        return self.starts_at is not None and self.starts_at > self.received_at + CLOCK_TOLERANCE


class TimelineEntry(models.Model):
    """One line of an incident's story. Rows are only ever added.

    `kind` is dotted ("incident.acknowledged", "alert.attached", "phase.done", "comment").
    """

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="timeline")
    at = models.DateTimeField(default=now)
    kind = models.CharField(max_length=40)
    actor = models.CharField(max_length=120)
    text = models.TextField()
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        verbose_name_plural = "timeline entries"
        indexes = [models.Index(fields=["incident", "id"], name="timeline_in_order")]

    def __str__(self) -> str:
        return self.text[:80]


class Claimable(models.Model):
    """A row that somebody on a floor above works on: see `claims`.

    `attempts` fences the work, `due_at` (the database's clock) is when the next attempt may begin.
    `reason` says why it failed, or why it is put off.
    """

    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(default=now)
    reason = models.TextField(blank=True, default="")

    class Meta:
        abstract = True


class AttachmentQuerySet(models.QuerySet["Attachment"]):
    def described(self) -> AttachmentQuerySet:
        """Without bytes and text; instead how long the text is and how it begins."""
        return self.defer("content", "text").annotate(
            characters=Length("text"), beginning=Left("text", Attachment.BEGINNING)
        )

    def unread(self) -> AttachmentQuerySet:
        """To be read now: new, put off until now, or left by a reader that died."""
        return self.filter(state=Attachment.State.PENDING, due_at__lte=Now())


class Attachment(Claimable):
    """A file that people added to an incident, and what was read in it.

    `provider` and `call` name who read it and the row of that in the ledger.
    """

    BEGINNING = 300

    class State(models.TextChoices):
        PENDING = "pending"
        READ = "read"
        UNREADABLE = "unreadable"

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="attachments")
    name = models.CharField(max_length=255)
    media_type = models.CharField(max_length=255, blank=True, default="")
    note = models.CharField(max_length=1000, blank=True, default="")
    size = models.PositiveIntegerField(help_text="Bytes.")
    sha256 = models.CharField(max_length=64)
    content = models.BinaryField()
    added_by = models.CharField(max_length=120)
    added_at = models.DateTimeField(default=now)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    text = models.TextField(blank=True, default="")
    provider = models.CharField(max_length=16, blank=True, default="")
    call = models.BigIntegerField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)

    objects = AttachmentQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["due_at"], condition=models.Q(state="pending"), name="attachment_unread"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def url(self) -> str:
        return f"/api/v1/incidents/{self.incident_id}/attachments/{self.pk}/"


class QuestionQuerySet(models.QuerySet["Question"]):
    def unanswered(self) -> QuestionQuerySet:
        """To be answered now: new, put off until now, or left by somebody who died over it."""
        return self.filter(state=Question.State.WAITING, due_at__lte=Now())


class Question(Claimable):
    """What somebody asked about an incident, and what was answered.

    The answer cites facts by ids in square brackets; `sources` tells what those stand for.
    `provider` and `call` name who answered and the row of that in the ledger, `note` says what people
    should know of how the answer came about.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        ANSWERED = "answered"
        FAILED = "failed"

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="questions")
    text = models.CharField(max_length=2000)
    asked_by = models.CharField(max_length=120)
    asked_at = models.DateTimeField(default=now)
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    answer = models.TextField(blank=True, default="")
    sources = models.JSONField(default=list, blank=True)
    note = models.TextField(blank=True, default="")
    provider = models.CharField(max_length=16, blank=True, default="")
    call = models.BigIntegerField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)

    objects = QuestionQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["due_at"], condition=models.Q(state="waiting"), name="question_unanswered"
            ),
        ]

    def __str__(self) -> str:
        return self.text[:80]

    @property
    def url(self) -> str:
        return f"/api/v1/incidents/{self.incident_id}/questions/{self.pk}/"
