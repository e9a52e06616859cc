"""What `/transparency` shows of the ledger and of the services."""

from __future__ import annotations

from typing import Any

from awsai import health
from awsai.events import AwsCallRecorded, ServiceHealthChanged
from awsai.ledger import call_record
from awsai.models import AwsCall
from incidentops.realtime.topics import Part, contribute

_SHOWN = 50


def _newest(topic: str) -> list[dict[str, Any]]:
    del topic
    return [call_record(call) for call in AwsCall.objects.order_by("-sequence")[:_SHOWN]]


contribute(Part(topic="transparency", key="calls", snapshot=_newest, events=(AwsCallRecorded,)))
contribute(
    Part(
        topic="transparency",
        key="services",
        snapshot=lambda _: health.facts(),
        events=(ServiceHealthChanged,),
    )
)
