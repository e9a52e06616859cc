"""One module a service: from parameters to a question for the provider, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from awsai.emulator.account import Account, Handler
from awsai.emulator.handlers import (
    bedrock,
    bedrock_agent_runtime,
    bedrock_runtime,
    comprehend,
    pricing,
    qbusiness,
    sts,
    textract,
)

# By the names boto3 has for the services; each makes the handlers of one account.
HANDLERS: Mapping[str, Callable[[Account], Mapping[str, Handler]]] = {
    "bedrock": bedrock.handlers,
    "bedrock-agent-runtime": bedrock_agent_runtime.handlers,
    "bedrock-runtime": bedrock_runtime.handlers,
    "comprehend": comprehend.handlers,
    "pricing": pricing.handlers,
    "qbusiness": qbusiness.handlers,
    "sts": sts.handlers,
    "textract": textract.handlers,
}
