"""Which models there are, what they can do and how long they will be there."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q

from awsai.models.prices import Scope

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
WARN_BEFORE_END = timedelta(days=60)


class Lifecycle(models.TextChoices):
    ACTIVE = "active"
    LEGACY = "legacy"
    EOL = "eol"
    UNKNOWN = "unknown"


class Onboarding(models.TextChoices):
    """Whether the account may use the model; `unknown` until it was asked."""

    KNOWN = "known"
    DENIED = "denied"
    UNKNOWN = "unknown"


class CatalogueQuerySet(models.QuerySet["CatalogueModel"]):
    def ending_soon(self, at: datetime) -> CatalogueQuerySet:
        """Models that end within 60 days from `at`, the first to end first."""
        soon = self.filter(eol_at__gt=at, eol_at__lte=at + WARN_BEFORE_END)
        return soon.order_by("eol_at", "model_id")

    def routable(self) -> CatalogueQuerySet:
        """Models that a service of this product calls."""
        return self.exclude(service="").order_by("model_id")


class CatalogueModel(models.Model):
    """A model under an id that can be called: its own, or that of a profile (`scope`).

    `regions` are those where the id can be called, empty while unknown. `capabilities` has true,
    false or null for tools, json_schema, vision, temperature_allowed and count_tokens: null is not
    known. `service` is the word of the ledger, empty for a model no service of ours calls.
    """

    model_id = models.CharField(max_length=160, unique=True)
    name = models.CharField(max_length=120)
    provider_name = models.CharField(max_length=60)
    family = models.CharField(max_length=60, blank=True, default="")
    service = models.CharField(max_length=40, blank=True, default="")
    base_id = models.CharField(max_length=120, db_index=True)
    scope = models.CharField(max_length=10, choices=Scope.choices)
    regions = models.JSONField(default=list, blank=True)
    capabilities = models.JSONField(default=dict, blank=True)
    context_tokens = models.PositiveIntegerField(null=True, blank=True)
    max_output = models.PositiveIntegerField(null=True, blank=True)
    lifecycle = models.CharField(max_length=8, choices=Lifecycle.choices, default=Lifecycle.UNKNOWN)
    eol_at = models.DateTimeField(null=True, blank=True)
    onboarding = models.CharField(
        max_length=8, choices=Onboarding.choices, default=Onboarding.UNKNOWN
    )
    synced_at = models.DateTimeField()
    source = models.CharField(max_length=200)

    objects = CatalogueQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(model_id=""), name="catalogue_model_has_an_id")
        ]

    def __str__(self) -> str:
        return self.model_id

    @property
    def version(self) -> float:
        """The number in the name ("Claude Sonnet 4.6"), 0 where there is none."""
        found = _NUMBER.search(self.name)
        return float(found[0]) if found else 0.0

    def lifecycle_at(self, at: datetime) -> Lifecycle:
        """The lifecycle by the clock: an end that has passed needs no sync to be known."""
        if self.eol_at is not None and self.eol_at <= at:
            return Lifecycle.EOL
        return Lifecycle(self.lifecycle)
