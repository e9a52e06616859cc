"""Wake a worker. The message carries nothing: the database says what is due."""

from __future__ import annotations

import logging
from threading import Lock

from django.db import transaction
from kombu.exceptions import OperationalError

from incidentops.celery import app

log = logging.getLogger(__name__)

_state = Lock()
_is_down = False


def wake(count: int = 1) -> None:
    """Send wake-ups at once. A broker that is down costs a line in the log: the reaper repeats."""
    for _ in range(count):
        try:
            app.send_task("agents.tasks.advance", retry=False, ignore_result=True)
        except (OperationalError, OSError) as error:
            _note(down=True, why=str(error))
            return
    if count:
        _note(down=False)


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
