"""Amazon Bedrock's control plane: which models, profiles and guardrails there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from awsai.emulator import paging
from awsai.emulator.account import ACCOUNT_ID, Account, Call, Handler, Output
from awsai.emulator.catalogue import Guardrail, Model
from awsai.emulator.errors import AwsError

PROFILES_A_PART = 1000


def handlers(account: Account) -> Mapping[str, Handler]:
    bedrock = Bedrock(account)
    return {
        "ListFoundationModels": bedrock.list_foundation_models,
        "ListInferenceProfiles": bedrock.list_inference_profiles,
        "GetFoundationModelAvailability": bedrock.get_foundation_model_availability,
        "GetGuardrail": bedrock.get_guardrail,
    }


class Bedrock:
    def __init__(self, account: Account) -> None:
        self._account = account
        self._since = account.clock()

    def list_foundation_models(self, call: Call) -> Output:
        params = call.params
        summaries = [self._summary(model, call.caller.region) for model in self._account.models]
        return {
            "modelSummaries": [
                summary
                for summary in summaries
                if params.get("byProvider", summary["providerName"]) == summary["providerName"]
                and params.get("byOutputModality", "TEXT") in summary["outputModalities"]
                and params.get("byInferenceType", "ON_DEMAND") in summary["inferenceTypesSupported"]
                # None of these models can be customised here.
                and "byCustomizationType" not in params
            ]
        }

    def list_inference_profiles(self, call: Call) -> Output:
        region = call.caller.region
        profiles = [
            _profile(model, prefix, region)
            for model in self._account.models
            for prefix in model.profiles
            if call.params.get("typeEquals", "SYSTEM_DEFINED") == "SYSTEM_DEFINED"
        ]
        size = call.params.get("maxResults", PROFILES_A_PART)
        part, following = paging.page(profiles, paging.offset(call.params), size)
        return {"inferenceProfileSummaries": list(part), "nextToken": following}

    def get_foundation_model_availability(self, call: Call) -> Output:
        model_id = call.params["modelId"]
        model = next((one for one in self._account.models if one.id == model_id), None)
        if model is None:
            raise AwsError("ResourceNotFoundException", "The specified model ID was not found.")
        is_ours = model.id not in self._account.not_onboarded
        available = "AVAILABLE" if is_ours else "NOT_AVAILABLE"
        is_ended = (
            model.end_of_life_at is not None and model.end_of_life_at <= self._account.clock()
        )
        return {
            "modelId": model.id,
            "agreementAvailability": {"status": available},
            "authorizationStatus": "AUTHORIZED" if is_ours else "NOT_AUTHORIZED",
            "entitlementAvailability": available,
            "regionAvailability": "NOT_AVAILABLE" if is_ended else "AVAILABLE",
        }

    def get_guardrail(self, call: Call) -> Output:
        """Without its policies: what the provider's guard looks for is its own affair."""
        guardrail: Guardrail = self._account.guardrail(
            call.params["guardrailIdentifier"], call.params.get("guardrailVersion", "DRAFT")
        )
        return {
            "guardrailId": guardrail.id,
            "guardrailArn": f"arn:aws:bedrock:{call.caller.region}:{ACCOUNT_ID}:guardrail/{guardrail.id}",
            "name": guardrail.name,
            "version": call.params.get("guardrailVersion", "DRAFT"),
            "status": "READY",
            "createdAt": self._since,
            "updatedAt": self._since,
            "blockedInputMessaging": guardrail.blocked_input,
            "blockedOutputsMessaging": guardrail.blocked_output,
        }

    def _summary(self, model: Model, region: str) -> dict[str, Any]:
        # A model is legacy from the day its end is known.
        lifecycle: dict[str, Any] = {"status": "LEGACY" if model.end_of_life_at else "ACTIVE"}
        if model.end_of_life_at:
            lifecycle["endOfLifeTime"] = model.end_of_life_at
        return {
            "modelArn": _model_arn(model, region),
            "modelId": model.id,
            "modelName": model.name,
            "providerName": model.provider_name,
            "inputModalities": ["TEXT"],
            "outputModalities": ["TEXT"],
            "responseStreamingSupported": True,
            "customizationsSupported": [],
            "inferenceTypesSupported": ["ON_DEMAND"],
            "modelLifecycle": lifecycle,
        }


def _profile(model: Model, prefix: str, region: str) -> dict[str, Any]:
    id = f"{prefix}.{model.id}"
    # The service allows no dots in these names.
    name = f"{prefix.upper()} {model.provider_name} {model.name}".replace(".", " ")
    return {
        "inferenceProfileId": id,
        "inferenceProfileArn": f"arn:aws:bedrock:{region}:{ACCOUNT_ID}:inference-profile/{id}",
        "inferenceProfileName": name,
        "models": [{"modelArn": _model_arn(model, region)}],
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
    }


def _model_arn(model: Model, region: str) -> str:
    return f"arn:aws:bedrock:{region}::foundation-model/{model.id}"
