"""What AWS charges: dated lists of rates, of which one at most is in force."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Q


class PriceStatus(models.TextChoices):
    DRAFT = "draft"
    ACTIVE = "active"
    RETIRED = "retired"


class Scope(models.TextChoices):
    """How far a request may travel; the name of an inference profile says it."""

    GLOBAL = "global"
    GEO = "geo"
    IN_REGION = "in-region"


class Tier(models.TextChoices):
    DEFAULT = "default"
    FLEX = "flex"
    PRIORITY = "priority"
    BATCH = "batch"


class RateConfidence(models.TextChoices):
    """`verified` was read at AWS, `third_party` elsewhere, `estimated` is doubtful."""

    VERIFIED = "verified"
    THIRD_PARTY = "third_party"
    ESTIMATED = "estimated"


class PriceFrozen(Exception):
    """A list that bills, or has billed, never changes: what was charged must stay explainable."""


class PriceVersion(models.Model):
    """A list of rates. Only a draft may change; the ledger names the list that billed by `label`.

    `sha256` is that of the rates as they came: by it the same news are known again, whatever a
    person has edited since. `doubts` are sentences about what a refresh could not read: they keep
    the draft from becoming active unseen.
    """

    source = models.CharField(max_length=200)
    fetched_at = models.DateTimeField()
    sha256 = models.CharField(max_length=64, db_index=True)
    status = models.CharField(max_length=8, choices=PriceStatus.choices, default=PriceStatus.DRAFT)
    note = models.CharField(max_length=200, blank=True, default="")
    doubts = models.JSONField(default=list, blank=True)
    approved_by = models.CharField(max_length=120, blank=True, default="")
    activated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["status"],
                condition=Q(status=PriceStatus.ACTIVE),
                name="one_active_price_version",
            )
        ]

    def __str__(self) -> str:
        return f"{self.label} ({self.status})"

    @property
    def label(self) -> str:
        return f"{self.fetched_at:%Y-%m-%d}.{self.pk}"

    @property
    def is_draft(self) -> bool:
        return self.status == PriceStatus.DRAFT

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        if not self.is_draft:
            raise PriceFrozen(str(self))
        return super().delete(*args, **kwargs)


class PriceRateQuerySet(models.QuerySet["PriceRate"]):
    """Writes only to drafts, whichever way they are made."""

    def update(self, **values: Any) -> int:
        self._refuse_frozen()
        return super().update(**values)

    def delete(self) -> tuple[int, dict[str, int]]:
        self._refuse_frozen()
        return super().delete()

    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> list[PriceRate]:
        rates = list(objs)
        frozen = {rate.version for rate in rates if not rate.version.is_draft}
        if frozen:
            raise PriceFrozen(", ".join(map(str, frozen)))
        return super().bulk_create(rates, *args, **kwargs)

    def _refuse_frozen(self) -> None:
        frozen = self.exclude(version__status=PriceStatus.DRAFT).first()
        if frozen is not None:
            raise PriceFrozen(str(frozen.version))


class PriceRate(models.Model):
    """What `unit_size` units of a meter cost.

    `sku` is the base id of a model, or the service's name where no model is billed. The rate holds
    from `effective_from` up to, not including, `effective_to`, and for requests of at least
    `min_input_tokens` tokens read from the input and the caches. `region` is `*` for all.
    """

    version = models.ForeignKey(PriceVersion, on_delete=models.CASCADE, related_name="rates")
    service = models.CharField(max_length=40)
    region = models.CharField(max_length=32, default="*")
    scope = models.CharField(max_length=10, choices=Scope.choices)
    sku = models.CharField(max_length=120)
    meter = models.CharField(max_length=40)
    tier = models.CharField(max_length=8, choices=Tier.choices, default=Tier.DEFAULT)
    min_input_tokens = models.PositiveIntegerField(default=0)
    unit_size = models.PositiveIntegerField()
    amount = models.DecimalField(max_digits=20, decimal_places=10)
    currency = models.CharField(max_length=3, default="USD")
    effective_from = models.DateField()
    effective_to = models.DateField(null=True, blank=True)
    confidence = models.CharField(max_length=11, choices=RateConfidence.choices)
    source_url = models.CharField(max_length=300)
    note = models.CharField(max_length=200, blank=True, default="")

    # What names a price; two rows of one name must not hold on the same day.
    key = ("sku", "meter", "scope", "region", "tier", "min_input_tokens")

    objects = PriceRateQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "version",
                    "sku",
                    "meter",
                    "scope",
                    "region",
                    "tier",
                    "min_input_tokens",
                    "effective_from",
                ],
                name="one_rate_a_day",
            ),
            models.CheckConstraint(condition=Q(amount__gte=0), name="rate_not_negative"),
            models.CheckConstraint(condition=Q(unit_size__gt=0), name="rate_has_a_unit"),
            models.CheckConstraint(condition=Q(currency="USD"), name="rate_in_usd"),
            models.CheckConstraint(
                condition=Q(effective_to=None) | Q(effective_to__gt=models.F("effective_from")),
                name="rate_holds_a_day",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku} {self.meter} {self.scope} {self.region} {self.tier}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        with transaction.atomic():
            self._hold_draft()
            super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            self._hold_draft()
            return super().delete(*args, **kwargs)

    def clean(self) -> None:
        if self.version_id and not self.version.is_draft:
            raise ValidationError("Only the rates of a draft can change.")
        # A form that could not read the date validates the rest all the same.
        has_date = isinstance(self.effective_from, date)
        if has_date and self._overlapping().exists():
            raise ValidationError("Another rate of the same name holds on some of these days.")

    def _hold_draft(self) -> None:
        """Keep the version from becoming active meanwhile; it may have become so since it was read."""
        version = PriceVersion.objects.select_for_update().get(pk=self.version_id)
        if not version.is_draft:
            raise PriceFrozen(str(version))

    def _overlapping(self) -> PriceRateQuerySet:
        same = {name: getattr(self, name) for name in self.key}
        rates = PriceRate.objects.filter(version_id=self.version_id, **same).exclude(pk=self.pk)
        if self.effective_to:
            rates = rates.filter(effective_from__lt=self.effective_to)
        return rates.filter(Q(effective_to=None) | Q(effective_to__gt=self.effective_from))
