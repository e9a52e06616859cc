"""Words for what the agents found: asked of the gateway, held to the evidence by code.

A finding stands without them. What a provider writes is kept beside it under the provider's name:
every sentence cites evidence of the finding, or is dropped. Whatever it writes decides nothing:
candidates, scores and ballots are computed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agents.case import Case, EvidenceItem, Finding
from agents.specialists.wording import cleaned
from awsai import gateway
from awsai.ports import Answer, CallFailed, Passage, Question, Served

log = logging.getLogger(__name__)

MOST_PASSAGES = 30
MOST_TEXT = 1200
MOST_EXCERPTS = 3
MOST_ATTACHED = 6
SENTENCES: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "sentences": {
            "type": "array",
            "minItems": 1,
            "maxItems": 4,
            "items": {
                "type": "object",
                "properties": {
                    "text": {"type": "string", "minLength": 1, "maxLength": 400},
                    "evidence": {
                        "type": "array",
                        "items": {"type": "string"},
                        "minItems": 1,
                        "maxItems": 6,
                    },
                },
                "required": ["text", "evidence"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["sentences"],
    "additionalProperties": False,
}


@dataclass(frozen=True, kw_only=True)
class _Task:
    name: str
    instruction: str


_HYPOTHESES = _Task(
    name="hypotheses",
    instruction=(
        "You are the diagnosis agent of an incident response. From the passages, state the most "
        "likely causes of the incident, the likeliest first, one sentence each, in plain words. "
        "Each sentence cites in `evidence` the ids of the passages it rests on."
    ),
)
_SUMMARY = _Task(
    name="summary",
    instruction=(
        "You are the communication agent of an incident response. Tell people in a few plain, calm "
        "sentences what is happening, since when, why as far as it is known, and what they must "
        "do. Each sentence cites in `evidence` the ids of the passages it rests on."
    ),
)
_TASKS = {"diagnosis": _HYPOTHESES, "communication": _SUMMARY}


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A passage and the evidence of the finding that it stands for."""

    passage: Passage
    evidence: tuple[str, ...]


def is_writer(agent: str) -> bool:
    """Whether this agent has its findings put into words."""
    return agent in _TASKS


def worded(case: Case, finding: Finding, *, on_piece: Callable[[str], None]) -> Finding:
    """The finding with `data["words"]`: what was written, by whom, or why nothing was."""
    task = _TASKS.get(finding.agent)
    if task is None or not finding.claims:
        return finding
    asker = _asker(case, finding.agent)
    known = _known(case, asker) if finding.agent == "diagnosis" else ()
    evidence = (*finding.evidence, *known)
    sources = _sources(case, replace(finding, evidence=evidence), known)
    words = _written(task, sources, asker, on_piece)
    written = replace(finding, evidence=evidence, data={**finding.data, "words": words})
    if not words["sentences"] or finding.agent != "communication":
        return written
    return _opened(written, words, asker)


def _asker(case: Case, agent: str) -> gateway.Asker:
    return gateway.Asker(
        incident=case.incident.number,
        severity=case.incident.severity,
        agent=agent,
        run_ref=f"response:{case.response_id}:{agent}",
    )


# --- What may be cited -------------------------------------------------------------------------


def _known(case: Case, asker: gateway.Asker) -> tuple[EvidenceItem, ...]:
    """What runbooks and the lessons of other incidents say about trouble like this."""
    titles = dict.fromkeys([case.incident.title, *(alert.title for alert in case.alerts)])
    query = cleaned(" ".join([*titles, case.incident.service]), 600)
    try:
        found = gateway.retrieve(query, asker=asker, limit=MOST_EXCERPTS)
    except CallFailed as failed:
        log.warning("Nothing was retrieved for incident %s: %s", case.incident.number, failed)
        return ()
    own = f"/incidents/{case.incident.number}/"
    return tuple(
        EvidenceItem(
            family="history",
            kind="excerpt",
            title=cleaned(excerpt.title, 300),
            source=cleaned(f"{_finder(excerpt.served or found.served)}: {excerpt.uri}", 300),
            data={
                "rows": [
                    {"text": cleaned(excerpt.text, MOST_TEXT), "uri": cleaned(excerpt.uri, 300)}
                ]
            },
        )
        for excerpt in found.found
        if excerpt.uri != own
    )


def _finder(served: Served) -> str:
    return f"{served.provider} {'Q Business' if served.service == 'q-business' else 'knowledge'}"


