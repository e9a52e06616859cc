"""A conversation partner that answers with what it was told and what it can look up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import re2

from awsai.knowledge import storable
from awsai.ports import Answer, CallFailed, Passage, Question, Recollection, Served, Trouble
from awsai.providers.local import memory, writer
from awsai.providers.local.labels import label
from awsai.providers.local.memory import Turn
from awsai.providers.local.retriever import Search
from awsai.providers.local.sentences import split
from awsai.providers.local.words import listed

SERVICE = "bedrock-agents"
RECALLED = 10
LOOKED_UP = 5
LONGEST_SUMMARY_TOKENS = 400

# As Bedrock has it for session and memory ids.
_ID = re2.compile(r"[0-9a-zA-Z._:-]{2,100}")
_WORD = re2.compile(r"[\pL\pN_.:/-]+")
# Words of questions, by which nothing is found.
_ASKING = listed(
    """
    about again are been can could did do does had happen happened have how i is know knows me my
    our please said say tell there they us was we were what when where which who why would you your
    """
)


class RememberingAssistant:
    def __init__(self, search: Search, *, clock: Callable[[], datetime]) -> None:
        self._search, self._clock = search, clock

    def say(
        self,
        text: str,
        *,
        session_id: str,
        memory_id: str,
        facts: Sequence[Passage] = (),
        ends_session: bool = False,
    ) -> Answer:
        """Sentences about what was said, of the facts, this session, earlier ones and the knowledge.

        The words may be empty where they only end the session.
        """
        _check(memory_id=memory_id, session_id=session_id)
        text = storable(text)
        if not text.strip() and not ends_session:
            raise CallFailed(Trouble.REFUSED, "There is nothing to answer.", code="EmptyInput")
        before = memory.turns(memory_id=memory_id, session_id=session_id)
        question = self._question(text, facts, before, memory_id=memory_id, session_id=session_id)
        draft = writer.write(question, only_about=question.instruction)
        answer = draft.text if text.strip() else ""
        said = [Turn(by="person", text=text), Turn(by="assistant", text=answer)] if answer else []
        memory.remember(
            said,
            memory_id=memory_id,
            session_id=session_id,
            at=self._clock(),
            summary=_summary([*before, *said]) if ends_session else "",
        )
        return Answer(
            text=answer,
            stop_reason=draft.stop_reason,
            served=writer.served(question, draft, service=SERVICE, operation="say", model=""),
        )

    def recall(self, *, memory_id: str, limit: int = 10) -> Recollection:
        _check(memory_id=memory_id)
        found = memory.summaries(memory_id=memory_id, limit=limit)
        return Recollection(memories=found, served=label(SERVICE, "recall"))

    def forget(self, *, memory_id: str, session_id: str = "") -> Served:
        _check(memory_id=memory_id, **({"session_id": session_id} if session_id else {}))
        memory.forget(memory_id=memory_id, session_id=session_id)
        return label(SERVICE, "forget")

    def _question(
        self,
        text: str,
        facts: Sequence[Passage],
        before: Sequence[Turn],
        *,
        memory_id: str,
        session_id: str,
    ) -> Question:
        asked = _content(text)
        recalled = memory.summaries(memory_id=memory_id, limit=RECALLED)
        passages = [
            *facts,
            *_told(before),
            *(
                Passage(id=f"memory-{one.session_id}", text=one.summary)
                for one in recalled
                if one.session_id != session_id
            ),
            *(
                Passage(id=one.id, text=one.text, source=one.uri)
                for one in (self._search(asked, LOOKED_UP) if asked else ())
            ),
        ]
        return Question(task="chat", instruction=asked, passages=tuple(passages))


def _told(turns: Sequence[Turn]) -> list[Passage]:
    """What the person told. The assistant's own words are quotations, and questions tell nothing."""
    told = [
        (number, "\n".join(one for one in split(turn["text"]) if not one.endswith("?")))
        for number, turn in enumerate(turns, start=1)
        if turn["by"] == "person"
    ]
    return [Passage(id=f"turn-{number}", text=text) for number, text in told if text]


def _summary(turns: Sequence[Turn]) -> str:
    told = tuple(_told(turns))
    if not told:
        return ""
    question = Question(
        task="summary",
        instruction="",
        passages=told,
        max_tokens=LONGEST_SUMMARY_TOKENS,
    )
    return writer.write(question).text


def _content(text: str) -> str:
    return " ".join(word for word in _WORD.findall(text) if word.lower() not in _ASKING)


def _check(**ids: str) -> None:
    for name, value in ids.items():
        if not _ID.fullmatch(value):
            raise CallFailed(
                Trouble.REFUSED,
                f"{name} must be 2 to 100 letters, digits or the signs . _ : -",
                code="InvalidId",
            )
