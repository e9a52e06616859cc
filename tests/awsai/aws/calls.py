"""Calls as tests make them, and the rows they leave."""

from __future__ import annotations

from typing import Any

from awsai.models import AwsCall, AwsCallIntent
from awsai.ports import Passage, Question
from awsai.providers import provider
from awsai.providers.aws import session

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA = "amazon.nova-lite-v1:0"
QUESTION = Question(
    task="summary",
    instruction="Sum up",
    passages=(Passage(id="a", text="the pool of orders is exhausted"),),
)


def converse(text: str = "the pool is exhausted", *, model: str = HAIKU) -> Any:
    return session.client("bedrock-runtime").converse(modelId=model, messages=user(text))


def converse_stream(text: str = "the pool is exhausted", *, model: str = HAIKU) -> Any:
    client = session.client("bedrock-runtime")
    return client.converse_stream(modelId=model, messages=user(text))["stream"]


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"text": text}]}]


def reasoner() -> Any:
    return provider("emulator").reasoner()


def the_row() -> AwsCall:
    """The one row there is; no intent is left open."""
    assert not AwsCallIntent.objects.filter(is_settled=False).exists()
    return AwsCall.objects.get()


def rows() -> list[AwsCall]:
    return list(AwsCall.objects.order_by("sequence"))
