from __future__ import annotations

import logging

from kombu.exceptions import OperationalError

from incidentops.incidents import tasks
from incidentops.incidents.events import AlertsReceived
from incidentops.realtime.events import receives

logger = logging.getLogger(__name__)


@receives(AlertsReceived)
def correlate_soon(event: AlertsReceived) -> None:
    try:
        tasks.correlate.apply_async(retry=False)
    except OperationalError as error:
        # The sweep does within seconds what this message would have done at once.
        logger.warning("delivery %s waits for the correlation sweep: %s", event.delivery, error)
