"""What happens in a response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from incidentops.realtime.events import Event, register


@dataclass(frozen=True, kw_only=True)
class _ResponseEvent(Event):
    """`version` is the response's; `incident` is the incident's number."""

    incident: int
    origin: str
    cycle: int


@register
@dataclass(frozen=True, kw_only=True)
class PhaseChanged(_ResponseEvent):
    """`phase` and `state` are the phase that changed; the rest is the response as it now stands."""

    type: ClassVar[str] = "phase.changed"
    phase: str
    state: str
    attempts: int
    started_at: str | None
    finished_at: str | None
    response_state: str
    current_phase: str


@register
@dataclass(frozen=True, kw_only=True)
class AgentStateChanged(_ResponseEvent):
    """`run` is the agent run; `version` counts the states of that run."""

    type: ClassVar[str] = "agent.state"
    run: int
    agent: str
    phase: str
    state: str
    provider: str
    at: str
    error: str = ""


@register
@dataclass(frozen=True, kw_only=True)
class WordsWritten(_ResponseEvent):
    """`text` is all that was written so far in this run; `version` counts the messages of it."""

    type: ClassVar[str] = "agent.words"
    run: int
    agent: str
    phase: str
    text: str


@register
@dataclass(frozen=True, kw_only=True)
class EvidenceAdded(_ResponseEvent):
    """`evidence` are rows as the API shows them, without their plotted points."""

    type: ClassVar[str] = "evidence.added"
    agent: str
    phase: str
    evidence: list[dict[str, Any]]
    finding: dict[str, Any]


@register
@dataclass(frozen=True, kw_only=True)
class BallotCast(_ResponseEvent):
    type: ClassVar[str] = "ballot.cast"
    ballot: dict[str, Any]


@register
@dataclass(frozen=True, kw_only=True)
class DecisionMade(_ResponseEvent):
    type: ClassVar[str] = "decision.made"
    decision: dict[str, Any]


@register
@dataclass(frozen=True, kw_only=True)
class CommunicationSent(_ResponseEvent):
    type: ClassVar[str] = "communication.sent"
    audience: str
    transport: str
    recipient: str
    subject: str
    state: str


@register
@dataclass(frozen=True, kw_only=True)
class ApprovalDecided(_ResponseEvent):
    """A person spoke on a plan; `state` is what the approval became by it."""

    type: ClassVar[str] = "approval.decided"
    approval: int
    state: str
    person: str
