"""Which model was asked, why, and how it turned out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from django.db import connection, models, transaction
from django.db.models import Max, Q

from incidentops.statements import insert


class RouteWeightsQuerySet(models.QuerySet["RouteWeights"]):
    def current(self) -> RouteWeightsQuerySet:
        """The weights in force of each severity: the last ones set."""
        last = self.values("severity").annotate(last=Max("pk")).values("last")
        return self.filter(pk__in=last)


class RouteWeights(models.Model):
    """What waiting and failing are worth at a severity: assumptions, as they were set.

    `usd_per_second` prices a second of waiting, `usd_per_failure` an answer that is of no use.
    Setting them anew adds a row, so the rows are the history.
    """

    severity = models.CharField(max_length=8)
    usd_per_second = models.DecimalField(max_digits=12, decimal_places=6)
    usd_per_failure = models.DecimalField(max_digits=12, decimal_places=4)
    source = models.CharField(max_length=200)
    set_by = models.CharField(max_length=120)
    set_at = models.DateTimeField()

    objects = RouteWeightsQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "route weights"
        constraints = [
            models.CheckConstraint(
                condition=Q(usd_per_second__gte=0) & Q(usd_per_failure__gte=0),
                name="weights_not_negative",
            )
        ]

    def __str__(self) -> str:
        return f"{self.severity}: {self.usd_per_second} USD/s, {self.usd_per_failure} USD"


class Considered(models.Model):
    """Everybody a choice was made among, kept once for all decisions that were made among the same.

    In a storm hundreds of decisions share what was considered, and it is most of what is kept of
    them.
    """

    digest = models.CharField(max_length=64, primary_key=True)
    candidates = models.JSONField()

    class Meta:
        verbose_name_plural = "considered candidates"

    def __str__(self) -> str:
        return f"{len(self.candidates)} candidates"

    @classmethod
    def of(cls, candidates: Sequence[Mapping[str, Any]]) -> Considered:
        """To be kept with the first decision: `RouteDecision.objects.store` sees to it."""
        made = cls(candidates=candidates)
        made.digest = hashlib.sha256(made.text.encode()).hexdigest()
        return made

    @cached_property
    def text(self) -> str:
        return json.dumps(self.candidates, sort_keys=True, separators=(",", ":"))

    # Whether it is known to be stored for good, and need not be stored again.
    is_kept = False

    def note_kept(self) -> None:
        """It was stored, which holds once the transaction that did it is committed."""
        transaction.on_commit(lambda: setattr(self, "is_kept", True), robust=True)


# In plain SQL, since it runs before every call.
_KEEP = """
    INSERT INTO awsai_considered (digest, candidates) VALUES (%s, %s)
    ON CONFLICT (digest) DO NOTHING
"""


class RouteDecisionQuerySet(models.QuerySet["RouteDecision"]):
    def store(self, decisions: list[RouteDecision]) -> None:
        """Insert new decisions, and what they considered where it is not kept already."""
        considered = {one.considered.digest: one.considered for one in decisions}
        fresh = [found for _, found in sorted(considered.items()) if not found.is_kept]
        with transaction.atomic(savepoint=False):
            if fresh:
                with connection.cursor() as cursor:
                    cursor.executemany(_KEEP, [(found.digest, found.text) for found in fresh])
            insert(decisions)
        for found in fresh:
            found.note_kept()


class RouteDecision(models.Model):
    """A choice of models, with everything it was made from.

    `candidates` lists all that were considered: those in `order` are the cascade, `rejected` says
    why the others are not. `top` is the strongest model that was fit, which the savings are
    measured against. `incident_number` and `run_ref` are plain columns, as in the ledger.
    """

    at = models.DateTimeField(db_index=True)
    task = models.CharField(max_length=60)
    severity = models.CharField(max_length=8)
    level = models.CharField(max_length=8)
    incident_number = models.BigIntegerField(null=True, blank=True)
    run_ref = models.CharField(max_length=80, blank=True, default="")
    input_tokens = models.PositiveIntegerField()
    max_tokens = models.PositiveIntegerField()
    residency = models.JSONField()
    weights = models.JSONField()
    price_version = models.CharField(max_length=40, blank=True, default="")
    considered = models.ForeignKey(Considered, on_delete=models.PROTECT, related_name="decisions")
    chosen = models.CharField(max_length=160)
    chosen_region = models.CharField(max_length=32, blank=True, default="")
    top = models.CharField(max_length=160, blank=True, default="")
    top_region = models.CharField(max_length=32, blank=True, default="")
    reason = models.CharField(max_length=300)

    objects = RouteDecisionQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["incident_number"], name="route_by_incident")]

    def __str__(self) -> str:
        return f"{self.task}: {self.chosen}"

    @property
    def candidates(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.considered.candidates
        return listed


class OutcomeKind(models.TextChoices):
    """What a machine could check of an answer."""

    SCHEMA_VALID = "schema_valid"
    EVIDENCE_EXISTS = "evidence_exists"
    AGREED = "agreed"
    VERIFIED = "verified"


class RouteOutcome(models.Model):
    """How an answer turned out, by one check. The posterior of (task, model) counts these."""

    decision = models.ForeignKey(RouteDecision, on_delete=models.CASCADE, related_name="outcomes")
    model = models.CharField(max_length=160)
    task = models.CharField(max_length=60)
    kind = models.CharField(max_length=16, choices=OutcomeKind.choices)
    is_good = models.BooleanField()
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["decision", "model", "kind"], name="one_outcome_a_check"
            )
        ]
        indexes = [models.Index(fields=["task", "model"], name="outcome_by_task_and_model")]

    def __str__(self) -> str:
        return f"{self.model} {self.kind}: {'good' if self.is_good else 'bad'}"
