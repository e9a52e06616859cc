from __future__ import annotations

from django.db import models
from django.utils.timezone import now


class StoredAnswer(models.Model):
    """What a POST with an `Idempotency-Key` was answered, for its repetitions.

    The row is written in the transaction of the effect itself: there is never one without the other.
    """

    actor = models.CharField(max_length=160)
    key = models.CharField(max_length=255)
    request_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(default="")
    location = models.CharField(max_length=400, blank=True, default="")
    created_at = models.DateTimeField(default=now, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["actor", "key"], name="idempotency_key_once_per_actor")
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.key}"
