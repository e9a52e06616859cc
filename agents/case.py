"""What a specialist may know (`Case`) and what it may say (`Finding`).

Both are frozen values: a specialist is a function from one to the other, so any incident can be
replayed on another version of the code and the findings compared.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Independent ways of knowing; a ballot tells on which of them its scores rest. Evidence of the family
# "documents" (what people attached) is cited but is none: anybody can write anything there.
FAMILIES = ("alerts", "metrics", "logs", "topology", "changes", "history")

NO_ACTION = "NO_ACTION"


@dataclass(frozen=True, kw_only=True)
class AlertFact:
    id: int
    fingerprint: str
    title: str
    description: str
    status: str
    severity: str
    service: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime | None
    ends_at: datetime | None
    received_at: datetime
    count: int
    url: str


@dataclass(frozen=True, kw_only=True, eq=False)
class SeriesFact:
    """A measured series: `at` epoch seconds, ascending, and `values`, both (n,) float64.

    `alert_id` is set when the series is the one an alert was raised on; `threshold` and
    `comparison` (">", ">=", "<", "<=") are then the alert's own condition where it is known.
    `source` says where it was read: "samples" or "prometheus <url> <query>".
    """

    service: str
    metric: str
    labels: dict[str, str]
    unit: str
    at: NDArray[np.float64]
    values: NDArray[np.float64]
    source: str
    alert_id: int | None = None
    threshold: float | None = None
    comparison: str = ""


@dataclass(frozen=True, kw_only=True)
class LogFact:
    service: str
    at: datetime
    level: str
    message: str


@dataclass(frozen=True, kw_only=True)
class AttachmentFact:
    """A file of the incident whose text was read: `provider` read it, `text` is its bounded begin."""

    id: int
    name: str
    note: str
    text: str
    provider: str
    added_at: datetime


@dataclass(frozen=True, kw_only=True)
class ServiceFact:
    name: str
    kind: str
    owner: str
    depends_on: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ChangeFact:
    id: int
    service: str
    kind: str
    title: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class PastIncident:
    """A resolved incident whose text resembles this one; `similarity` is in [0, 1]."""

    number: int
    title: str
    service: str
    similarity: float
    resolved_at: datetime
    seconds_to_resolve: float


@dataclass(frozen=True, kw_only=True)
class ActionOutcome:
    """How an earlier execution of an action on a live service ended, verified on telemetry."""

    action: str
    service: str
    is_success: bool
    seconds_to_recover: float | None = None


@dataclass(frozen=True, kw_only=True)
class EvidenceItem:
    """Something observed. `id` is a digest of the content, so the same observation is one row."""

    family: str
    kind: str
    title: str
    source: str
    data: dict[str, Any]
    observed_from: datetime | None = None
    observed_to: datetime | None = None

    def id(self, response_id: int) -> str:
        content = json.dumps(_as_stored(asdict(self)), sort_keys=True)
        return hashlib.sha256(f"{response_id}:{content}".encode()).hexdigest()[:24]


def _as_stored(content: dict[str, Any]) -> Any:
    """JSON values that are the same before and after any database.

    PostgreSQL writes a float that JSON writes with an exponent as an integer, and has no -0.0.
    """
    return json.loads(
        json.dumps(content, default=str),
        parse_int=lambda digits: int(digits) if len(digits) <= 16 else float(digits),
        parse_float=lambda digits: float(digits) + 0.0,
    )


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement and the evidence ids it rests on. Code drops a claim that cites none."""

    text: str
    evidence: tuple[str, ...]
    confidence: float | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one agent says. `data` is the agent's own structured result (JSON values).

    `provider` produced the words: "local" for our own algorithms. `unknown` lists what could not
    be determined and why, in sentences for people.
    """

    agent: str
    summary: str
    claims: tuple[Claim, ...] = ()
    evidence: tuple[EvidenceItem, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    provider: str = "local"


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A remediation that may be voted on.

    `parameters` hold inventory names and bounded numbers, never free text from alerts or logs.
    `inverse` is the step that undoes it, None when there is none. `success` is the verified past of
    this action on this service.
    """

    action: str
    target: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    rationale: str = ""
    risk: str = "low"
    inverse: dict[str, Any] | None = None
    preconditions: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    success: dict[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return hashlib.sha256(
            json.dumps(asdict(self), sort_keys=True, default=str).encode()
        ).hexdigest()


@dataclass(frozen=True, kw_only=True)
class DecisionFact:
    """What the ballots decided: `proposal` is None when they decided nothing."""

    outcome: str
    proposal: Proposal | None
    reason: str
    endorsers: tuple[str, ...] = ()
    ballots: int = 0


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """One agent's scores of the frozen candidates: digest -> [0, 1], from its own evidence.

    `families` are the evidence families the scores rest on.
    """

    scores: dict[str, float]
    reason: str
    families: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class IncidentFact:
    number: int
    title: str
    status: str
    severity: str
    service: str
    origin: str
    impact_start: datetime | None
    detected_at: datetime
    received_at: datetime
    resolved_at: datetime | None
    alert_count: int


@dataclass(frozen=True, kw_only=True)
class Case:
    """All an agent may see, read once. `at` is the instant the case was read.

    `findings` are those of earlier phases of the same response, by agent. `missing` says, in
    sentences for people, which telemetry and texts could not be had and why. `state` is the response's;
    `candidates` and `decision` are there once they are frozen and made; `outcomes` are of actions
    on the services in sight.
    """

    response_id: int
    at: datetime
    incident: IncidentFact
    alerts: tuple[AlertFact, ...] = ()
    series: tuple[SeriesFact, ...] = ()
    logs: tuple[LogFact, ...] = ()
    attachments: tuple[AttachmentFact, ...] = ()
    services: tuple[ServiceFact, ...] = ()
    changes: tuple[ChangeFact, ...] = ()
    past: tuple[PastIncident, ...] = ()
    findings: dict[str, Finding] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    outcomes: tuple[ActionOutcome, ...] = ()
    candidates: tuple[Proposal, ...] = ()
    decision: DecisionFact | None = None
    state: str = "running"
