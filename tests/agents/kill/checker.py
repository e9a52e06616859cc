"""What must hold after any faults, read from the tables alone."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from typing import Any

from tests.agents.kill.servers import Instance

_ENDED = ("complete", "escalated", "failed", "awaiting_approval")


def violations(instance: Instance, accepted: set[str]) -> dict[str, int]:
    """How often each promise was broken; all zeros when all were kept.

    `accepted` are the names of alerts that were answered with 202.
    """
    return {
        "lost": _lost(instance, accepted),
        "duplicated": _duplicated(instance),
        "without_response": instance.query(
            "SELECT count(*) FROM incidents_incident i WHERE status <> 'merged' AND NOT EXISTS "
            "(SELECT 1 FROM agents_response r WHERE r.incident_id = i.number)"
        )[0][0],
        "stuck": instance.query(
            "SELECT count(*) FROM agents_response WHERE finished_at IS NULL OR state NOT IN "
            f"{_ENDED}"
        )[0][0],
        "phases_failed": instance.query(
            "SELECT count(*) FROM agents_phaserun WHERE state = 'failed'"
        )[0][0],
        "phases_committed_twice": _repeated_commits(instance),
        "phases_done_without_commit": _silent_commits(instance),
        "stale_commits": instance.query(
            "SELECT count(*) FROM agents_agentrun a JOIN agents_phaserun p "
            "ON p.id = a.phase_run_id WHERE a.state = 'completed' AND a.fence <> p.fence"
        )[0][0],
        "ballots_twice": instance.query(
            "SELECT count(*) FROM (SELECT 1 FROM agents_ballot GROUP BY response_id, round, voter "
            "HAVING count(*) > 1) AS t"
        )[0][0],
        "equivocations": instance.query("SELECT count(*) FROM agents_equivocation")[0][0],
        "messages_sent_twice": instance.query(
            "SELECT count(*) FROM (SELECT 1 FROM notifications_notification "
            "GROUP BY incident_number, audience, recipient HAVING count(*) > 1) AS t"
        )[0][0],
        "broken_chains": sum(
            not _holds(instance, verb) for verb in ("verify_audit", "verify_ledger")
        ),
    }


def _lost(instance: Instance, accepted: set[str]) -> int:
    attached = {
        _json(labels)["alertname"]
        for (labels,) in instance.query(
            "SELECT labels FROM incidents_alert WHERE incident_id IS NOT NULL"
        )
    }
    return len(accepted - attached)


def _duplicated(instance: Instance) -> int:
    rows = instance.query(
        "SELECT fingerprint, count(DISTINCT incident_id) FROM incidents_alert GROUP BY fingerprint"
    )
    return sum(incidents > 1 for _, incidents in rows)


def _commits(instance: Instance) -> Counter[tuple[Any, ...]]:
    rows = instance.query(
        "SELECT incident_id, detail FROM incidents_timelineentry WHERE kind = 'phase.done'"
    )
    return Counter(
        (number, _json(detail)["cycle"], _json(detail)["phase"]) for number, detail in rows
    )


def _repeated_commits(instance: Instance) -> int:
    return sum(count > 1 for count in _commits(instance).values())


def _silent_commits(instance: Instance) -> int:
    done = instance.query(
        "SELECT r.incident_id, r.cycle, p.phase FROM agents_phaserun p "
        "JOIN agents_response r ON r.id = p.response_id WHERE p.state = 'done'"
    )
    return len(set(done) ^ set(_commits(instance)))


def _holds(instance: Instance, verb: str) -> bool:
    try:
        instance.manage(verb)
    except subprocess.CalledProcessError:
        return False
    return True


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
