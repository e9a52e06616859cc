from __future__ import annotations

import uuid

from django.db import models


def new_epoch() -> str:
    return uuid.uuid4().hex[:12]


class OutboxEvent(models.Model):
    """One committed event. Rows are written by `outbox.publish` inside business transactions.

    `positioned_at` is set once the event has its place in every topic, `handled_at` once every
    receiver has taken it. Until then the receivers are called again at `due_at`.
    """

    type = models.CharField(max_length=64)
    version = models.BigIntegerField()
    data = models.JSONField()
    at = models.DateTimeField()
    positioned_at = models.DateTimeField(null=True)
    handled_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["id"],
                condition=models.Q(positioned_at=None),
                name="outbox_unpositioned",
            ),
            models.Index(
                fields=["due_at", "id"],
                condition=models.Q(handled_at=None),
                name="outbox_unhandled",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} #{self.pk}"


class RelayTurn(models.Model):
    """The one row whose lock puts relays in a line, so that positions follow commits."""

    def __str__(self) -> str:
        return "turn"


class TopicHead(models.Model):
    """The newest position of a topic. `epoch` changes when positions stop being comparable."""

    topic = models.CharField(max_length=64, primary_key=True)
    epoch = models.CharField(max_length=12, default=new_epoch)
    position = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.topic}@{self.position}"


class TopicEntry(models.Model):
    """An event's place in one topic, with the data that topic's readers may see."""

    topic = models.CharField(max_length=64)
    position = models.BigIntegerField()
    event = models.ForeignKey(OutboxEvent, on_delete=models.CASCADE, related_name="entries")
    data = models.JSONField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["topic", "position"], name="topic_position_once"),
            models.UniqueConstraint(fields=["topic", "event"], name="topic_event_once"),
        ]

    def __str__(self) -> str:
        return f"{self.topic}@{self.position}"
