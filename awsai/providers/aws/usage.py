"""What a call is billed by: as its answer tells, or reckoned by the published rule."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from awsai import tokens
from awsai.ports import NOTHING_USED, Confidence, Usage

Parameters = Mapping[str, Any]
Answer = Mapping[str, Any]

UNITS_A_REQUEST = 3  # Comprehend bills three units of 100 characters at least
CHARACTERS_A_UNIT = 100
DOCUMENTS_A_QUERY = 100  # Rerank bills every begun hundred documents as a query
CHAT_UNITS = 2  # Q Business bills a ChatSync as two units

_GUARDRAIL_UNITS = {
    "contentPolicyUnits": "guardrail.content",
    "contentPolicyImageUnits": "guardrail.image",
    "topicPolicyUnits": "guardrail.topics",
    "wordPolicyUnits": "guardrail.words",
    "sensitiveInformationPolicyUnits": "guardrail.pii",
    "sensitiveInformationPolicyFreeUnits": "guardrail.regex",
    "contextualGroundingPolicyUnits": "guardrail.grounding",
    "automatedReasoningPolicyUnits": "guardrail.automated_reasoning",
}
_ESTIMATED = Usage(confidence="estimated")


def of(operation: str, parameters: Parameters, answer: Answer) -> Usage:
    """The usage of a call that was answered; of operations that nothing is known of, nothing."""
    rule = _RULES.get(operation)
    if rule is None:
        return NOTHING_USED
    try:
        return rule(parameters, answer)
    except (KeyError, TypeError, AttributeError):
        # An answer without its usage is still an answer, and what it was billed is not known.
        return _ESTIMATED


def total(usages: Iterable[Usage]) -> Usage:
    """Several usages as one, as certain as the least certain of them."""
    tokens_used: Counter[str] = Counter()
    units: Counter[str] = Counter()
    confidences: set[Confidence] = set()
    for usage in usages:
        tokens_used.update(usage.tokens)
        units.update(usage.units)
        confidences.add(usage.confidence)
    ranked: tuple[Confidence, ...] = ("estimated", "counted", "reported")
    least: Confidence = next((one for one in ranked if one in confidences), "reported")
    return Usage(tokens=dict(tokens_used), units=dict(units), confidence=least)


# --- Bedrock -----------------------------------------------------------------------------------


def converse(told: Mapping[str, Any], trace: Mapping[str, Any] | None = None) -> Usage:
    """`told` is a TokenUsage; a trace adds what the guardrail inside the call is billed."""
    kept = {detail["ttl"]: detail["inputTokens"] for detail in told.get("cacheDetails", ())}
    hour = kept.get("1h", 0)
    return Usage(
        tokens=_present(
            input=told["inputTokens"],
            output=told["outputTokens"],
            cache_read=told.get("cacheReadInputTokens", 0),
            # Five minutes is how long a cache is kept when nothing else is said.
            cache_write_5m=told.get("cacheWriteInputTokens", hour) - hour,
            cache_write_1h=hour,
        ),
        units=_inline_guardrail(trace or {}),
    )


def guardrail(told: Mapping[str, int]) -> dict[str, int]:
    return {meter: told[name] for name, meter in _GUARDRAIL_UNITS.items() if told.get(name, 0) > 0}


def _inline_guardrail(trace: Mapping[str, Any]) -> dict[str, int]:
    found: Mapping[str, Any] = trace.get("guardrail", {})
    assessments = [
        *found.get("inputAssessment", {}).values(),
        *(one for many in found.get("outputAssessments", {}).values() for one in many),
    ]
    units: Counter[str] = Counter()
    for assessment in assessments:
        units.update(guardrail(assessment.get("invocationMetrics", {}).get("usage", {})))
    return dict(units)


def invoke_model(body: bytes) -> Usage:
    """From the body of InvokeModel: Claude's spelling, or Nova's."""
    try:
        told = json.loads(body)["usage"]
        if "input_tokens" in told:
            return _claude(told)
        return Usage(
            tokens=_present(
                input=told["inputTokens"],
                output=told["outputTokens"],
                cache_read=told.get("cacheReadInputTokenCount", 0),
                cache_write_5m=told.get("cacheWriteInputTokenCount", 0),
            )
        )
    except (ValueError, KeyError, TypeError):
        return _ESTIMATED


def _claude(told: Mapping[str, Any]) -> Usage:
    hour = (told.get("cache_creation") or {}).get("ephemeral_1h_input_tokens", 0)
    return Usage(
        tokens=_present(
            input=told["input_tokens"],
            output=told["output_tokens"],
            cache_read=told.get("cache_read_input_tokens") or 0,
            cache_write_5m=(told.get("cache_creation_input_tokens") or hour) - hour,
            cache_write_1h=hour,
        )
    )


def estimated(asked: Iterable[str], text: str) -> Usage:
    """Where the service told nothing: reckoned from what was asked and what had come back."""
    return Usage(
        tokens=_present(input=tokens.estimate("".join(asked)), output=tokens.estimate(text)),
        confidence="estimated",
    )


def texts_asked(parameters: Parameters) -> list[str]:
    """The texts that a request of Converse or InvokeAgent sends."""
    turns = [block for turn in parameters.get("messages", ()) for block in turn["content"]]
    blocks = [*parameters.get("system", ()), *turns]
    return [parameters.get("inputText", ""), *(block.get("text", "") for block in blocks)]


def _retrieve_and_generate(parameters: Parameters, answer: Answer) -> Usage:
    # The service tells no usage. Its model read at least the question and what was cited.
    references = [
        reference.get("content", {}).get("text", "")
        for citation in answer.get("citations", ())
        for reference in citation.get("retrievedReferences", ())
    ]
    return estimated([parameters["input"]["text"], *references], answer["output"]["text"])


def _rerank(parameters: Parameters, answer: Answer) -> Usage:
    queries = len(parameters["queries"]) * -(-len(parameters["sources"]) // DOCUMENTS_A_QUERY)
    return Usage(units={"query": queries}, confidence="estimated")


# --- Comprehend, Textract ----------------------------------------------------------------------


def _text(parameters: Parameters, answer: Answer) -> Usage:
    return _characters([parameters["Text"]])


def _batch(parameters: Parameters, answer: Answer) -> Usage:
    texts = parameters["TextList"]
    return _characters([texts[result["Index"]] for result in answer["ResultList"]])


def _characters(texts: Iterable[str]) -> Usage:
    units = sum(max(UNITS_A_REQUEST, -(-len(text) // CHARACTERS_A_UNIT)) for text in texts)
    return Usage(units=_present(chars100=units), confidence="estimated")


def _detected_pages(parameters: Parameters, answer: Answer) -> Usage:
    return Usage(units=_present(**{"page.detect": answer["DocumentMetadata"]["Pages"]}))


def _analyzed_pages(parameters: Parameters, answer: Answer) -> Usage:
    pages = answer["DocumentMetadata"]["Pages"]
    return Usage(
        units=_present(**{f"page.{name.lower()}": pages for name in parameters["FeatureTypes"]})
    )


def _job_pages(parameters: Parameters, answer: Answer) -> Usage:
    # A job is billed once, by pages that are known when it is done: they are counted with the first
    # part of what it found. The features are those that `reader` asks for.
    if "NextToken" in parameters or answer.get("JobStatus") not in ("SUCCEEDED", "PARTIAL_SUCCESS"):
        return NOTHING_USED
    pages = answer.get("DocumentMetadata", {}).get("Pages", 0)
    return Usage(units=_present(**{"page.tables": pages}), confidence="estimated")


def _present(**meters: int) -> dict[str, int]:
    return {name: count for name, count in meters.items() if count}


_RULES: dict[str, Callable[[Parameters, Answer], Usage]] = {
    "Converse": lambda _, answer: converse(answer["usage"], answer.get("trace")),
    "ApplyGuardrail": lambda _, answer: Usage(units=guardrail(answer["usage"])),
    "Retrieve": lambda *_: _ESTIMATED,
    "RetrieveAndGenerate": _retrieve_and_generate,
    "Rerank": _rerank,
    "SearchRelevantContent": lambda *_: _ESTIMATED,
    "ChatSync": lambda *_: Usage(units={"chat_unit": CHAT_UNITS}, confidence="estimated"),
    "DetectSentiment": _text,
    "DetectEntities": _text,
    "DetectKeyPhrases": _text,
    "DetectPiiEntities": _text,
    "BatchDetectSentiment": _batch,
    "BatchDetectEntities": _batch,
    "BatchDetectKeyPhrases": _batch,
    "DetectDocumentText": _detected_pages,
    "AnalyzeDocument": _analyzed_pages,
    "GetDocumentAnalysis": _job_pages,
}
