from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.timezone import now

from incidentops.access.chain import ChainHead, ChainLink
from incidentops.access.roles import Role


class ApiToken(models.Model):
    """A bearer token. Only its SHA-256 is kept; `prefix` lets a person recognise it in a list."""

    name = models.CharField(max_length=80)
    role = models.CharField(max_length=16, choices=[(role.value, role.value) for role in Role])
    prefix = models.CharField(max_length=16)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            # A revoked token gives its name free, so that a secret can be renewed under it.
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(revoked_at=None), name="token_name_in_use_once"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_valid(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now())

    @property
    def subject(self) -> str:
        """The name under which the sockets of this token's bearer are closed."""
        return f"token:{self.pk}"


class SignInLink(models.Model):
    """A link that signs its user in once, before it expires. Only the SHA-256 is kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    digest = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"for {self.user}"


class AuditHead(ChainHead):
    """The end of the audit chain."""


class AuditEntry(ChainLink):
    """One state change by a person, a token or the swarm."""

    head = AuditHead
    hashed = ("sequence", "at", "actor", "action", "target", "detail")

    at = models.DateTimeField()
    actor = models.CharField(max_length=120)
    action = models.CharField(max_length=64)
    target = models.CharField(max_length=120)
    detail = models.JSONField()

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["target", "-sequence"], name="audit_by_target"),
            models.Index(fields=["actor", "-sequence"], name="audit_by_actor"),
        ]

    def __str__(self) -> str:
        return f"#{self.sequence} {self.actor} {self.action} {self.target}"
