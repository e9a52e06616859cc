"""Amazon Bedrock Runtime: Converse, ConverseStream, InvokeModel, CountTokens, ApplyGuardrail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from awsai.emulator.account import Account, Call, Events, Handler, Output
from awsai.emulator.catalogue import Model
from awsai.emulator.errors import invalid
from awsai.emulator.handlers import conversation, guarding, native
from awsai.emulator.handlers.conversation import Conversation, Turn
from awsai.emulator.prompt_cache import PromptCache, prompt_of
from awsai.ports import Answer, Piece


def handlers(account: Account) -> Mapping[str, Handler]:
    runtime = BedrockRuntime(account)
    return {
        "Converse": runtime.converse,
        "ConverseStream": runtime.converse_stream,
        "InvokeModel": runtime.invoke_model,
        "CountTokens": runtime.count_tokens,
        "ApplyGuardrail": runtime.apply_guardrail,
    }


@dataclass(frozen=True, kw_only=True)
class Written:
    """An answer as it goes out; `trace` is empty unless the guardrail's was asked for."""

    text: str
    stop_reason: str
    usage: Mapping[str, Any]
    trace: Mapping[str, Any]


class BedrockRuntime:
    def __init__(self, account: Account) -> None:
        self._account = account
        self._cache = PromptCache()

    def converse(self, call: Call) -> Output:
        started = perf_counter()
        turn = conversation.prepare(self._account, self._cache, call, call.params)
        written = self._write(turn)
        return {
            "output": {"message": {"role": "assistant", "content": [{"text": written.text}]}},
            "stopReason": written.stop_reason,
            **_telling(call, written, started),
        }

    def converse_stream(self, call: Call) -> Output:
        started = perf_counter()
        turn = conversation.prepare(self._account, self._cache, call, call.params)
        if turn.guarded:
            # A guardrail has to see the text before anyone else does.
            return {"stream": _whole(call, self._write(turn), started)}
        pieces = self._account.provider.reasoner().stream(turn.question, model=turn.model.id)
        # A call that fails at once fails before the stream has begun, as an HTTP error.
        return {"stream": _incremental(turn, next(pieces, None), pieces, started)}

    def invoke_model(self, call: Call) -> Output:
        model = conversation.model_for(self._account, call, call.params["modelId"])
        family = native.family_of(model)
        asked = family.read(native.document(call.params.get("body", b"")))
        if identifier := call.params.get("guardrailIdentifier"):
            asked["guardrailConfig"] = {
                "guardrailIdentifier": identifier,
                "guardrailVersion": call.params.get("guardrailVersion", "DRAFT"),
            }
        asked |= {"modelId": call.params["modelId"]}
        if tier := call.params.get("serviceTier"):
            asked["serviceTier"] = {"type": tier}
        native.check(asked)
        written = self._write(conversation.prepare(self._account, self._cache, call, asked))
        body = family.write(model, written.text, written.stop_reason, written.usage)
        if identifier:
            intervened = written.stop_reason == "guardrail_intervened"
            body["amazon-bedrock-guardrailAction"] = "INTERVENED" if intervened else "NONE"
        return {"body": native.encoded(body), "contentType": "application/json"}

    def count_tokens(self, call: Call) -> Output:
        model = conversation.model_for(self._account, call, call.params["modelId"])
        if not model.counts_tokens:
            raise invalid("The provided model doesn't support counting tokens.")
        return {"inputTokens": prompt_of(_counted(model, call.params["input"])).tokens}

    def apply_guardrail(self, call: Call) -> Output:
        params = call.params
        guardrail = self._account.guardrail(
            params["guardrailIdentifier"], params["guardrailVersion"]
        )
        if any("text" not in block for block in params["content"]):
            raise invalid("The guardrail reads only text here.")
        texts = [block["text"]["text"] for block in params["content"]]
        is_input = params["source"] == "INPUT"
        verdict = guarding.check(
            self._account, call, guardrail, texts, direction="input" if is_input else "output"
        )
        blocked = guardrail.blocked_input if is_input else guardrail.blocked_output
        passed_on = verdict.texts if verdict.is_allowed else (blocked,)
        return {
            "usage": verdict.usage(),
            "action": "GUARDRAIL_INTERVENED" if verdict.intervenes else "NONE",
            "outputs": [{"text": text} for text in passed_on] if verdict.intervenes else [],
            "assessments": [verdict.assessment()],
        }

    def _write(self, turn: Turn) -> Written:
        """The whole answer of a turn, billed."""
        if turn.guarded and turn.is_blocked:
            return Written(
                text=turn.guarded.input.guardrail.blocked_input,
                stop_reason="guardrail_intervened",
                usage=conversation.NOTHING_USED,
                trace=_trace(turn),
            )
        answer = self._account.provider.reasoner().answer(turn.question, model=turn.model.id)
        draft = turn.draft()
        draft.take(answer.text)
        draft.rest()
        usage, stop_reason = turn.bill(draft.text), draft.stop_reason or answer.stop_reason
        if turn.guarded is None:
            return Written(text=draft.text, stop_reason=stop_reason, usage=usage, trace={})
        guardrail = turn.guarded.input.guardrail
        verdict = guarding.check(
            self._account, turn.call, guardrail, [draft.text], direction="output"
        )
        return Written(
            text=verdict.texts[0] if verdict.is_allowed else guardrail.blocked_output,
            stop_reason=stop_reason if verdict.is_allowed else "guardrail_intervened",
            usage=usage,
            trace=_trace(turn, verdict),
        )


