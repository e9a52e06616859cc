"""How much may be spent, and what was."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class BudgetScope(models.TextChoices):
    """What a limit covers: a day (UTC), an incident, one agent's run.

    `critical` is a day's allowance of its own, for incidents of critical severity once one of the
    other limits is reached.
    """

    DAY = "day"
    INCIDENT = "incident"
    RUN = "run"
    CRITICAL = "critical"


class Budget(models.Model):
    """A limit as it was set. Setting it anew adds a row, so the rows are the history."""

    scope = models.CharField(max_length=8, choices=BudgetScope.choices)
    limit_nano_usd = models.BigIntegerField()
    set_by = models.CharField(max_length=120)
    set_at = models.DateTimeField()
    note = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(limit_nano_usd__gte=0), name="limit_not_negative")
        ]

    def __str__(self) -> str:
        return f"{self.scope}: {self.limit_nano_usd} nano-USD"


class BudgetUse(models.Model):
    """What one day, incident or run has spent, and what calls under way may still spend."""

    scope = models.CharField(max_length=8, choices=BudgetScope.choices)
    key = models.CharField(max_length=80)
    reserved = models.BigIntegerField(default=0)
    spent = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["scope", "key"], name="one_use_a_key"),
            models.CheckConstraint(
                condition=Q(reserved__gte=0) & Q(spent__gte=0), name="use_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.key}: {self.spent} spent, {self.reserved} reserved"
