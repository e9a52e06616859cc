"""AWS Price List: GetProducts for the models of Bedrock, in the two shapes it has for them.

`AmazonBedrock` has the models of Amazon itself, priced by a thousand tokens;
`AmazonBedrockFoundationModels` has those of the Marketplace, priced by a million in "Units". Both are
made from rows of prices in the form of the product's own file: `sku` (a model id), `scope` ("global",
"geo" or "in-region"), `regions` ("*": any), `unit_size` (how many tokens an amount is for),
`effective_from`, `amounts` (USD as text, by meter), and maybe `tier` and `min_input_tokens`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from awsai.emulator import paging
from awsai.emulator.account import Account, Call, Handler, Output
from awsai.emulator.catalogue import Model
from awsai.emulator.errors import AwsError
from awsai.emulator.signing import DEFAULT_REGION

AMAZON = "AmazonBedrock"
MARKETPLACE = "AmazonBedrockFoundationModels"
PRODUCTS_A_PART = 100

# AWS's code of an on-demand offer and of its price per unit.
_OFFER, _RATE = "JRTCKXETXF", "6YS6EN2CT7"
_DASHED = {
    "input": "input-tokens",
    "output": "output-tokens",
    "cache_read": "cache-read-input-token-count",
    "cache_write_5m": "cache-write-input-token-count",
}
_CAMEL = {
    "input": "InputTokenCount",
    "output": "OutputTokenCount",
    "cache_read": "CacheReadInputTokenCount",
    "cache_write_5m": "CacheWriteInputTokenCount",
    "cache_write_1h": "CacheWrite1hInputTokenCount",
}

_CAMEL_FLAGS = {"lctx": "LCtx"}

Product = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Price:
    """One meter of a row, in one region. `flags` tell it from others of the same meter."""

    model: Model
    meter: str
    region: str
    flags: tuple[str, ...]
    usd_per_token: Decimal
    effective_from: str


def handlers(account: Account) -> Mapping[str, Handler]:
    return {"GetProducts": Pricing(account).get_products}


class Pricing:
    def __init__(self, account: Account) -> None:
        self._account = account

    def get_products(self, call: Call) -> Output:
        params = call.params
        if params["ServiceCode"] not in (AMAZON, MARKETPLACE):
            raise AwsError(
                "InvalidParameterException", f"Service {params['ServiceCode']} is not priced here."
            )
        products = [
            product
            for product in self._products(params["ServiceCode"])
            if all(_matches(product, one) for one in params.get("Filters", ()))
        ]
        start = paging.offset(params, error="InvalidNextTokenException")
        size = params.get("MaxResults", PRODUCTS_A_PART)
        part, following = paging.page(products, start, size)
        return {
            "FormatVersion": "aws_v1",
            "PriceList": [json.dumps(product) for product in part],
            "NextToken": following,
        }

    def _products(self, service_code: str) -> Iterator[Product]:
        write = _amazon if service_code == AMAZON else _marketplace
        meters = _DASHED if service_code == AMAZON else _CAMEL
        seen: set[str] = set()
        for price in self._prices():
            if (price.model.provider_name == "Amazon") != (service_code == AMAZON):
                continue
            product = write(price) if price.meter in meters else None
            # The list does not tell a price within a region from one within its geography.
            if product and product["product"]["sku"] not in seen:
                seen.add(product["product"]["sku"])
                yield product

    def _prices(self) -> Iterator[_Price]:
        models = {model.id: model for model in self._account.models}
        for row in self._account.prices():
            if row["sku"] not in models:
                continue
            for region in row["regions"]:
                for meter, amount in row["amounts"].items():
                    yield _Price(
                        model=models[row["sku"]],
                        meter=meter,
                        region=DEFAULT_REGION if region == "*" else region,
                        flags=tuple(_flags(row)),
                        usd_per_token=Decimal(amount) / row["unit_size"],
                        effective_from=row["effective_from"],
                    )


def _flags(row: Mapping[str, Any]) -> Iterator[str]:
    if row["scope"] == "global":
        yield "global"
    if row.get("tier", "default") != "default":
        yield row["tier"]
    if row.get("min_input_tokens"):
        yield "lctx"


def _amazon(price: _Price) -> Product:
    words = [price.model.name.replace(" ", ""), _DASHED[price.meter], *price.flags]
    return _product(
        AMAZON,
        price,
        usage_type="-".join([_region_code(price.region), *words]),
        attributes={"model": price.model.name, "provider": "Amazon"},
        unit="1K tokens",
        tokens_a_unit=1_000,
        description=f"1K {price.meter} tokens of {price.model.name} in {price.region}",
    )


def _marketplace(price: _Price) -> Product:
    code = _region_code(price.region)
    words = [_CAMEL[price.meter], *(_CAMEL_FLAGS.get(flag, flag.title()) for flag in price.flags)]
    return _product(
        MARKETPLACE,
        price,
        usage_type=f"{code}-MP:{code}_{'_'.join(words)}-Units",
        attributes={"servicename": f"{price.model.name} (Amazon Bedrock Edition)"},
        unit="Units",
        tokens_a_unit=1_000_000,
        description=f"AWS Marketplace software usage|{price.region}|Million {price.meter} tokens",
    )


def _product(
    service_code: str,
    price: _Price,
    *,
    usage_type: str,
    attributes: Mapping[str, str],
    unit: str,
    tokens_a_unit: int,
    description: str,
) -> Product:
    name = f"{service_code} {price.model.id} {price.region} {usage_type}"
    sku = hashlib.sha256(name.encode()).hexdigest()[:16].upper()
    offer, rate = f"{sku}.{_OFFER}", f"{sku}.{_OFFER}.{_RATE}"
    dimension = {
        "rateCode": rate,
        "unit": unit,
        "beginRange": "0",
        "endRange": "Inf",
        "description": description,
        "appliesTo": [],
        "pricePerUnit": {"USD": f"{price.usd_per_token * tokens_a_unit:.10f}"},
    }
    term = {
        "sku": sku,
        "offerTermCode": _OFFER,
        "effectiveDate": f"{price.effective_from}T00:00:00Z",
        "termAttributes": {},
        "priceDimensions": {rate: dimension},
    }
    return {
        "serviceCode": service_code,
        "product": {
            "sku": sku,
            "attributes": {
                "servicecode": service_code,
                "regionCode": price.region,
                "usagetype": usage_type,
                **attributes,
            },
        },
        "terms": {"OnDemand": {offer: term}},
        "version": "1",
        "publicationDate": term["effectiveDate"],
    }


def _region_code(region: str) -> str:
    """USE1 for us-east-1."""
    area, direction, number = region.split("-", 2)
    return f"{area}{direction[0]}{number}".upper()


def _matches(product: Product, condition: Mapping[str, str]) -> bool:
    """Raises: AwsError, InvalidParameterException, for conditions that are not compared here."""
    if condition["Type"] not in ("TERM_MATCH", "EQUALS"):
        raise AwsError(
            "InvalidParameterException", f"Filters of type {condition['Type']} are not served here."
        )
    return bool(product["product"]["attributes"].get(condition["Field"]) == condition["Value"])
