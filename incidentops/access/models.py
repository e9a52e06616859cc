from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.timezone import now

from incidentops.access.roles import Role


class ApiToken(models.Model):
    """A bearer token. Only its SHA-256 is kept; `prefix` lets a person recognise it in a list."""

    name = models.CharField(max_length=80, unique=True)
    role = models.CharField(max_length=16, choices=[(role.value, role.value) for role in Role])
    prefix = models.CharField(max_length=16)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name

    @property
    def is_valid(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now())


class SignInLink(models.Model):
    """A link that signs its user in once, before it expires. Only the SHA-256 is kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    digest = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"for {self.user}"


class AuditHead(models.Model):
    """The end of the audit chain; locking this row is what puts entries in one order."""

    sequence = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="0" * 64)

    def __str__(self) -> str:
        return f"#{self.sequence}"


class AuditEntry(models.Model):
    """One state change by a person, a token or the swarm. Rows are never updated or deleted.

    `hash` is SHA-256 over the previous hash and the canonical JSON of this row.
    """

    sequence = models.BigIntegerField(unique=True)
    at = models.DateTimeField()
    actor = models.CharField(max_length=120)
    action = models.CharField(max_length=64)
    target = models.CharField(max_length=120)
    detail = models.JSONField()
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"#{self.sequence} {self.actor} {self.action} {self.target}"
