"""What the provider's guard found, in the shapes and units of Guardrails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

from awsai.emulator.account import Account, Call
from awsai.emulator.catalogue import Guardrail
from awsai.emulator.operations import service_model
from awsai.ports import Assessment

CHARACTERS_A_UNIT = 1000
# AWS counts units by policy, under a name of its own for each.
_UNITS = {
    "topics": "topicPolicyUnits",
    "content": "contentPolicyUnits",
    "words": "wordPolicyUnits",
    "pii": "sensitiveInformationPolicyUnits",
    "regex": "sensitiveInformationPolicyFreeUnits",
    "grounding": "contextualGroundingPolicyUnits",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """On several texts at once: `texts` are what may go on of each, `reasons` what was found."""

    guardrail: Guardrail
    is_allowed: bool
    is_changed: bool
    texts: tuple[str, ...]
    reasons: tuple[str, ...]
    units: int
    latency_ms: int

    @property
    def intervenes(self) -> bool:
        return self.is_changed or not self.is_allowed

    def usage(self) -> dict[str, int]:
        """A GuardrailUsage: the text units of every policy that is switched on."""
        on = self.guardrail.policies
        return {member: self.units if policy in on else 0 for policy, member in _UNITS.items()}

    def assessment(self) -> dict[str, Any]:
        """The verdict as a GuardrailAssessment."""
        metrics = {"guardrailProcessingLatency": self.latency_ms, "usage": self.usage()}
        found = _assessment(self.reasons, is_allowed=self.is_allowed)
        return found | {"invocationMetrics": metrics}


def check(
    account: Account,
    call: Call,
    guardrail: Guardrail,
    texts: Sequence[str],
    *,
    direction: Literal["input", "output"],
) -> Verdict:
    """Have the provider's guard look at the texts, and bill for it.

    Raises:
        CallFailed: the guard failed.
    """
    started = perf_counter()
    guard = account.provider.guard()
    found: list[Assessment] = [guard.check(text, direction=direction) for text in texts]
    units = -(-sum(len(text) for text in texts) // CHARACTERS_A_UNIT)
    call.entry.bill(units={f"guardrail.{policy}": units for policy in guardrail.policies})
    return Verdict(
        guardrail=guardrail,
        is_allowed=all(one.is_allowed for one in found),
        is_changed=any(one.text != text for one, text in zip(found, texts, strict=True)),
        texts=tuple(one.text for one in found),
        reasons=tuple(dict.fromkeys(reason for one in found for reason in one.reasons)),
        units=units,
        latency_ms=round((perf_counter() - started) * 1000),
    )


def _assessment(reasons: Iterable[str], *, is_allowed: bool) -> dict[str, Any]:
    """Reasons are "policy:name". The found text itself is not told, so its kind stands for it."""
    model = service_model("bedrock-runtime")
    pii_types = model.shape_for("GuardrailPiiEntityType").enum
    filters = model.shape_for("GuardrailContentFilterType").enum
    stopped = {"action": "NONE" if is_allowed else "BLOCKED", "detected": True}
    masked = {"action": "ANONYMIZED" if is_allowed else "BLOCKED", "detected": True}
    # A rule applies or does not: there are no degrees of it.
    certain = {"confidence": "HIGH", **stopped}
    found: dict[str, list[dict[str, Any]]] = {}
    for reason in reasons:
        policy, _, name = reason.partition(":")
        match policy:
            case "pii" if name in pii_types:
                _add(found, "piiEntities", type=name, match=f"{{{name}}}", **masked)
            case "pii":
                _add(found, "regexes", name=name, **masked)
            case "attack":
                _add(found, "filters", type="PROMPT_ATTACK", **certain)
            case "content" if name.upper() in filters:
                _add(found, "filters", type=name.upper(), **certain)
            case "word":
                _add(found, "customWords", match=name, **stopped)
            case _:
                _add(found, "topics", name=name or policy, type="DENY", **stopped)
    return _by_policy(found)


def _add(found: dict[str, list[dict[str, Any]]], member: str, **finding: Any) -> None:
    found.setdefault(member, []).append(finding)


def _by_policy(found: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    assessment: dict[str, Any] = {}
    if "topics" in found:
        assessment["topicPolicy"] = {"topics": found["topics"]}
    if "filters" in found:
        assessment["contentPolicy"] = {"filters": found["filters"]}
    if "customWords" in found:
        assessment["wordPolicy"] = {"customWords": found["customWords"], "managedWordLists": []}
    if "piiEntities" in found or "regexes" in found:
        assessment["sensitiveInformationPolicy"] = {
            "piiEntities": found.get("piiEntities", []),
            "regexes": found.get("regexes", []),
        }
    return assessment
