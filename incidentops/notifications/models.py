from __future__ import annotations

from django.db import models
from django.utils.timezone import now


class Notification(models.Model):
    """One message to one recipient, and what became of it.

    `key` makes sending idempotent: whoever asks twice for the same message gets the same row.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        FAILED = "failed"

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
    created_at = models.DateTimeField(default=now)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["incident_number"], name="notification_by_incident")]

    def __str__(self) -> str:
        return f"{self.transport} to {self.recipient}: {self.subject}"
