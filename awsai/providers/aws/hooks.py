"""Every call of every client in the ledger, from the events that botocore tells of it.

What is known of a call travels in botocore's own context of that call: clients are shared by
threads, so nothing is kept here. Nothing is told of a request that botocore refuses to build, and
nothing of it is sent.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from time import monotonic
from typing import Any

from botocore.response import StreamingBody
from celery.exceptions import SoftTimeLimitExceeded

from awsai import ledger
from awsai.ledger import Attempt
from awsai.ports import ProviderName, Served
from awsai.providers.aws import errors, usage
from awsai.providers.aws.calls import Call
from awsai.providers.aws.streams import LedgeredStream

# In the context of a call, and in the metadata of its answer.
_PARAMETERS = "incidentops.parameters"
_CALL = "incidentops.call"
_SERVED = "Served"

# Models write for as long as this; whatever does not write answers sooner.
MODEL_SECONDS = 60.0
OTHER_SECONDS = 10.0
_MODELS_WRITE = frozenset(
    {
        "Converse",
        "ConverseStream",
        "InvokeModel",
        "InvokeModelWithResponseStream",
        "InvokeAgent",
        "RetrieveAndGenerate",
        "ChatSync",
    }
)
# Answers that botocore takes for final although the same request may succeed, tried again once.
_ONCE_MORE = frozenset({"ModelTimeoutException", "ModelErrorException", "ModelNotReadyException"})
ONCE_MORE_AFTER_SECONDS = 0.5
MAX_ATTEMPTS = 3


def service_of(service: str, operation: str, model: str) -> str:
    """The product's name (`awsai.services`) for what is called, else the name in boto3."""
    if service == "bedrock-runtime":
        if operation == "ApplyGuardrail":
            return "bedrock-guardrails"
        if "anthropic.claude" in model:
            return "bedrock-claude"
        return "bedrock-nova" if "amazon.nova" in model else service
    if service == "bedrock-agent-runtime":
        is_agent = operation.endswith(("Agent", "AgentMemory"))
        return "bedrock-agents" if is_agent else "bedrock-knowledge-bases"
    return {"qbusiness": "q-business"}.get(service, service)


def served(answer: Mapping[str, Any]) -> Served:
    """Who gave this answer; of a stream, `LedgeredStream.served` tells when it has ended."""
    told: Served = answer["ResponseMetadata"][_SERVED]
    return told


