"""The AWS account that the emulator plays: what it has, what it may use, and who answers for it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from awsai.emulator.catalogue import GUARDRAILS, MODELS, Guardrail, Model
from awsai.emulator.errors import AwsError, access_denied
from awsai.emulator.log import Entry
from awsai.emulator.signing import Caller, Keyring
from awsai.ports import Provider

# The account of AWS's own examples.
ACCOUNT_ID = "123456789012"


@dataclass(frozen=True, kw_only=True)
class Account:
    """`not_onboarded` names what the account has no access to.

    That is services ("qbusiness"), operations ("bedrock-agent-runtime.InvokeAgent") or model ids.
    `prices` gives the rows that the Price List is made from, in the form of `handlers.pricing`.
    """

    provider: Provider
    keyring: Keyring
    clock: Callable[[], datetime]
    models: tuple[Model, ...] = MODELS
    guardrails: tuple[Guardrail, ...] = GUARDRAILS
    not_onboarded: frozenset[str] = frozenset()
    prices: Callable[[], Iterable[Mapping[str, Any]]] = field(default=tuple)

    def may_use(self, service: str, operation: str) -> bool:
        return not self.not_onboarded & {service, f"{service}.{operation}"}

    def model(self, identifier: str) -> Model:
        """The model an id, a profile id or an ARN of either stands for.

        Raises:
            AwsError: there is none, it has reached its end of life, or it is not ours to use.
        """
        name = identifier.rpartition("/")[2] if identifier.startswith("arn:") else identifier
        model = next((one for one in self.models if name in _names(one)), None)
        if model is None:
            raise AwsError(
                "ResourceNotFoundException",
                f"Could not resolve the foundation model from the model identifier: {identifier}",
            )
        if model.end_of_life_at and model.end_of_life_at <= self.clock():
            raise AwsError(
                "ResourceNotFoundException",
                "This model version has reached the end of its life. Please refer to the AWS "
                "documentation for more details.",
            )
        if model.id in self.not_onboarded:
            raise access_denied("You don't have access to the model with the specified model ID.")
        return model

    def guardrail(self, identifier: str, version: str) -> Guardrail:
        """Raises: AwsError, ResourceNotFoundException."""
        name = identifier.rpartition("/")[2]
        for guardrail in self.guardrails:
            if guardrail.id == name and version in ("DRAFT", guardrail.version):
                return guardrail
        raise AwsError(
            "ResourceNotFoundException",
            "The guardrail identifier or version provided in the request does not exist.",
        )


def _names(model: Model) -> set[str]:
    return {model.id, *(f"{prefix}.{model.id}" for prefix in model.profiles)}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of an operation, as its handler gets it; `entry` is where it bills."""

    params: Mapping[str, Any]
    caller: Caller
    entry: Entry


# Names and values of the events of a stream.
Events = Generator[tuple[str, Mapping[str, Any]], None, None]
# What an operation gives back, by the members of its output shape; None is as if absent, an event
# stream is `Events`. What can fail before the first event fails before the stream is made.
Output = dict[str, Any]
Handler = Callable[[Call], Output]
