"""Wake a worker. The message carries nothing: the database says what is due."""

from __future__ import annotations

import logging
from threading import Lock
from typing import Any

from django.db import transaction
from kombu.exceptions import OperationalError

from incidentops.celery import app

log = logging.getLogger(__name__)

REAP_WITHIN_SECONDS = 5

_state = Lock()
_is_down = False


def wake(count: int = 1) -> None:
    """Send wake-ups at once. A broker that is down costs a line in the log: the reaper repeats."""
    for _ in range(count):
        if not _send("agents.tasks.advance"):
            return


def wake_reaper() -> None:
    """Ask for a look at lost phases; worthless when nobody takes it soon."""
    _send("agents.tasks.reap", expires=REAP_WITHIN_SECONDS)


def _send(task: str, **options: Any) -> bool:
    try:
        app.send_task(task, retry=False, ignore_result=True, **options)
    except (OperationalError, OSError) as error:
        _note(down=True, why=str(error))
        return False
    _note(down=False)
    return True


def wake_on_commit(count: int = 1) -> None:
    transaction.on_commit(lambda: wake(count))


def _note(*, down: bool, why: str = "") -> None:
    """Log the change, not every failed message of an outage."""
    global _is_down  # one flag for the process; the lock keeps the log line single
    with _state:
        changed, _is_down = down != _is_down, down
    if changed and down:
        log.warning("The broker cannot be reached, the reaper will repeat wake-ups: %s", why)
    elif changed:
        log.info("The broker can be reached again.")
