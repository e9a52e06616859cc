"""What the emulated account has by default: foundation models and guardrails."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import awsai


@dataclass(frozen=True, kw_only=True)
class Model:
    """A foundation model. `profiles` are the prefixes of its inference profiles ("us", "global").

    `cache_minimum_tokens` is the shortest prefix its prompt cache keeps, None without a cache.
    """

    id: str
    name: str
    provider_name: str
    profiles: tuple[str, ...] = ()
    max_output_tokens: int = 4096
    accepts_sampling: bool = True
    counts_tokens: bool = True
    cache_minimum_tokens: int | None = 1024
    end_of_life_at: datetime | None = None


def _shipped() -> tuple[Model, ...]:
    """The models that the product's own catalogue starts with."""
    document = json.loads((Path(awsai.__file__).parent / "data" / "models.json").read_text())
    return tuple(_model(row) for row in document["models"])


def _model(row: Mapping[str, Any]) -> Model:
    can = row["capabilities"]
    return Model(
        id=row["base_id"],
        name=row["name"],
        provider_name=row["provider_name"],
        profiles=tuple(row["profiles"]),
        max_output_tokens=row["max_output"],
        accepts_sampling=can["temperature_allowed"],
        counts_tokens=can["count_tokens"] is True,
        end_of_life_at=datetime.fromisoformat(row["eol_at"]) if row["eol_at"] else None,
    )


MODELS = _shipped()


@dataclass(frozen=True, kw_only=True)
class Guardrail:
    """A guardrail; what it finds is what the provider's guard finds.

    `policies` are those that are switched on, and so billed: of "topics", "content", "words", "pii"
    and "regex".
    """

    id: str
    name: str
    version: str = "1"
    policies: tuple[str, ...] = ("topics", "content", "pii", "regex")
    blocked_input: str = "The guardrail blocked this request."
    blocked_output: str = "The guardrail blocked this answer."


GUARDRAILS = (Guardrail(id="incidentops", name="incidentops"),)
