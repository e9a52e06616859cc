"""The AI services of AWS through boto3: for real, or against the emulator over the same wire."""

from __future__ import annotations

from awsai.catalogue import can
from awsai.ports import (
    Assistant,
    CallFailed,
    DocumentReader,
    Guard,
    ProviderName,
    Reasoner,
    Retriever,
    TextAnalyst,
    Trouble,
)
from awsai.providers.aws.analyst import ComprehendAnalyst
from awsai.providers.aws.assistant import AgentAssistant
from awsai.providers.aws.guard import GuardrailsGuard
from awsai.providers.aws.q_business import QBusiness
from awsai.providers.aws.reader import TextractReader
from awsai.providers.aws.reasoner import Can, ConverseReasoner
from awsai.providers.aws.retriever import KnowledgeBases


class AwsProvider:
    """`can` tells what a model can do, by the catalogue."""

    def __init__(self, name: ProviderName, *, can: Can) -> None:
        self.name, self._can = name, can

    def reasoner(self, region: str = "") -> Reasoner:
        return ConverseReasoner(provider=self.name, can=self._can, region=region)

    def assistant(self) -> Assistant:
        return AgentAssistant(provider=self.name)

    def retriever(self, service: str = "bedrock-knowledge-bases") -> Retriever:
        """Of Q Business each is one conversation: ask for another to begin anew."""
        if service == "bedrock-knowledge-bases":
            return KnowledgeBases(provider=self.name)
        if service == "q-business":
            return QBusiness(provider=self.name)
        raise CallFailed(Trouble.REFUSED, f"{service} retrieves nothing.", service=service)

    def guard(self) -> Guard:
        return GuardrailsGuard(provider=self.name)

    def text_analyst(self) -> TextAnalyst:
        return ComprehendAnalyst(provider=self.name)

    def document_reader(self) -> DocumentReader:
        return TextractReader(provider=self.name)


AWS = AwsProvider("aws", can=can)
EMULATOR = AwsProvider("emulator", can=can)
