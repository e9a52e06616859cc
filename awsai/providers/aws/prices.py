"""Products of the Price List API, as it tells them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from awsai.ports import ProviderName
from awsai.providers.aws.endpoint import Endpoint

# Nova by a thousand tokens; Claude and others of the Marketplace by a million.
SERVICE_CODES = ("AmazonBedrock", "AmazonBedrockFoundationModels")
_REGION = "us-east-1"  # where the API lives, whatever region a product is for


def products(
    service_code: str, *, region: str = "", provider: ProviderName = "aws"
) -> Iterator[dict[str, Any]]:
    """The products of a service, in one region or in all. Raises: CallFailed."""
    pricing = Endpoint(
        service="pricing",
        product="pricing",
        provider=provider,
        region=_REGION,
        plane="price_sync",
    )
    request: dict[str, Any] = {"ServiceCode": service_code}
    if region:
        request["Filters"] = [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}]
    while True:
        told = pricing.call("get_products", **request)
        yield from (json.loads(product) for product in told.get("PriceList", ()))
        if not told.get("NextToken"):
            return
        request["NextToken"] = told["NextToken"]
