from __future__ import annotations

from django.db import models
from django.utils.timezone import now


class Service(models.Model):
    """Something that can break and depends on other things: the inventory actions aim at."""

    class Kind(models.TextChoices):
        GATEWAY = "gateway"
        SERVICE = "service"
        WORKER = "worker"
        QUEUE = "queue"
        CACHE = "cache"
        DATABASE = "database"
        STORAGE = "storage"
        EXTERNAL = "external"

    name = models.CharField(max_length=120, unique=True)
    kind = models.CharField(max_length=16, choices=Kind.choices, default=Kind.SERVICE)
    description = models.TextField(blank=True, default="")
    owner = models.CharField(max_length=120, blank=True, default="")
    created_at = models.DateTimeField(default=now)
    depends_on = models.ManyToManyField(
        "self", through="Dependency", symmetrical=False, related_name="used_by"
    )

    def __str__(self) -> str:
        return self.name


class Dependency(models.Model):
    """`caller` calls `callee`: trouble in the callee can show in the caller."""

    caller = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="calls")
    callee = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="called_by")

    class Meta:
        verbose_name_plural = "dependencies"
        constraints = [
            models.UniqueConstraint(fields=["caller", "callee"], name="dependency_once"),
            models.CheckConstraint(
                condition=~models.Q(caller=models.F("callee")), name="dependency_not_on_itself"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.caller} → {self.callee}"


class Change(models.Model):
    """Something people or pipelines did to a service: a deploy, a configuration, a flag."""

    class Kind(models.TextChoices):
        DEPLOY = "deploy"
        CONFIG = "config"
        FLAG = "flag"
        INFRASTRUCTURE = "infrastructure"
        OTHER = "other"

    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="changes")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    title = models.CharField(max_length=200)
    at = models.DateTimeField()
    url = models.URLField(blank=True, default="")
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        indexes = [models.Index(fields=["service", "-at"], name="change_by_service")]

    def __str__(self) -> str:
        return self.title


class Series(models.Model):
    """The identity of pushed samples: a metric of a service with its labels."""

    service = models.CharField(max_length=120)
    metric = models.CharField(max_length=160)
    labels = models.JSONField(default=dict)
    unit = models.CharField(max_length=24, blank=True, default="")
    key = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=now)

    class Meta:
        verbose_name_plural = "series"
        indexes = [models.Index(fields=["service", "metric"], name="series_by_service")]

    def __str__(self) -> str:
        return f"{self.service} {self.metric}"


class Sample(models.Model):
    """One pushed measurement."""

    series = models.ForeignKey(Series, on_delete=models.CASCADE, related_name="samples")
    at = models.DateTimeField()
    value = models.FloatField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["series", "at"], name="sample_once"),
        ]
        indexes = [models.Index(fields=["at"], name="sample_by_age")]

    def __str__(self) -> str:
        return f"{self.series_id}@{self.at:%Y-%m-%dT%H:%M:%S}"


class LogLine(models.Model):
    """One pushed log line. `identity` is what makes pushing it again add nothing."""

    identity = models.UUIDField(null=True, blank=True, unique=True)
    service = models.CharField(max_length=120)
    at = models.DateTimeField()
    level = models.CharField(max_length=16, blank=True, default="")
    message = models.TextField()

    class Meta:
        indexes = [
            models.Index(fields=["service", "at"], name="log_by_service"),
            models.Index(fields=["at"], name="log_by_age"),
        ]

    def __str__(self) -> str:
        return self.message[:80]
