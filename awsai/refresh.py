"""What AWS says of its models and prices, taken into the catalogue and into a draft."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any, cast

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string
from django.utils.timezone import now

from awsai import catalogue, prices
from awsai.catalogue import Synced
from awsai.ports import CallFailed, ProviderName, Trouble
from awsai.prices import Refresh
from incidentops.access import audit

log = logging.getLogger(__name__)

# By dotted path: boto3 is heavy, and a process that never calls AWS never loads it.
_AWS = "awsai.providers.aws"


def is_possible() -> bool:
    """Whether there is somebody to ask: AWS or the emulator."""
    return settings.AWSAI_PROVIDER != "local"


def sync_catalogue(*, by: object = None) -> Synced:
    """Bring the catalogue up to what Bedrock lists in our regions; audited when a person asks.

    What a fall-back region does not list stays as it was known.

    Raises:
        CallFailed: there is nobody to ask, the home region is not configured, or no listing came.
    """
    at = {"provider": _provider(), "region": _home()}
    listed, profiles = _listing(at)
    for region in settings.AWS_FALLBACK_REGIONS:
        try:
            more = _listing(at | {"region": region})
        except CallFailed as failed:
            log.warning("The models of %s were not listed: %s", region, failed)
        else:
            listed, profiles = [*listed, *more[0]], [*profiles, *more[1]]
    ours = [one["modelId"] for one in listed if catalogue.service_of(one["modelId"])]
    availability = _availability(ours, at)
    with transaction.atomic():
        synced = catalogue.sync(listed, profiles, availability, at=now())
        if by is not None:
            audit.record("catalogue.sync", actor=by, target="catalogue", detail=asdict(synced))
    return synced


def _listing(at: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The models and the profiles of one region."""
    models = import_string(f"{_AWS}.catalogue.foundation_models")
    profiles = import_string(f"{_AWS}.catalogue.inference_profiles")
    return models(**at), profiles(**at)


def _availability(base_ids: list[str], at: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is told of each model; what was known of the others stays."""
    ask = import_string(f"{_AWS}.catalogue.availability")
    told = {}
    for base_id in sorted(set(base_ids)):
        try:
            told[base_id] = ask(base_id, **at)
        except CallFailed as failed:
            log.warning("Whether %s may be called was not told: %s", base_id, failed)
    return told


def draft_prices() -> Refresh:
    """Write what the Price List API changes into a draft, which a person has to activate.

    Raises:
        CallFailed: there is nobody to ask, or no list came.
    """
    who = _provider()
    products = import_string(f"{_AWS}.prices.products")
    codes: tuple[str, ...] = import_string(f"{_AWS}.prices.SERVICE_CODES")
    return prices.refresh(
        [
            product
            for code in codes
            for product in products(code, region=settings.AWS_REGION, provider=who)
        ]
    )


def _provider() -> ProviderName:
    if not is_possible():
        raise CallFailed(
            Trouble.DENIED, "IOP_AWSAI is local: nobody at AWS is asked.", code="NotConfigured"
        )
    return cast("ProviderName", settings.AWSAI_PROVIDER)


def _home() -> str:
    """The region whose listing counts.

    Without it a sync would tie every model to a region that the router does not know as home.
    """
    if not settings.AWS_REGION:
        raise CallFailed(Trouble.DENIED, "not configured: IOP_AWS_REGION", code="NotConfigured")
    return str(settings.AWS_REGION)
