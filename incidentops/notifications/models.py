from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.timezone import now


class NotificationQuerySet(models.QuerySet["Notification"]):
    def due(self) -> NotificationQuerySet:
        """What may be handed over now, by the database's clock."""
        return self.waiting().filter(
            models.Q(held_until=None) | models.Q(held_until__lte=Now()), due_at__lte=Now()
        )

    def waiting(self) -> NotificationQuerySet:
        """What is still to be handed over, now or later."""
        return self.exclude(state=Notification.State.SENT).exclude(due_at=None)


class Notification(models.Model):
    """One message to one recipient, and what became of it.

    `key` makes sending idempotent: whoever asks twice for the same message gets the same row.
    `due_at` is when it may next be handed over, None when never again; claiming a message moves it
    past the claimer's lease. Until `held_until` somebody has asked for quiet; a message that has
    become moot meanwhile is dropped.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        FAILED = "failed"
        DROPPED = "dropped"

    key = models.CharField(max_length=120, unique=True)
    incident_number = models.BigIntegerField(null=True, blank=True)
    audience = models.CharField(max_length=32)
    transport = models.CharField(max_length=32)
    recipient = models.CharField(max_length=254)
    subject = models.CharField(max_length=250)
    body = models.TextField()
    provider = models.CharField(max_length=16)
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True, default="")
    due_at = models.DateTimeField(null=True, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=now)
    sent_at = models.DateTimeField(null=True, blank=True)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["incident_number"], name="notification_by_incident"),
            models.Index(
                fields=["due_at"],
                condition=~models.Q(state="sent"),
                name="notification_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.transport} to {self.masked_recipient}: {self.subject}"

    @property
    def masked_recipient(self) -> str:
        """The recipient for those who may not see addresses: enough to tell two apart, no more."""
        name, at, domain = self.recipient.rpartition("@")
        return f"{name[:1]}…@{domain}" if at else f"{self.recipient[:1]}…"
