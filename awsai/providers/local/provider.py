from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from django.utils import timezone

from awsai import knowledge
from awsai.ports import Provider, ProviderName
from awsai.providers.local.analyst import LexicalAnalyst
from awsai.providers.local.assistant import RememberingAssistant
from awsai.providers.local.guard import DEFAULT, RuleGuard, Rules
from awsai.providers.local.reader import FormatReader
from awsai.providers.local.retriever import KnowledgeRetriever, Search
from awsai.providers.local.writer import EvidenceWriter


class LocalProvider:
    """All ports, served by what is given: the knowledge's search, the guard's rules, a clock."""

    name: ProviderName = "local"

    def __init__(
        self,
        *,
        search: Search = knowledge.search,
        rules: Rules = DEFAULT,
        clock: Callable[[], datetime] = timezone.now,
    ) -> None:
        self._search, self._clock = search, clock
        self._guard = RuleGuard(rules)

    def reasoner(self, region: str = "") -> EvidenceWriter:
        return EvidenceWriter()

    def assistant(self) -> RememberingAssistant:
        return RememberingAssistant(self._search, clock=self._clock)

    def retriever(self, service: str = "bedrock-knowledge-bases") -> KnowledgeRetriever:
        return KnowledgeRetriever(self._search, service=service)

    def guard(self) -> RuleGuard:
        return self._guard

    def text_analyst(self) -> LexicalAnalyst:
        return LexicalAnalyst()

    def document_reader(self) -> FormatReader:
        return FormatReader()


PROVIDER: Final[Provider] = LocalProvider()
