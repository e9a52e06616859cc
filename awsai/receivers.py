from __future__ import annotations

from awsai import telemetry
from awsai.events import AwsCallRecorded
from incidentops.realtime.events import receives


@receives(AwsCallRecorded)
def log_call(event: AwsCallRecorded) -> None:
    telemetry.log_call(event.call)
