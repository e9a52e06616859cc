from __future__ import annotations

import uuid

from django.db import models
from django.db.models.functions import Now
from django.utils.timezone import now

from incidentops.incidents.models import Claimable, Incident, Status


class KnowledgeKind(models.TextChoices):
    LESSON = "lesson"
    RUNBOOK = "runbook"
    PAGE = "page"


class Knowledge(models.Model):
    """A document this installation can look things up in.

    `ref` is its name where it comes from, and `version` counts its states from 1.
    """

    kind = models.CharField(max_length=16, choices=KnowledgeKind.choices)
    ref = models.CharField(max_length=200)
    title = models.CharField(max_length=300)
    text = models.TextField()
    uri = models.CharField(max_length=1000, blank=True, default="")
    version = models.PositiveIntegerField(default=1)
    learnt_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "knowledge"
        constraints = [models.UniqueConstraint(fields=["kind", "ref"], name="knowledge_once")]

    def __str__(self) -> str:
        return f"{self.kind}:{self.ref}"


class KnowledgeEdition(models.Model):
    """The one row (primary key 1) whose stamp changes with every change of the knowledge.

    A number would not do: a change that is rolled back gives its number to the next one, and what
    was read meanwhile would pass for current.
    """

    stamp = models.UUIDField(default=uuid.uuid4)

    def __str__(self) -> str:
        return str(self.stamp)


class MemoryEntry(models.Model):
    """What the assistant keeps of one session.

    `turns` is a bounded list of {"by": "person" | "assistant", "text"}; `summary` is empty until
    the session has ended.
    """

    memory_id = models.CharField(max_length=100)
    session_id = models.CharField(max_length=100)
    turns = models.JSONField(default=list)
    summary = models.TextField(blank=True, default="")
    at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "memory entries"
        constraints = [
            models.UniqueConstraint(fields=["memory_id", "session_id"], name="memory_once")
        ]

    def __str__(self) -> str:
        return f"{self.memory_id}/{self.session_id}"


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def to_end(self) -> ConversationQuerySet:
        """To be ended now: the incident was closed, and perhaps reopened since."""
        is_over = models.Q(incident__status=Status.CLOSED) | models.Q(
            incident__reopen_count__gt=models.F("cycle")
        )
        return self.filter(is_over, state=Conversation.State.OPEN, due_at__lte=Now())


class Conversation(Claimable):
    """One session with the assistant about an incident, from its first question to its closing.

    `cycle` is how often the incident had been reopened; `memory_id` outlives the session.
    """

    class State(models.TextChoices):
        OPEN = "open"
        ENDED = "ended"
        FAILED = "failed"

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="conversations")
    cycle = models.PositiveIntegerField()
    memory_id = models.CharField(max_length=100)
    state = models.CharField(max_length=6, choices=State.choices, default=State.OPEN)
    begun_at = models.DateTimeField(default=now)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["incident", "cycle"], name="conversation_once"),
        ]
        indexes = [
            models.Index(
                fields=["due_at"], condition=models.Q(state="open"), name="conversation_open"
            ),
        ]

    def __str__(self) -> str:
        return self.session_id

    @property
    def session_id(self) -> str:
        return f"incident:{self.incident_id}:{self.cycle}"
