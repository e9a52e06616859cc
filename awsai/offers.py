"""What the Price List API says of models, in one form. Pure: parsed products in, offers out.

Two shapes are read. `AmazonBedrock` prices a thousand tokens and names the meter in dashes
("USE1-NovaPro-input-tokens-batch"); `AmazonBedrockFoundationModels`, which comes from the
Marketplace, prices a million in "Units" and names it in camel case
("USE1-MP:USE1_InputTokenCount_Global-Units"). What fits neither is handed back unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from awsai.pricing import Tier

MILLION = 1_000_000
_TIERS: Mapping[str, Tier] = {"batch": "batch", "flex": "flex", "priority": "priority"}
_DASHED = {
    ("input", "tokens"): "input",
    ("output", "tokens"): "output",
    ("cache", "read", "input", "token", "count"): "cache_read",
    ("cache", "write", "input", "token", "count"): "cache_write_5m",
}
_CAMEL = {
    "InputTokenCount": "input",
    "OutputTokenCount": "output",
    "CacheReadInputTokenCount": "cache_read",
    "CacheWriteInputTokenCount": "cache_write_5m",
    "CacheWrite1hInputTokenCount": "cache_write_1h",
}
_MARKETPLACE = re.compile(r"^[A-Z0-9]+-MP:[A-Z0-9]+_([A-Za-z0-9]+)((?:_[A-Za-z]+)*)-Units$")
_EDITION = re.compile(r"\s*\(Amazon Bedrock Edition\)$")
_THOUSAND = re.compile(r"^1k (input |output )?tokens$", re.IGNORECASE)
_PER_MILLION = re.compile(r"^1m tokens$|\bmillion\b.*\btokens?\b", re.IGNORECASE)
_LISTS = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/{}/current/index.json"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """The price of a million tokens of a meter of the model `name`.

    `is_global` is that of global profiles; else it is what a request that stays in the region or
    its geography pays. `is_long` is that of long inputs, whose threshold the list does not say.
    """

    name: str
    region: str
    meter: str
    tier: Tier
    is_global: bool
    is_long: bool
    usd: Decimal
    effective_from: date
    source_url: str


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A product no offer came of. A doubt is one that prices tokens in a way we cannot read."""

    product: str
    reason: str
    is_doubt: bool

    def __str__(self) -> str:
        return f"{self.product}: {self.reason}"


class _NotRead(Exception):
    def __init__(self, reason: str, *, is_doubt: bool) -> None:
        super().__init__(reason)
        self.is_doubt = is_doubt


def read(products: Iterable[Mapping[str, Any]]) -> tuple[list[Offer], list[Unread]]:
    """Offers and what could not be read, in the order of the products."""
    offers: list[Offer] = []
    unread: list[Unread] = []
    for product in products:
        usage = str(product.get("product", {}).get("attributes", {}).get("usagetype", "?"))
        try:
            offers.append(_offer(product, usage))
        except _NotRead as error:
            unread.append(Unread(product=usage, reason=str(error), is_doubt=error.is_doubt))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            reason = f"unknown form ({type(error).__name__}: {error})"
            unread.append(Unread(product=usage, reason=reason, is_doubt=True))
    return offers, unread


def _offer(product: Mapping[str, Any], usage: str) -> Offer:
    service_code = product["serviceCode"]
    attributes = product["product"]["attributes"]
    if service_code == "AmazonBedrock":
        name, (meter, flags) = attributes.get("model", ""), _dashed(usage)
    elif service_code == "AmazonBedrockFoundationModels":
        name, (meter, flags) = _EDITION.sub("", attributes["servicename"]), _camel(usage)
    else:
        raise _NotRead(f"prices of {service_code} are not read", is_doubt=False)
    if not name:
        raise _NotRead("names no model", is_doubt=False)
    tiers = [tier for word, tier in _TIERS.items() if word in flags]
    if len(tiers) > 1:
        raise _NotRead("names two tiers", is_doubt=True)
    term, dimension = _single_price(product["terms"]["OnDemand"])
    return Offer(
        name=name,
        region=attributes["regionCode"],
        meter=meter,
        tier=tiers[0] if tiers else "default",
        is_global="global" in flags,
        is_long="lctx" in flags,
        usd=_usd(dimension) * _per_million(dimension),
        effective_from=datetime.fromisoformat(term["effectiveDate"]).date(),
        source_url=_LISTS.format(service_code),
    )


def _dashed(usage: str) -> tuple[str, set[str]]:
    words = [word.lower() for word in usage.split("-")[2:]]
    for parts, meter in _DASHED.items():
        if tuple(words[: len(parts)]) == parts:
            flags = set(words[len(parts) :])
            if flags <= {*_TIERS, "global", "cross", "region"}:
                return meter, flags
    raise _NotRead("is not a meter of tokens we bill", is_doubt=False)


def _camel(usage: str) -> tuple[str, set[str]]:
    match = _MARKETPLACE.match(usage)
    flags = set(match[2].lower().split("_")) - {""} if match else set()
    if match and match[1] in _CAMEL and flags <= {*_TIERS, "global", "lctx"}:
        return _CAMEL[match[1]], flags
    raise _NotRead("is not a meter of tokens we bill", is_doubt=False)


def _single_price(terms: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The one term and its one price: a scale by volume has several."""
    pairs = [
        (term, dimension)
        for term in terms.values()
        for dimension in term["priceDimensions"].values()
    ]
    if len(pairs) != 1:
        raise _NotRead(f"has {len(pairs)} prices instead of one", is_doubt=True)
    return pairs[0]


def _usd(dimension: Mapping[str, Any]) -> Decimal:
    try:
        amount = Decimal(dimension["pricePerUnit"]["USD"])
    except (KeyError, InvalidOperation):
        raise _NotRead("has no price in USD", is_doubt=True) from None
    if not amount.is_finite() or amount < 0:
        raise _NotRead(f"its price is {amount}", is_doubt=True)
    return amount


def _per_million(dimension: Mapping[str, Any]) -> int:
    """How many of its units make a million tokens."""
    unit = str(dimension.get("unit", ""))
    if _THOUSAND.match(unit):
        return 1000
    if _PER_MILLION.search(unit):
        return 1
    if unit.lower() == "units" and _PER_MILLION.search(str(dimension.get("description", ""))):
        return 1
    raise _NotRead(f"its unit {unit!r} is not known", is_doubt=True)
