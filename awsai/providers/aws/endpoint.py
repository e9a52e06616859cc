"""One AWS service as an adapter calls it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from awsai.ports import ProviderName
from awsai.providers.aws import errors, session


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """`service` is the name in boto3, `product` the one by which failures call it."""

    service: str
    product: str
    provider: ProviderName
    region: str = ""
    plane: session.Plane = "invoke"

    def call(self, operation: str, /, **parameters: Any) -> dict[str, Any]:
        """Call an operation by the name of its method.

        Raises:
            CallFailed: it gave no answer, or the request could not even be built.
        """
        with errors.translated(self.product):
            client = session.client(
                self.service, plane=self.plane, region=self.region or None, provider=self.provider
            )
            answer: dict[str, Any] = getattr(client, operation)(**parameters)
        return answer
