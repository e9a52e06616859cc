"""Claude and Nova through Converse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.conf import settings

from awsai import purpose, schemas, tokens
from awsai.ports import (
    Answer,
    CallFailed,
    Confidence,
    Piece,
    ProviderName,
    Question,
    Trouble,
)
from awsai.prompts import system_text, user_text
from awsai.providers.aws import calls, errors, hooks
from awsai.providers.aws.calls import GUARDRAIL_INTERVENED
from awsai.providers.aws.endpoint import Endpoint
from awsai.providers.aws.streams import LedgeredStream

# Whether a model can do something ("json_schema", "count_tokens"), by the catalogue.
Can = Callable[[str, str], bool]


class ConverseReasoner:
    def __init__(self, *, provider: ProviderName, can: Can, region: str = "") -> None:
        self._provider, self._can, self._region = provider, can, region

    def answer(self, question: Question, *, model: str) -> Answer:
        told = self._endpoint(model).call("converse", **self._request(question, model))
        blocks = told["output"]["message"]["content"]
        text = "".join(block.get("text", "") for block in blocks)
        return _answer(question, text, told["stopReason"], hooks.served(told))

    def stream(self, question: Question, *, model: str) -> Iterator[Piece | Answer]:
        """As promised by the port. What breaks before its first word is asked once more."""
        has_begun, deadline = False, calls.deadline_from_now()
        try:
            for piece in self._stream(question, model, deadline):
                has_begun = True
                yield piece
        except CallFailed as failed:
            if has_begun or failed.trouble != Trouble.BROKEN:
                raise
            yield from self._stream(question, model, deadline)

    def count_tokens(self, question: Question, *, model: str) -> tuple[int, Confidence]:
        if self._can(model, "count_tokens"):
            request = self._request(question, model)
            counted = {name: request[name] for name in ("system", "messages")}
            try:
                told = self._endpoint(model).call(
                    "count_tokens", modelId=model, input={"converse": counted}
                )
            except CallFailed:
                pass  # its row in the ledger says why; what follows is marked as an estimate
            else:
                return told["inputTokens"], "counted"
        return tokens.estimate(system_text(question)) + tokens.estimate(
            user_text(question)
        ), "estimated"

    def _stream(self, question: Question, model: str, deadline: float) -> Iterator[Piece | Answer]:
        endpoint = self._endpoint(model)
        with calls.ending_by(deadline):
            told = endpoint.call("converse_stream", **self._request(question, model))
        stream: LedgeredStream = told["stream"]
        words: list[str] = []
        with errors.translated(endpoint.product), stream:
            for event in stream:
                text = event.get("contentBlockDelta", {}).get("delta", {}).get("text")
                if text:
                    words.append(text)
                    yield Piece(text=text)
        if not stream.reading.stop_reason or stream.served is None:
            raise CallFailed(
                Trouble.BROKEN, "The answer ended before its end.", service=endpoint.product
            )
        yield _answer(question, "".join(words), stream.reading.stop_reason, stream.served)

    def _endpoint(self, model: str) -> Endpoint:
        product = hooks.service_of("bedrock-runtime", "Converse", model)
        return Endpoint(
            service="bedrock-runtime",
            product=product,
            provider=self._provider,
            region=self._region,
        )

    def _request(self, question: Question, model: str) -> dict[str, Any]:
        # No temperature and no topP: newer models refuse any but their own.
        system = system_text(question)
        request: dict[str, Any] = {
            "modelId": model,
            "messages": [{"role": "user", "content": [{"text": user_text(question)}]}],
            "inferenceConfig": {"maxTokens": question.max_tokens},
        }
        if question.schema is not None:
            _check(question.schema)
            schema = json.dumps(question.schema)
            if self._can(model, "json_schema"):
                request["outputConfig"] = _json_schema(schema, name=question.task)
            else:
                system += f"\n\nAnswer with one JSON document of this JSON schema alone:\n{schema}"
        request["system"] = [{"text": system}]
        if metadata := _metadata():
            request["requestMetadata"] = metadata
        if settings.AWS_GUARDRAIL_ID:
            request["guardrailConfig"] = {
                "guardrailIdentifier": settings.AWS_GUARDRAIL_ID,
                "guardrailVersion": settings.AWS_GUARDRAIL_VERSION,
                # What the guardrail is billed stands in the trace alone.
                "trace": "enabled",
            }
        return request


def _json_schema(schema: str, *, name: str) -> dict[str, Any]:
    return {
        "textFormat": {
            "type": "json_schema",
            "structure": {"jsonSchema": {"schema": schema, "name": name}},
        }
    }


def _metadata() -> dict[str, str]:
    """By which the account's invocation log can be searched."""
    about = purpose.current()
    known = {"incident": about.incident, "agent": about.agent or None}
    return {name: str(value) for name, value in known.items() if value is not None}


def _answer(question: Question, text: str, stop_reason: str, served: Any) -> Answer:
    if stop_reason == GUARDRAIL_INTERVENED:
        raise CallFailed(
            Trouble.BLOCKED,
            "The guardrail stopped the answer.",
            code=stop_reason,
            service=served.service,
        )
    data = None if question.schema is None else _valid(text, question.schema)
    return Answer(text=text, stop_reason=stop_reason, served=served, data=data)


def _valid(text: str, schema: Mapping[str, Any]) -> Any:
    """The JSON of an answer, None when it is not as asked."""
    data = schemas.parsed(text)
    return None if schemas.errors(data, schema) else data


def _check(schema: Mapping[str, Any]) -> None:
    """Raises: CallFailed, REFUSED: nobody here could tell whether an answer is valid."""
    try:
        schemas.check(schema)
    except schemas.UnsupportedSchema as error:
        raise CallFailed(Trouble.REFUSED, str(error), code="UnsupportedSchema") from error
