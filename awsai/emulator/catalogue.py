"""What the emulated account has by default: foundation models and guardrails."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


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


def _claude(
    id: str,
    name: str,
    *,
    max_output_tokens: int,
    profiles: tuple[str, ...] = ("global", "us", "eu", "apac", "jp", "au"),
    is_newest: bool = False,
) -> Model:
    """The newest ones refuse sampling parameters, and are not counted by CountTokens."""
    return Model(
        id=id,
        name=name,
        provider_name="Anthropic",
        profiles=profiles,
        max_output_tokens=max_output_tokens,
        accepts_sampling=not is_newest,
        counts_tokens=not is_newest,
    )


def _nova(
    id: str,
    name: str,
    *,
    profiles: tuple[str, ...] = ("us", "eu", "apac"),
    max_output_tokens: int = 10_000,
    end_of_life_at: datetime | None = None,
) -> Model:
    return Model(
        id=id,
        name=name,
        provider_name="Amazon",
        profiles=profiles,
        max_output_tokens=max_output_tokens,
        counts_tokens=False,  # only Claude is counted
        end_of_life_at=end_of_life_at,
    )


# As AWS's model cards had them on 22 Nov 2026; what the newest Claude models refuse is from their
# vendor's model page.
# https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html
MODELS = (
    _claude(
        "anthropic.claude-sonnet-5-5",
        "Claude Sonnet 5.5",
        max_output_tokens=128_000,
        is_newest=True,
    ),
    _claude("anthropic.claude-sonnet-4-6", "Claude Sonnet 4.6", max_output_tokens=64_000),
    _claude(
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "Claude Sonnet 4.5",
        max_output_tokens=64_000,
        profiles=("global", "us", "eu", "jp", "au"),
    ),
    _claude(
        "anthropic.claude-haiku-5-5",
        "Claude Haiku 5.5",
        max_output_tokens=128_000,
        is_newest=True,
    ),
    _claude(
        "anthropic.claude-haiku-4-5-20251001-v1:0", "Claude Haiku 4.5", max_output_tokens=64_000
    ),
    _nova(
        "amazon.nova-2-lite-v1:0",
        "Nova 2 Lite",
        profiles=("global", "us", "eu", "apac", "jp"),
        max_output_tokens=64_000,
    ),
    _nova("amazon.nova-pro-v1:0", "Nova Pro"),
    _nova("amazon.nova-lite-v1:0", "Nova Lite"),
    _nova("amazon.nova-micro-v1:0", "Nova Micro"),
    _nova(
        "amazon.nova-premier-v1:0",
        "Nova Premier",
        profiles=(),
        end_of_life_at=datetime(2026, 9, 14, tzinfo=UTC),
    ),
)


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
