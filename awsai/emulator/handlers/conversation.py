"""A conversation in the form of Converse, made ready for a model: checked, guarded, counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from awsai import prompts, tokens
from awsai.emulator.account import Account, Call
from awsai.emulator.catalogue import Model
from awsai.emulator.draft import Draft
from awsai.emulator.errors import invalid
from awsai.emulator.handlers import guarding
from awsai.emulator.handlers.guarding import Verdict
from awsai.emulator.prompt_cache import CacheUse, Prompt, PromptCache, prompt_of
from awsai.ports import Passage, Question

Conversation = Mapping[str, Any]

_SAMPLING = frozenset({"temperature", "topP", "top_p", "topK", "top_k"})
_READABLE = frozenset({"text", "guardContent", "cachePoint", "reasoningContent"})
NOTHING_USED = {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """What the guardrail said to the input, and whether the caller wants to know."""

    input: Verdict
    is_traced: bool


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a model is asked, and how it will be billed."""

    call: Call
    model: Model
    question: Question
    prompt: Prompt
    stop_sequences: Sequence[str] = ()
    cache: CacheUse = field(default_factory=CacheUse)
    guarded: Guarded | None = None

    @property
    def is_blocked(self) -> bool:
        return self.guarded is not None and not self.guarded.input.is_allowed

    def draft(self) -> Draft:
        return Draft(max_tokens=self.question.max_tokens, stop_sequences=self.stop_sequences)

    def bill(self, text: str) -> dict[str, Any]:
        """Bill for the prompt and for `text`, and tell it as a TokenUsage."""
        written = sum(self.cache.written.values())
        plain, output = self.prompt.tokens - self.cache.read - written, tokens.estimate(text)
        meters = {f"cache_write_{ttl}": count for ttl, count in self.cache.written.items()}
        meters |= {"input": plain, "output": output, "cache_read": self.cache.read}
        self.call.entry.bill(tokens=meters)
        return {
            "inputTokens": plain,
            "outputTokens": output,
            "totalTokens": self.prompt.tokens + output,
            "cacheReadInputTokens": self.cache.read,
            "cacheWriteInputTokens": written,
            "cacheDetails": [
                {"ttl": ttl, "inputTokens": count} for ttl, count in self.cache.written.items()
            ],
        }


def prepare(account: Account, cache: PromptCache, call: Call, conversation: Conversation) -> Turn:
    """Check a conversation and guard what comes in.

    Raises:
        AwsError: the model or the guardrail is not there, or the model cannot take this.
        CallFailed: the guard failed.
    """
    model = model_for(account, call, conversation["modelId"])
    check(conversation, model)
    call.entry.service_tier = conversation.get("serviceTier", {}).get("type", "default")
    guarded, conversation = _guard(account, call, conversation)
    prompt = prompt_of(conversation)
    turn = Turn(
        call=call,
        model=model,
        question=question_of(conversation, model),
        prompt=prompt,
        stop_sequences=conversation.get("inferenceConfig", {}).get("stopSequences", ()),
        guarded=guarded,
    )
    if turn.is_blocked:
        return turn
    return replace(turn, cache=cache.use(model, prompt, at=account.clock()))


def model_for(account: Account, call: Call, identifier: str) -> Model:
    call.entry.model_requested = identifier
    model = account.model(identifier)
    call.entry.model_invoked = model.id
    return model


def check(conversation: Conversation, model: Model) -> None:
    """Raises: AwsError, ValidationException, for what AWS refuses or nobody here can read."""
    messages = conversation.get("messages", ())
    if not messages or messages[0]["role"] != "user":
        raise invalid("A conversation must start with a user message.")
    if messages[-1]["role"] != "user":
        raise invalid("The conversation must end with a user message.")
    if any(message["role"] == "system" for message in messages):
        raise invalid(f"{model.id} takes no system messages between the turns here.")
    for message in messages:
        if unreadable := {kind for block in message["content"] for kind in block} - _READABLE:
            raise invalid(f"{model.id} does not read {', '.join(sorted(unreadable))} here.")
    if conversation.get("toolConfig", {}).get("toolChoice", {}).keys() & {"any", "tool"}:
        raise invalid(f"{model.id} cannot be made to use a tool here.")
    sampling = _SAMPLING & {
        *conversation.get("inferenceConfig", {}),
        *(conversation.get("additionalModelRequestFields") or {}),
    }
    if sampling and not model.accepts_sampling:
        raise invalid(f"{model.id} does not support {', '.join(sorted(sampling))}.")
    limit = conversation.get("inferenceConfig", {}).get("maxTokens", 1)
    if limit > model.max_output_tokens:
        raise invalid(
            f"The maximum tokens you requested exceeds the model limit of "
            f"{model.max_output_tokens}. Try again with a maximum tokens value that is lower than "
            f"{model.max_output_tokens}."
        )


def question_of(conversation: Conversation, model: Model) -> Question:
    """The question behind the last turn; those before it are passages, `turn-1` and so on."""
    system = "\n\n".join(texts_of(conversation.get("system", ())))
    *earlier, last = conversation["messages"]
    config = conversation.get("inferenceConfig", {})
    question = prompts.read(
        system,
        "\n".join(texts_of(last["content"])),
        schema=_schema(conversation),
        max_tokens=config.get("maxTokens", model.max_output_tokens),
    )
    history = tuple(
        Passage(id=f"turn-{number}", text="\n".join(texts_of(turn["content"])), source=turn["role"])
        for number, turn in enumerate(earlier, start=1)
    )
    return replace(question, passages=history + question.passages)


def texts_of(blocks: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [
        block["text"]
        if "text" in block
        else block.get("guardContent", {}).get("text", {}).get("text")
        for block in blocks
    ]
    return [text for text in found if text is not None]


def _schema(conversation: Conversation) -> Any:
    text_format = conversation.get("outputConfig", {}).get("textFormat")
    if text_format is None:
        return None
    try:
        schema = json.loads(text_format["structure"]["jsonSchema"]["schema"])
    except ValueError:
        raise invalid("outputConfig: the JSON schema is not JSON.") from None
    if not isinstance(schema, dict):
        raise invalid("outputConfig: the JSON schema is not an object.")
    return schema


def _guard(
    account: Account, call: Call, conversation: Conversation
) -> tuple[Guarded | None, Conversation]:
    """The guardrail's word on the messages, and the conversation as it may go on."""
    config = conversation.get("guardrailConfig", {})
    if not config.get("guardrailIdentifier"):
        return None, conversation
    guardrail = account.guardrail(
        config["guardrailIdentifier"], config.get("guardrailVersion", "DRAFT")
    )
    # Where a request marks what is to be guarded, only that is.
    blocks = [block for message in conversation["messages"] for block in message["content"]]
    is_marked = any("guardContent" in block for block in blocks)
    guarded_blocks = [
        block
        for block in blocks
        if ("guardContent" in block) or ("text" in block and not is_marked)
    ]
    verdict = guarding.check(account, call, guardrail, texts_of(guarded_blocks), direction="input")
    texts = {id(block): text for block, text in zip(guarded_blocks, verdict.texts, strict=True)}
    messages = [
        message
        | {
            "content": [
                {"text": texts[id(block)]} if id(block) in texts else block
                for block in message["content"]
            ]
        }
        for message in conversation["messages"]
    ]
    is_traced = config.get("trace", "disabled") != "disabled"
    guarded = Guarded(input=verdict, is_traced=is_traced)
    return guarded, {**conversation, "messages": messages}