def _incremental(
    turn: Turn,
    first: Piece | Answer | None,
    pieces: Iterator[Piece | Answer],
    started: float,
) -> Events:
    """The events of an answer as it is written. Left early, it is billed as far as it came."""
    draft, stop_reason, is_billed = turn.draft(), "end_turn", False
    try:
        with closing(pieces):  # type: ignore[type-var]  # the port says: it can be closed
            yield "messageStart", {"role": "assistant"}
            piece = first
            while piece is not None and not draft.stop_reason:
                if isinstance(piece, Answer):
                    stop_reason = piece.stop_reason
                elif text := draft.take(piece.text):
                    yield "contentBlockDelta", _delta(text)
                piece = next(pieces, None)
        if text := draft.rest():
            yield "contentBlockDelta", _delta(text)
        usage, is_billed = turn.bill(draft.text), True
        written = Written(
            text=draft.text, stop_reason=draft.stop_reason or stop_reason, usage=usage, trace={}
        )
        yield from _ending(turn.call, written, started)
    finally:
        if not is_billed:
            turn.bill(draft.text)


def _whole(call: Call, written: Written, started: float) -> Events:
    yield "messageStart", {"role": "assistant"}
    yield "contentBlockDelta", _delta(written.text)
    yield from _ending(call, written, started)


def _ending(call: Call, written: Written, started: float) -> Events:
    yield "contentBlockStop", {"contentBlockIndex": 0}
    yield "messageStop", {"stopReason": written.stop_reason}
    yield "metadata", _telling(call, written, started)


def _delta(text: str) -> dict[str, Any]:
    return {"contentBlockIndex": 0, "delta": {"text": text}}


def _telling(call: Call, written: Written, started: float) -> dict[str, Any]:
    """What the end of an answer tells beside the text."""
    told: dict[str, Any] = {
        "usage": written.usage,
        "metrics": {"latencyMs": _milliseconds_since(started)},
    }
    if written.trace:
        told["trace"] = written.trace
    told |= {
        name: call.params[name]
        for name in ("serviceTier", "performanceConfig")
        if name in call.params
    }
    return told


def _trace(turn: Turn, output: guarding.Verdict | None = None) -> dict[str, Any]:
    if turn.guarded is None or not turn.guarded.is_traced:
        return {}
    name = turn.guarded.input.guardrail.id
    trace: dict[str, Any] = {"inputAssessment": {name: turn.guarded.input.assessment()}}
    if output is not None:
        trace["outputAssessments"] = {name: [output.assessment()]}
    return {"guardrail": trace}


def _counted(model: Model, given: Mapping[str, Any]) -> Conversation:
    if "converse" in given:
        asked: Conversation = given["converse"]
    else:
        asked = native.family_of(model).read(native.document(given["invokeModel"]["body"]))
        native.check({**asked, "modelId": model.id})
    conversation.check(asked, model)
    return asked


def _milliseconds_since(started: float) -> int:
    return round((perf_counter() - started) * 1000)
