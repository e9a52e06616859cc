"""What a call costs by a list of rates. Pure: usage and rates in, integers of nano-USD out.

A price that is not known is no price: the cost is None with the reason, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, lru_cache
from math import lcm
from typing import Literal, get_args

from awsai.ports import TOKEN_METERS, Usage

Scope = Literal["global", "geo", "in-region"]
Tier = Literal["default", "flex", "priority", "batch"]
RateConfidence = Literal["verified", "third_party", "estimated"]

EVERYWHERE = "*"
# The profiles whose data stays within a geography; `global.` roams, no prefix stays in the region.
GEOGRAPHIES = ("us", "eu", "apac", "jp", "au")

_READING = tuple(meter for meter in TOKEN_METERS if meter != "output")
_GUARDRAILS = "bedrock-guardrails"
_NANO = 10**9


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What `unit_size` units of a meter cost in USD, as `awsai.models.PriceRate` has it."""

    sku: str
    meter: str
    scope: Scope
    region: str
    tier: Tier
    min_input_tokens: int
    unit_size: int
    amount: Decimal
    effective_from: date
    effective_to: date | None
    confidence: RateConfidence

    @cached_property
    def nano_usd(self) -> Fraction:
        """What one unit costs, exactly."""
        return Fraction(self.amount) * _NANO / self.unit_size


class PriceList:
    """The rates of one version. `version` is the label the ledger notes."""

    def __init__(self, *, version: str, rates: Iterable[Rate]) -> None:
        self.version = version
        self._by_sku: dict[str, list[Rate]] = {}
        for rate in rates:
            self._by_sku.setdefault(rate.sku, []).append(rate)
        # A router prices every candidate of every call.
        self._held = lru_cache(maxsize=4096)(self._hold)

    def held(
        self, sku: str, scope: Scope, region: str, tier: Tier, day: date, *, read: int
    ) -> tuple[int, Mapping[str, Rate]]:
        """The rates of each meter for a request that reads so many tokens, and from how many on.

        A model with a price for long inputs has it for all meters: one without is not known.
        """
        by_floor = self._held(sku, scope, region, tier, day)
        floor = max((floor for floor in by_floor if floor <= read), default=0)
        return floor, by_floor.get(floor, {})

    def _hold(
        self, sku: str, scope: Scope, region: str, tier: Tier, day: date
    ) -> Mapping[int, Mapping[str, Rate]]:
        found: dict[int, dict[str, Rate]] = {}
        # What is said of a region stands over what is said of all.
        for rate in sorted(self._by_sku.get(sku, []), key=lambda rate: rate.region != EVERYWHERE):
            if (
                rate.scope == scope
                and rate.tier == tier
                and rate.region in (region, EVERYWHERE)
                and rate.effective_from <= day
                and (rate.effective_to is None or day < rate.effective_to)
            ):
                found.setdefault(rate.min_input_tokens, {})[rate.meter] = rate
        return found


@dataclass(frozen=True, kw_only=True)
class Cost:
    """`confidence` is that of the least certain figure in it; None, like the cost, when unknown."""

    nano_usd: int | None
    version: str
    confidence: RateConfidence | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """What the id of a model or of its profile says. `geography` is that of a geo profile."""

    base_id: str
    scope: Scope
    geography: str = ""


@lru_cache(maxsize=1024)
def parse(model: str) -> ModelName:
    """Take an id apart; of an ARN, its last part. An unknown prefix stays in the base id."""
    name = model.rsplit("/", 1)[-1]
    prefix, _, rest = name.partition(".")
    if prefix == "global":
        return ModelName(base_id=rest, scope="global")
    if prefix in GEOGRAPHIES:
        return ModelName(base_id=rest, scope="geo", geography=prefix)
    return ModelName(base_id=name, scope="in-region")


class _Unknown(Exception):
    """There is no price; the message says of what."""


def cost(
    usage: Usage,
    *,
    service: str,
    model: str,
    region: str,
    at: datetime,
    rates: PriceList,
    tier: Tier = "default",
) -> Cost:
    """Price what a call used, rounding half to even once, at the end.

    Tokens are billed by the model; what a guardrail did by Guardrails, whoever called it; other
    units by the model where there is one, else by the service. Which rates hold for long inputs is
    decided by the tokens read from input and caches together: the meters add without overlap.

    Raises:
        ValueError: a quantity is negative.
    """
    quantities = {**usage.tokens, **usage.units}
    if any(quantity < 0 for quantity in quantities.values()):
        raise ValueError(f"A negative quantity: {quantities}")
    read = sum(usage.tokens.get(meter, 0) for meter in _READING)
    charges: list[tuple[int, Rate]] = []
    try:
        for meter, quantity in quantities.items():
            if quantity:
                name = _billed(meter, service=service, model=model)
                charges.append((quantity, _rate(rates, name, meter, region, at, tier, read)))
    except _Unknown as unknown:
        return Cost(nano_usd=None, version=rates.version, confidence=None, reason=str(unknown))
    return Cost(
        nano_usd=_nano_usd(charges),
        version=rates.version,
        confidence=_confidence(usage, [rate for _, rate in charges]),
    )


def _billed(meter: str, *, service: str, model: str) -> ModelName:
    if meter.startswith("guardrail."):
        return ModelName(base_id=_GUARDRAILS, scope="in-region")
    return parse(model or service)


def _rate(
    rates: PriceList,
    name: ModelName,
    meter: str,
    region: str,
    at: datetime,
    tier: Tier,
    read: int,
) -> Rate:
    day = at.astimezone(UTC).date()
    floor, held = rates.held(name.base_id, name.scope, region, tier, day, read=read)
    rate = held.get(meter)
    if rate is None:
        where = f"{name.scope}, {region or 'no region'}, {tier}"
        from_tokens = f", from {floor} input tokens" if floor else ""
        raise _Unknown(f"No price for {meter} of {name.base_id} ({where}{from_tokens}) on {day}.")
    return rate


def _nano_usd(charges: list[tuple[int, Rate]]) -> int:
    """The sum over one common denominator: exact, and rounded once, half to even."""
    denominator = lcm(*(rate.nano_usd.denominator for _, rate in charges))
    total = sum(
        quantity * rate.nano_usd.numerator * (denominator // rate.nano_usd.denominator)
        for quantity, rate in charges
    )
    return round(Fraction(total, denominator))


def _confidence(usage: Usage, rates: list[Rate]) -> RateConfidence:
    if usage.confidence == "estimated":
        return "estimated"
    order = get_args(RateConfidence)
    return max((rate.confidence for rate in rates), key=order.index, default="verified")
