"""Findings as JSON: only what rests on evidence, and only what a database can hold."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from agents.case import Claim, EvidenceItem, Finding


@dataclass(frozen=True, kw_only=True)
class Grounded:
    """A finding whose claims all cite known evidence. `dropped` counts those that did not."""

    finding: Finding
    evidence: Mapping[str, EvidenceItem]
    dropped: int

    @property
    def cited(self) -> frozenset[str]:
        return frozenset(id_ for claim in self.finding.claims for id_ in claim.evidence)


def ground(finding: Finding, *, response_id: int, known: Collection[str]) -> Grounded:
    """Drop every claim that cites nothing, or anything that is neither shown nor stored."""
    evidence = {item.id(response_id): item for item in finding.evidence}
    allowed = {*evidence, *known}
    claims = tuple(claim for claim in finding.claims if _is_grounded(claim, allowed))
    return Grounded(
        finding=Finding(
            agent=finding.agent,
            summary=finding.summary,
            claims=claims,
            evidence=finding.evidence,
            data=finding.data,
            unknown=finding.unknown,
            provider=finding.provider,
        ),
        evidence=evidence,
        dropped=len(finding.claims) - len(claims),
    )


def _is_grounded(claim: Claim, allowed: Collection[str]) -> bool:
    return bool(claim.evidence) and all(id_ in allowed for id_ in claim.evidence)


def as_json(grounded: Grounded) -> dict[str, Any]:
    """The `finding` of an agent run. Its evidence is stored apart and linked to the run."""
    finding = grounded.finding
    body: dict[str, Any] = plain(
        {
            "agent": finding.agent,
            "summary": finding.summary,
            "claims": [
                {
                    "text": claim.text,
                    "evidence": list(claim.evidence),
                    "confidence": claim.confidence,
                }
                for claim in finding.claims
            ],
            "data": finding.data,
            "unknown": list(finding.unknown),
            "provider": finding.provider,
            "dropped_claims": grounded.dropped,
        }
    )
    return body


def plain(value: Any) -> Any:
    """The same as JSON values: what is not a finite number becomes null, never a made-up one."""
    if isinstance(value, str):
        # PostgreSQL stores neither NUL nor lone surrogates.
        return value.replace("\x00", "").encode("utf-8", "replace").decode()
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return plain(str(value))
