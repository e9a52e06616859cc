"""How much may be spent, and what was."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Max, Q
from django.db.models.functions import Now


class BudgetScope(models.TextChoices):
    """What a limit covers: a day (UTC), an incident, one agent's run.

    `critical` is a day's allowance of its own, for incidents of critical severity once one of the
    other limits is reached.
    """

    DAY = "day"
    INCIDENT = "incident"
    RUN = "run"
    CRITICAL = "critical"


class BudgetQuerySet(models.QuerySet["Budget"]):
    def current(self) -> BudgetQuerySet:
        """The limit in force of each scope: the last one set."""
        last = self.values("scope").annotate(last=Max("pk")).values("last")
        return self.filter(pk__in=last)


class Budget(models.Model):
    """A limit as it was set. Setting it anew adds a row, so the rows are the history."""

    scope = models.CharField(max_length=8, choices=BudgetScope.choices)
    limit_nano_usd = models.BigIntegerField()
    set_by = models.CharField(max_length=120)
    set_at = models.DateTimeField()
    note = models.CharField(max_length=200, blank=True, default="")

    objects = BudgetQuerySet.as_manager()

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


class ReservationState(models.TextChoices):
    """`expired`: nobody said what became of the call; its amount counts as spent until someone does."""

    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


class ReservationQuerySet(models.QuerySet["BudgetReservation"]):
    def overdue(self) -> ReservationQuerySet:
        """Still held although their call must have ended, by the clock of the database."""
        return self.filter(state=ReservationState.HELD, expires_at__lte=Now()).order_by(
            "expires_at", "pk"
        )


class BudgetReservation(models.Model):
    """Money set aside for one call. `uses` names the rows it counts in, as [scope, key]."""

    amount = models.BigIntegerField()
    actual = models.BigIntegerField(null=True, blank=True)
    uses = models.JSONField()
    state = models.CharField(
        max_length=8, choices=ReservationState.choices, default=ReservationState.HELD
    )
    reserved_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    objects = ReservationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gte=0), name="reservation_not_negative"),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("reserved_at")), name="reservation_lasts"
            ),
        ]
        indexes = [
            models.Index(
                fields=["expires_at"],
                condition=Q(state=ReservationState.HELD),
                name="reservation_overdue",
            )
        ]

    def __str__(self) -> str:
        return f"{self.amount} nano-USD, {self.state}"
