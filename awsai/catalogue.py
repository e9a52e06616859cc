"""The models there are: first from the shipped file, then from what Bedrock lists."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from django.db import transaction

from awsai.models import CatalogueModel
from awsai.models.catalogue import Lifecycle, Onboarding
from awsai.pricing import parse

FILE = Path(__file__).parent / "data" / "models.json"


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(FILE.read_text())
    return document


def service_of(base_id: str) -> str:
    """The service of ours that calls a model; empty where none does."""
    services: dict[str, str] = _document()["services"]
    return next((name for prefix, name in services.items() if base_id.startswith(prefix)), "")


def load() -> int:
    """Add the models of the file that the catalogue does not know; how many those were."""
    document = _document()
    shipped = [
        row
        for model in document["models"]
        for row in _rows(model, source=document["source"], at=document["synced_at"])
    ]
    known = set(CatalogueModel.objects.values_list("model_id", flat=True))
    new = [row for row in shipped if row.model_id not in known]
    CatalogueModel.objects.bulk_create(new, ignore_conflicts=True)
    return len(new)


def _rows(model: Mapping[str, Any], *, source: str, at: str) -> list[CatalogueModel]:
    """The model under the id of each profile, and under its own where a region serves it itself."""
    base_id = model["base_id"]
    ids: dict[str, list[str]] = {f"{prefix}.{base_id}": [] for prefix in model["profiles"]}
    if model["in_region"]:
        ids[base_id] = model["in_region"]
    return [
        CatalogueModel(
            model_id=model_id,
            name=model["name"],
            provider_name=model["provider_name"],
            family=model["family"],
            service=service_of(base_id),
            base_id=base_id,
            scope=parse(model_id).scope,
            regions=regions,
            capabilities=model["capabilities"],
            context_tokens=model["context_tokens"],
            max_output=model["max_output"],
            lifecycle=model["lifecycle"],
            eol_at=datetime.fromisoformat(model["eol_at"]) if model["eol_at"] else None,
            synced_at=datetime.fromisoformat(at),
            source=source,
        )
        for model_id, regions in ids.items()
    ]


# --- From Bedrock ------------------------------------------------------------------------------


def can(model: str, capability: str) -> bool:
    """Whether a model is known to have a capability, by the id it is called by."""
    found = CatalogueModel.objects.filter(model_id=model).values_list("capabilities", flat=True)
    capabilities = found.first() or {}
    return capabilities.get(capability) is True


@dataclass(frozen=True, kw_only=True)
class Synced:
    """What a sync changed, as model ids. `gone` are no longer listed in a synced region."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    gone: tuple[str, ...]


def sync(
    foundation_models: Iterable[Mapping[str, Any]],
    profiles: Iterable[Mapping[str, Any]],
    availability: Mapping[str, Mapping[str, Any]],
    *,
    at: datetime,
) -> Synced:
    """Bring the catalogue up to what Bedrock lists.

    `foundation_models` are `modelSummaries` of ListFoundationModels, `profiles` the
    `inferenceProfileSummaries` of ListInferenceProfiles, each of one or several regions, complete
    for every region that occurs; `availability` has answers of GetFoundationModelAvailability by
    base id. Only models that write text are kept. What Bedrock does not tell (limits, tools) stays
    as it was known: for a new model it is unknown. A profile lives as long as its model does.
    """
    summaries = [one for one in foundation_models if "TEXT" in one.get("outputModalities", ())]
    found = _listed(summaries, list(profiles))
    synced_regions = {region for _, regions in found.values() for region in regions}
    if not found:
        # A listing of nothing is a failed one: it says of no model that it is gone.
        return Synced(added=(), changed=(), gone=())
    added, changed, gone = [], [], []
    with transaction.atomic():
        rows = {row.model_id: row for row in CatalogueModel.objects.select_for_update()}
        for model_id, (summary, regions) in found.items():
            row = rows.get(model_id) or CatalogueModel(model_id=model_id)
            before = _facts(row)
            _take(row, summary, availability.get(summary["modelId"]))
            row.regions = sorted((set(row.regions) - synced_regions) | regions)
            row.synced_at, row.source = at, "Amazon Bedrock"
            if row._state.adding:
                added.append(model_id)
            elif _facts(row) != before:
                changed.append(model_id)
            row.save()
        for model_id, row in rows.items():
            if model_id in found:
                continue
            before = _facts(row)
            _leave(row, synced_regions)
            if _facts(row) != before:
                row.synced_at, row.source = at, "Amazon Bedrock"
                row.save()
                gone.append(model_id)
    return Synced(added=tuple(added), changed=tuple(changed), gone=tuple(gone))


