"""Guardrails through ApplyGuardrail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from django.conf import settings

from awsai.ports import Assessment, ProviderName
from awsai.providers.aws import hooks
from awsai.providers.aws.configuration import required
from awsai.providers.aws.endpoint import Endpoint

# (policy, its findings, the word before the colon, the member that names what was found). Members
# that quote the text are left out.
_FINDINGS = (
    ("topicPolicy", "topics", "topic", "name"),
    ("contentPolicy", "filters", "content", "type"),
    ("wordPolicy", "managedWordLists", "word", "type"),
    ("wordPolicy", "customWords", "word", ""),
    ("sensitiveInformationPolicy", "piiEntities", "pii", "type"),
    ("sensitiveInformationPolicy", "regexes", "regex", "name"),
    ("contextualGroundingPolicy", "filters", "grounding", "type"),
)


class GuardrailsGuard:
    def __init__(self, *, provider: ProviderName) -> None:
        self._provider = provider

    def check(self, text: str, *, direction: Literal["input", "output"]) -> Assessment:
        told = Endpoint(
            service="bedrock-runtime", product="bedrock-guardrails", provider=self._provider
        ).call(
            "apply_guardrail",
            guardrailIdentifier=required("AWS_GUARDRAIL_ID", provider=self._provider),
            guardrailVersion=settings.AWS_GUARDRAIL_VERSION,
            source=direction.upper(),
            content=[{"text": {"text": text}}],
        )
        found = [one for assessment in told["assessments"] for one in _findings(assessment)]
        reasons = tuple(dict.fromkeys(reason for reason, _ in found))
        is_allowed, passed = _verdict(text, told, {action for _, action in found})
        return Assessment(
            is_allowed=is_allowed, text=passed, reasons=reasons, served=hooks.served(told)
        )


def _verdict(text: str, told: Mapping[str, Any], actions: set[str]) -> tuple[bool, str]:
    if told["action"] == "NONE":
        return True, text
    # An intervention lets a text pass only if all it did was to mask.
    outputs = [output.get("text", "") for output in told["outputs"]]
    if outputs and actions - {"NONE"} == {"ANONYMIZED"}:
        return True, "".join(outputs)
    return False, ""


def _findings(assessment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(reason, action) of everything that was found. A finding without an action was harmless."""
    for policy, findings, kind, name in _FINDINGS:
        for finding in assessment.get(policy, {}).get(findings, ()):
            action = finding.get("action", "BLOCKED")
            if action != "NONE" or finding.get("detected", False):
                yield f"{kind}:{finding.get(name, 'custom')}", action
    if assessment.get("automatedReasoningPolicy", {}).get("findings"):
        yield "reasoning:findings", "BLOCKED"
