from __future__ import annotations

from django.db import models


class PublishedKpis(models.Model):
    """The KPIs last shown on the sockets, so that a snapshot and the events after it agree.

    `content` has the keys of the topic's parts: `kpis` and `in_progress`.
    """

    window = models.CharField(max_length=8)
    origin = models.CharField(max_length=8)
    version = models.BigIntegerField(default=0)
    content = models.JSONField(default=dict)
    computed_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "published KPIs"
        constraints = [
            models.UniqueConstraint(fields=["window", "origin"], name="kpis_published_once"),
        ]

    def __str__(self) -> str:
        return f"{self.window} {self.origin} v{self.version}"
