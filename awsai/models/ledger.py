from __future__ import annotations

import uuid
from datetime import UTC, date

from django.db import models

from incidentops.access.chain import ChainHead, ChainLink


class Outcome(models.TextChoices):
    """How a call ended. The words of `ports.Trouble`, and what only a ledger can see."""

    SUCCEEDED = "succeeded"
    THROTTLED = "throttled"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    DENIED = "denied"
    REFUSED = "refused"
    BROKEN = "broken"
    BLOCKED = "blocked"
    # A stream that ended without telling its usage.
    TRUNCATED = "truncated"
    # A stream that its reader left.
    ABANDONED = "abandoned"
    # The process died between the call and its row.
    LOST = "lost"


class LedgerHead(ChainHead):
    """The end of the ledger."""


class AwsCallIntent(models.Model):
    """A call that is about to be made, stored before it. Without a row in the ledger it was lost.

    It is also what sets its money aside: until it is settled `estimated_nano_usd` counts as reserved
    in the budgets, in those of critical severity when `is_allowance`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    service = models.CharField(max_length=40)
    operation = models.CharField(max_length=60)
    provider = models.CharField(max_length=16)
    region = models.CharField(max_length=40, blank=True, default="")
    model_requested = models.CharField(max_length=160, blank=True, default="")
    incident_number = models.BigIntegerField(null=True, blank=True)
    agent = models.CharField(max_length=40, blank=True, default="")
    run_ref = models.CharField(max_length=80, blank=True, default="")
    route_decision = models.BigIntegerField(null=True, blank=True)
    prompt_digest = models.CharField(max_length=64, blank=True, default="")
    estimated_nano_usd = models.BigIntegerField(null=True, blank=True)
    is_allowance = models.BooleanField(default=False)
    started_at = models.DateTimeField()
    is_settled = models.BooleanField(default=False)

    class Meta:
        indexes = [
            models.Index(
                fields=["started_at"],
                name="awscallintent_open",
                condition=models.Q(is_settled=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.service}.{self.operation} at {self.started_at}"

    @property
    def is_local(self) -> bool:
        """Whether this installation answers by itself: nothing can be billed."""
        return self.provider == "local"

    @property
    def day(self) -> date:
        """The day (UTC) in whose budget the call counts."""
        return self.started_at.astimezone(UTC).date()


def _unannounced() -> str:
    """For a row that no intent preceded."""
    return str(uuid.uuid4())


class AwsCallQuerySet(models.QuerySet["AwsCall"]):
    def of_incident(self, number: int) -> AwsCallQuerySet:
        return self.filter(incident_number=number)


class AwsCall(ChainLink):
    """One call of an AI service, as billed.

    `agent`, `run_ref`, `incident_number` and `route_decision` are plain columns: the ledger stands
    below the agents. Money is in nano-USD, null where no price is known. `list_price_nano_usd` is
    what AWS would charge for the usage; an emulator bills nothing. `attempts` lists every request of
    the call that got an answer or an error: {"number", "http_status", "error", "latency_ms",
    "request_id"}. `prompt_digest` is an HMAC: the text itself is not kept.
    """

    head = LedgerHead
    hashed = (
        "sequence",
        "intent",
        "request_id",
        "service",
        "operation",
        "provider",
        "region",
        "model_requested",
        "model_invoked",
        "incident_number",
        "agent",
        "run_ref",
        "route_decision",
        "outcome",
        "error_code",
        "stop_reason",
        "attempts",
        "tokens",
        "units",
        "usage_confidence",
        "nano_usd",
        "list_price_nano_usd",
        "price_version",
        "price_confidence",
        "prompt_digest",
        "latency_ms",
        "first_token_ms",
        "started_at",
    )

    intent = models.CharField(max_length=36, unique=True, default=_unannounced)
    request_id = models.CharField(max_length=80, blank=True, default="")
    service = models.CharField(max_length=40)
    operation = models.CharField(max_length=60)
    provider = models.CharField(max_length=16)
    region = models.CharField(max_length=40, blank=True, default="")
    model_requested = models.CharField(max_length=160, blank=True, default="")
    model_invoked = models.CharField(max_length=160, blank=True, default="")
    incident_number = models.BigIntegerField(null=True, blank=True)
    agent = models.CharField(max_length=40, blank=True, default="")
    run_ref = models.CharField(max_length=80, blank=True, default="")
    route_decision = models.BigIntegerField(null=True, blank=True)
    outcome = models.CharField(max_length=24, choices=Outcome)
    error_code = models.CharField(max_length=80, blank=True, default="")
    stop_reason = models.CharField(max_length=40, blank=True, default="")
    attempts = models.JSONField(default=list)
    tokens = models.JSONField(default=dict)
    units = models.JSONField(default=dict)
    usage_confidence = models.CharField(max_length=12, blank=True, default="")
    nano_usd = models.BigIntegerField(null=True, blank=True)
    list_price_nano_usd = models.BigIntegerField(null=True, blank=True)
    price_version = models.CharField(max_length=40, blank=True, default="")
    price_confidence = models.CharField(max_length=12, blank=True, default="")
    prompt_digest = models.CharField(max_length=64, blank=True, default="")
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    first_token_ms = models.PositiveIntegerField(null=True, blank=True)
    started_at = models.DateTimeField()

    objects = AwsCallQuerySet.as_manager()

    class Meta:
        verbose_name = "AWS call"
        indexes = [
            models.Index(fields=["incident_number"], name="awscall_by_incident"),
            models.Index(fields=["service", "-started_at"], name="awscall_by_service"),
            models.Index(fields=["model_invoked", "-started_at"], name="awscall_by_model"),
        ]

    def __str__(self) -> str:
        return f"#{self.sequence} {self.service}.{self.operation}"


class AwsCallPayload(models.Model):
    """The words of a call, encrypted, for as long as the operator asked to keep them."""

    intent = models.UUIDField(primary_key=True)
    sealed = models.BinaryField()
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"Payload of {self.intent}"
