"""A provider whose questions can be looked at, behind the emulator or instead of it."""

from __future__ import annotations

from awsai.ports import Answer, Question
from awsai.providers.local import LocalProvider
from awsai.providers.local.writer import EvidenceWriter


class Listener(LocalProvider):
    """The local provider, which also remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Question] = []

    def reasoner(self, region: str = "") -> EvidenceWriter:
        asked = self.asked

        class Writer(EvidenceWriter):
            def answer(self, question: Question, *, model: str) -> Answer:
                asked.append(question)
                return super().answer(question, model=model)

        return Writer()