class LedgerHooks:
    def __init__(self, client: Any, *, provider: ProviderName) -> None:
        self._client = client
        self._service: str = client.meta.service_model.service_name
        self._provider = provider

    def register(self) -> None:
        events = self._client.meta.events
        name = self._client.meta.service_model.service_id.hyphenize()
        events.register(f"before-parameter-build.{name}", self._remember)
        events.register_last(f"before-call.{name}", self._open)
        # Before the signer, which may have to assume a role first.
        events.register_first(f"request-created.{name}", self._begin)
        # Before botocore's own rule: the first answer counts.
        events.register_first(f"needs-retry.{name}", self._note)
        events.register_last(f"after-call.{name}", self._close)
        events.register_last(f"after-call-error.{name}", self._fail)

    def _remember(self, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context[_PARAMETERS] = params

    def _open(self, model: Any, context: dict[str, Any], **_: Any) -> None:
        parameters = context.get(_PARAMETERS, {})
        asked = _model_asked(parameters)
        entry = ledger.intend(
            service=service_of(self._service, model.name, asked),
            operation=model.name,
            provider=self._provider,
            model=asked,
            region=self._client.meta.region_name or "",
        )
        context[_CALL] = Call(entry=entry, operation=model.name, parameters=parameters)
        # Sent with every attempt, so that what a killed process asked can be told from outside.
        context.setdefault("retries", {})["invocation-id"] = str(entry.intent.pk)

    def _begin(self, request: Any, **_: Any) -> None:
        call: Call | None = request.context.get(_CALL)
        if call is None:  # a URL is being signed for somebody else to call
            return
        seconds = MODEL_SECONDS if call.operation in _MODELS_WRITE else OTHER_SECONDS
        request.context["read_timeout"] = max(0.1, min(seconds, call.remaining_seconds))
        call.attempt_began = monotonic()

    def _note(
        self, attempts: int, response: Any, caught_exception: Any, request_dict: Any, **_: Any
    ) -> float | bool | None:
        """Note one attempt. None leaves the choice to botocore, False ends the call."""
        call: Call = request_dict["context"][_CALL]
        interrupted = errors.cause(caught_exception)
        attempt = _attempt(attempts, response, interrupted, call)
        call.attempts.append(attempt)
        if isinstance(interrupted, SoftTimeLimitExceeded):
            # botocore takes it for a failure of HTTP and would go on past the end of the task.
            raise interrupted
        if not attempt.error:
            return None
        if call.remaining_seconds <= 0:
            return False
        if attempt.error in _ONCE_MORE and attempts < MAX_ATTEMPTS and call.is_first(attempt.error):
            return ONCE_MORE_AFTER_SECONDS
        return None

    def _close(
        self, http_response: Any, parsed: dict[str, Any], model: Any, context: Any, **_: Any
    ) -> None:
        call: Call = context[_CALL]
        metadata = parsed["ResponseMetadata"]
        call.request_id = metadata.get("RequestId", "")
        if metadata.get("HTTPHeaders", {}).get("x-iop-provider") == "emulator":
            # Whatever the configuration says, nobody at AWS served this.
            call.entry.intent.provider = "emulator"
        if http_response.status_code >= 300:
            told = parsed.get("Error", {})
            code, message = errors.capitalised(str(told.get("Code", ""))), str(told.get("Message"))
            call.fail(errors.trouble_of(code, http_response.status_code, message), code)
        elif model.has_event_stream_output:
            name = model.output_shape.event_stream_name
            parsed[name] = LedgeredStream(parsed[name], call)
        elif call.operation == "InvokeModel":
            metadata[_SERVED] = self._invoked(call, parsed)
        else:
            metadata[_SERVED] = call.succeed(
                usage.of(call.operation, call.parameters, parsed),
                stop_reason=_stop_reason(parsed),
                model=parsed.get("trace", {}).get("promptRouter", {}).get("invokedModelId", ""),
            )

    def _invoked(self, call: Call, parsed: dict[str, Any]) -> Served:
        """The usage stands inside the body, which is therefore read here."""
        try:
            body: bytes = parsed["body"].read()
        except errors.WIRE_ERRORS as error:
            call.fail(*errors.classify(error))
            raise
        parsed["body"] = StreamingBody(io.BytesIO(body), len(body))
        return call.succeed(usage.invoke_model(body))

    def _fail(self, exception: BaseException, context: dict[str, Any], **_: Any) -> None:
        call: Call = context[_CALL]
        call.fail(*errors.classify(errors.cause(exception) or exception))


def _attempt(number: int, response: Any, exception: BaseException | None, call: Call) -> Attempt:
    status, error, request_id = None, "", ""
    if response is not None:
        http, parsed = response
        status = http.status_code
        request_id = parsed.get("ResponseMetadata", {}).get("RequestId", "")
        if status >= 300:
            error = errors.capitalised(str(parsed.get("Error", {}).get("Code", status)))
    elif exception is not None:
        error = type(exception).__name__
    return Attempt(
        number=number,
        http_status=status,
        error=error,
        latency_ms=round((monotonic() - call.attempt_began) * 1000),
        request_id=request_id,
    )


def _model_asked(parameters: dict[str, Any]) -> str:
    """The model a request names, in whatever place its operation has for it."""
    for path in (
        ("modelId",),
        ("retrieveAndGenerateConfiguration", "knowledgeBaseConfiguration", "modelArn"),
        (
            "rerankingConfiguration",
            "bedrockRerankingConfiguration",
            "modelConfiguration",
            "modelArn",
        ),
    ):
        found: Any = parameters
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, str):
            return found
    return ""


def _stop_reason(parsed: dict[str, Any]) -> str:
    """Why it stopped, or what a guardrail did."""
    told = (parsed.get(name) for name in ("stopReason", "action", "guardrailAction"))
    return next((reason for reason in told if isinstance(reason, str)), "")