def _listed(
    summaries: list[Mapping[str, Any]], profiles: list[Mapping[str, Any]]
) -> dict[str, tuple[Mapping[str, Any], set[str]]]:
    """The summary of each id that can be called on demand, and the regions where it can."""
    by_base = {summary["modelId"]: summary for summary in summaries}
    regions: dict[str, set[str]] = defaultdict(set)
    for summary in summaries:
        if "ON_DEMAND" in summary.get("inferenceTypesSupported", ()):
            regions[summary["modelId"]].add(_region(summary["modelArn"]))
    for profile in profiles:
        if profile.get("status") == "ACTIVE" and profile.get("type") == "SYSTEM_DEFINED":
            regions[profile["inferenceProfileId"]].add(_region(profile["inferenceProfileArn"]))
    return {
        model_id: (by_base[parse(model_id).base_id], where)
        for model_id, where in sorted(regions.items())
        if parse(model_id).base_id in by_base
    }


def _region(arn: str) -> str:
    return arn.split(":")[3]


def _take(
    row: CatalogueModel, summary: Mapping[str, Any], answer: Mapping[str, Any] | None
) -> None:
    name = parse(row.model_id)
    row.name = summary.get("modelName", "")
    row.provider_name = summary.get("providerName", "")
    row.base_id, row.scope = name.base_id, name.scope
    row.service = service_of(name.base_id)
    if row._state.adding:
        _inherit(row)
    row.capabilities = {
        **row.capabilities,
        "vision": "IMAGE" in summary.get("inputModalities", ()),
    }
    lifecycle = summary.get("modelLifecycle", {})
    row.lifecycle = {"ACTIVE": Lifecycle.ACTIVE, "LEGACY": Lifecycle.LEGACY}.get(
        lifecycle.get("status", ""), Lifecycle.UNKNOWN
    )
    row.eol_at = lifecycle.get("endOfLifeTime")
    if answer is not None:
        row.onboarding = _onboarding(answer)


def _inherit(row: CatalogueModel) -> None:
    """A new profile of a known model can do what the model can."""
    known = CatalogueModel.objects.filter(base_id=row.base_id).first()
    if known is not None:
        row.family, row.capabilities = known.family, known.capabilities
        row.context_tokens, row.max_output = known.context_tokens, known.max_output


def _onboarding(answer: Mapping[str, Any]) -> Onboarding:
    """All four states must be good; a word we do not know is not taken for a refusal."""
    states = [
        answer.get("agreementAvailability", {}).get("status"),
        answer.get("authorizationStatus"),
        answer.get("entitlementAvailability"),
        answer.get("regionAvailability"),
    ]
    if set(states) <= {"AVAILABLE", "AUTHORIZED"}:
        return Onboarding.KNOWN
    if set(states) & {"NOT_AVAILABLE", "NOT_AUTHORIZED"}:
        return Onboarding.DENIED
    return Onboarding.UNKNOWN


def _leave(row: CatalogueModel, regions: set[str]) -> None:
    """Note that no synced region lists the model. One that was listed nowhere else may be anything."""
    row.regions = sorted(set(row.regions) - regions)
    if not row.regions and row.lifecycle != Lifecycle.EOL:
        row.lifecycle = Lifecycle.UNKNOWN


def _facts(row: CatalogueModel) -> tuple[Any, ...]:
    return (
        row.name,
        row.provider_name,
        row.service,
        row.regions,
        row.capabilities,
        row.lifecycle,
        row.eol_at,
        row.onboarding,
    )
