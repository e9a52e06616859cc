"""Which of the account's resources the adapters use."""

from __future__ import annotations

from django.conf import settings

from awsai.ports import CallFailed, ProviderName, Trouble

# Nobody makes resources in the emulator: these it serves, or any other well-formed name.
_EMULATED = {
    "AWS_GUARDRAIL_ID": "incidentops",
    "AWS_KNOWLEDGE_BASE_ID": "EMULATED00",
    "AWS_KNOWLEDGE_MODEL_ARN": "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
    "AWS_RERANK_MODEL_ARN": "arn:aws:bedrock:us-east-1::foundation-model/amazon.rerank-v1:0",
    "AWS_AGENT_ID": "EMULATED00",
    "AWS_AGENT_ALIAS_ID": "EMULATED00",
    "AWS_Q_APPLICATION_ID": "e0000000-0000-4000-8000-000000000000",
    "AWS_Q_RETRIEVER_ID": "e0000000-0000-4000-8000-000000000000",
}


def required(name: str, *, provider: ProviderName) -> str:
    """The value of a setting without which a service cannot be called.

    Raises:
        CallFailed: DENIED, it is not configured.
    """
    if value := str(getattr(settings, name)):
        return value
    if provider == "emulator" and name in _EMULATED:
        return _EMULATED[name]
    raise CallFailed(Trouble.DENIED, f"not configured: IOP_{name}", code="NotConfigured")
