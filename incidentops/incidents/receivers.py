from __future__ import annotations

import logging

from kombu.exceptions import OperationalError

from incidentops.incidents import tasks
from incidentops.incidents.events import AlertsReceived
from incidentops.realtime import background
from incidentops.realtime.events import receives

logger = logging.getLogger(__name__)

# One run of the correlation takes all that came by then, so a storm needs no message for each.
REST_SECONDS = 0.05


@receives(AlertsReceived)
def correlate_soon(event: AlertsReceived) -> None:
    del event
    _waker.wake()


def _send() -> None:
    try:
        tasks.correlate.apply_async(retry=False)
    except OperationalError as error:
        # The sweep does within seconds what this message would have done at once.
        logger.warning("What was delivered waits for the correlation sweep: %s", error)


_waker = background.Worker("correlation", _send, rest=REST_SECONDS)
