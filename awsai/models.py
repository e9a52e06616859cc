from __future__ import annotations

from django.db import models

from incidentops.access.chain import ChainHead, ChainLink


class LedgerHead(ChainHead):
    """The end of the ledger."""


class AwsCallQuerySet(models.QuerySet["AwsCall"]):
    def of_incident(self, number: int) -> AwsCallQuerySet:
        return self.filter(incident_number=number)


class AwsCall(ChainLink):
    """One call of an AI service, as billed.

    `agent`, `run_ref` and `incident_number` are plain columns: the ledger stands below the agents.
    Money is in nano-USD; `list_price_nano_usd` is what AWS would have charged for a call that an
    emulator served.
    """

    head = LedgerHead
    hashed = (
        "sequence",
        "request_id",
        "service",
        "operation",
        "provider",
        "model_requested",
        "model_invoked",
        "incident_number",
        "agent",
        "run_ref",
        "outcome",
        "attempts",
        "tokens",
        "units",
        "nano_usd",
        "list_price_nano_usd",
        "price_version",
        "latency_ms",
        "started_at",
    )

    request_id = models.CharField(max_length=80, blank=True, default="")
    service = models.CharField(max_length=40)
    operation = models.CharField(max_length=60)
    provider = models.CharField(max_length=16)
    model_requested = models.CharField(max_length=160, blank=True, default="")
    model_invoked = models.CharField(max_length=160, blank=True, default="")
    incident_number = models.BigIntegerField(null=True, blank=True)
    agent = models.CharField(max_length=40, blank=True, default="")
    run_ref = models.CharField(max_length=80, blank=True, default="")
    outcome = models.CharField(max_length=24)
    attempts = models.PositiveIntegerField(default=1)
    tokens = models.JSONField(default=dict)
    units = models.JSONField(default=dict)
    nano_usd = models.BigIntegerField(default=0)
    list_price_nano_usd = models.BigIntegerField(default=0)
    price_version = models.CharField(max_length=40, blank=True, default="")
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    started_at = models.DateTimeField()

    objects = AwsCallQuerySet.as_manager()

    class Meta:
        verbose_name = "AWS call"
        indexes = [models.Index(fields=["incident_number"], name="awscall_by_incident")]

    def __str__(self) -> str:
        return f"#{self.sequence} {self.service}.{self.operation}"
