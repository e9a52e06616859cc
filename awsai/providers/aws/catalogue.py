"""What Bedrock says of its models, as plain dicts for the catalogue."""

from __future__ import annotations

from typing import Any

from awsai.ports import ProviderName
from awsai.providers.aws.endpoint import Endpoint


def foundation_models(*, provider: ProviderName = "aws", region: str = "") -> list[dict[str, Any]]:
    """The entries of ListFoundationModels. Raises: CallFailed."""
    told = _bedrock(provider, region).call("list_foundation_models")
    models: list[dict[str, Any]] = told.get("modelSummaries", [])
    return models


def inference_profiles(*, provider: ProviderName = "aws", region: str = "") -> list[dict[str, Any]]:
    """The entries of ListInferenceProfiles, of all its pages. Raises: CallFailed."""
    bedrock = _bedrock(provider, region)
    told = bedrock.call("list_inference_profiles")
    profiles: list[dict[str, Any]] = told.get("inferenceProfileSummaries", [])
    while token := told.get("nextToken"):
        told = bedrock.call("list_inference_profiles", nextToken=token)
        profiles += told.get("inferenceProfileSummaries", [])
    return profiles


def availability(
    model_id: str, *, provider: ProviderName = "aws", region: str = ""
) -> dict[str, Any]:
    """The four states of GetFoundationModelAvailability. Raises: CallFailed."""
    told = _bedrock(provider, region).call("get_foundation_model_availability", modelId=model_id)
    return {name: value for name, value in told.items() if name != "ResponseMetadata"}


def _bedrock(provider: ProviderName, region: str) -> Endpoint:
    return Endpoint(service="bedrock", product="bedrock", provider=provider, region=region)
