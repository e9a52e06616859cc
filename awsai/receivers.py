from __future__ import annotations

import logging

from kombu.exceptions import OperationalError

from awsai import tasks, telemetry
from awsai.events import AwsCallRecorded
from incidentops.incidents import attachments
from incidentops.incidents.events import IncidentUpdated
from incidentops.realtime.events import receives

log = logging.getLogger(__name__)


@receives(AwsCallRecorded)
def log_call(event: AwsCallRecorded) -> None:
    telemetry.log_call(event.call)


@receives(IncidentUpdated)
def read_attachment_soon(event: IncidentUpdated) -> None:
    if event.change != attachments.ADDED:
        return
    attachment = event.entry["detail"]["attachment"]
    try:
        tasks.read_attachment.apply_async(args=(attachment,), retry=False)
    except OperationalError as error:
        # The sweep finds it in the database.
        log.warning("Attachment %s waits for the sweep: %s", attachment, error)
