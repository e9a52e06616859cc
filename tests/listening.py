"""A provider whose questions can be looked at, behind the emulator or instead of it."""

from __future__ import annotations

from collections.abc import Sequence

from awsai import knowledge
from awsai.ports import Answer, Excerpt, Passage, Question, Sentiments
from awsai.providers.local import LocalProvider
from awsai.providers.local.analyst import LexicalAnalyst
from awsai.providers.local.assistant import RememberingAssistant
from awsai.providers.local.writer import EvidenceWriter


class Listener(LocalProvider):
    """The local provider, which also remembers what it was asked.

    `asked` has the questions to its reasoner, `heard` every other text that reached it. A `library`
    is what it finds, instead of what this installation has learnt.
    """

    def __init__(self) -> None:
        super().__init__(search=self._searched)
        self.asked: list[Question] = []
        self.heard: list[str] = []
        self.library: Sequence[Excerpt] = ()

    def reasoner(self, region: str = "") -> EvidenceWriter:
        asked = self.asked

        class Writer(EvidenceWriter):
            def answer(self, question: Question, *, model: str) -> Answer:
                asked.append(question)
                return super().answer(question, model=model)

        return Writer()

    def assistant(self) -> RememberingAssistant:
        heard = self.heard

        class Assistant(RememberingAssistant):
            def say(
                self,
                text: str,
                *,
                session_id: str,
                memory_id: str,
                facts: Sequence[Passage] = (),
                ends_session: bool = False,
            ) -> Answer:
                heard.extend([text, *(fact.text for fact in facts)])
                return super().say(
                    text,
                    session_id=session_id,
                    memory_id=memory_id,
                    facts=facts,
                    ends_session=ends_session,
                )

        return Assistant(self._search, clock=self._clock)

    def text_analyst(self) -> LexicalAnalyst:
        heard = self.heard

        class Analyst(LexicalAnalyst):
            def sentiments(self, texts: Sequence[str]) -> Sentiments:
                heard.extend(texts)
                return super().sentiments(texts)

        return Analyst()

    def _searched(self, query: str, limit: int) -> Sequence[Excerpt]:
        self.heard.append(query)
        return self.library or knowledge.search(query, limit)