def _sources(case: Case, finding: Finding, known: tuple[EvidenceItem, ...]) -> tuple[_Source, ...]:
    """The finding's claims that rest on evidence at hand, words of alerts and files, what was retrieved.

    Where they are too many, the last claims make room for the texts that people can check.
    """
    items = {item.id(case.response_id): item for item in finding.evidence}
    claims = [
        _Source(
            passage=Passage(id=f"c{place}", text=claim.text, source=finding.agent),
            evidence=claim.evidence,
        )
        for place, claim in enumerate(finding.claims, start=1)
        if claim.evidence and items.keys() >= set(claim.evidence)
    ]
    texts: list[_Source] = []
    alerts = next((id_ for id_, item in items.items() if item.kind == "alerts"), None)
    if alerts is not None:
        texts += [
            _Source(
                passage=Passage(
                    id=f"a{alert.id}",
                    text=cleaned(f"{alert.title}: {alert.description}", MOST_TEXT),
                    source="alert",
                ),
                evidence=(alerts,),
            )
            for alert in case.alerts[:5]
            if alert.description
        ]
    texts += _attached(items)
    texts += [
        _Source(
            passage=Passage(
                id=f"k{place}", text=str(item.data["rows"][0]["text"]), source=item.source
            ),
            evidence=(item.id(case.response_id),),
        )
        for place, item in enumerate(known, start=1)
    ]
    return (*claims[: MOST_PASSAGES - len(texts)], *texts)


def _attached(items: Mapping[str, EvidenceItem]) -> list[_Source]:
    """Passages of attachments: the closest of each before the second of any."""
    rows = sorted(
        (place, item.data["attachment"], id_, str(row["text"]))
        for id_, item in items.items()
        if item.kind == "attachment"
        for place, row in enumerate(item.data["rows"], start=1)
    )
    return [
        _Source(
            passage=Passage(id=f"d{attachment}.{place}", text=text, source="attachment"),
            evidence=(id_,),
        )
        for place, attachment, id_, text in rows[:MOST_ATTACHED]
    ]


# --- What is written ---------------------------------------------------------------------------


def _written(
    task: _Task,
    sources: tuple[_Source, ...],
    asker: gateway.Asker,
    on_piece: Callable[[str], None],
) -> dict[str, Any]:
    by_id = {source.passage.id: source.evidence for source in sources}
    question = Question(
        task=task.name,
        instruction=task.instruction,
        passages=tuple(source.passage for source in sources),
        schema=SENTENCES,
    )

    def is_grounded(answer: Answer) -> bool:
        return any(by_id.keys() >= set(row["evidence"]) for row in answer.data["sentences"])

    try:
        reply = gateway.ask(question, asker=asker, on_piece=on_piece, is_grounded=is_grounded)
    except CallFailed as failed:
        # The finding stands as it was computed; people see why nobody put it into words.
        log.warning("Incident %s: no %s was written: %s", asker.incident, task.name, failed)
        return {"kind": task.name, "sentences": [], "missing": str(failed), "notes": []}
    rows = reply.answer.data["sentences"]
    # Claims come in the order of their computed rank, and whoever writes does not change that.
    order = {id_: place for place, id_ in enumerate(by_id)}
    kept = sorted(
        (row for row in rows if by_id.keys() >= set(row["evidence"])),
        key=lambda row: min(order[id_] for id_ in row["evidence"]),
    )
    served = reply.answer.served
    return {
        "kind": task.name,
        "sentences": [
            {
                "text": cleaned(row["text"], 400),
                "evidence": sorted({id_ for cited in row["evidence"] for id_ in by_id[cited]}),
            }
            for row in kept
        ],
        "dropped": len(rows) - len(kept),
        "provider": served.provider,
        "model": served.model_invoked,
        "call": served.call,
        "decision": reply.decision,
        "notes": list(reply.notes),
    }


def _opened(finding: Finding, words: Mapping[str, Any], asker: gateway.Asker) -> Finding:
    """The updates with a model's words in front, under its name, and how those sound.

    The local provider only quotes what the updates say anyway: it goes in front of nothing.
    """
    text = " ".join(row["text"] for row in words["sentences"])
    data = {**finding.data, "tone": _tone(text, asker)}
    author = {"aws": f"{words['model']} on AWS", "emulator": "an emulated model"}
    if words["provider"] not in author:
        return replace(finding, data=data)
    opening = f"In short (written by {author[words['provider']]}): {text}"
    updates = [{**update, "body": f"{opening}\n\n{update['body']}"} for update in data["updates"]]
    return replace(
        finding, provider=words["provider"], data={**data, **updates[0], "updates": updates}
    )


def _tone(text: str, asker: gateway.Asker) -> dict[str, Any] | None:
    try:
        heard = gateway.sentiments([text], asker=asker)
    except CallFailed as failed:
        log.warning("The tone of an update could not be told: %s", failed)
        return None
    (sentiment,) = heard.results
    if sentiment is None:
        return None
    return {
        "label": sentiment.label,
        "scores": dict(sentiment.scores),
        "provider": heard.served.provider,
    }
