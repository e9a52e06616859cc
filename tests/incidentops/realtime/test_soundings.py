from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from incidentops.realtime import gauges, outbox, soundings
from incidentops.realtime.models import OutboxEvent
from tests.incidentops.realtime.weather import measure


def test_a_message_goes_through_the_channel_layer_and_back():
    assert 0 < soundings.round_trip_ms() < 2000


@pytest.mark.django_db
def test_the_age_of_an_unrelayed_event_is_told_until_it_is_relayed():
    assert soundings.oldest_unrelayed() == timedelta()
    measure("oslo", 1)
    OutboxEvent.objects.update(at=now() - timedelta(seconds=30))
    assert soundings.oldest_unrelayed() >= timedelta(seconds=30)
    outbox.relay()
    assert soundings.oldest_unrelayed() == timedelta()
    assert soundings.overdue_events() == 0


async def test_sockets_are_summed_over_the_processes_that_reported():
    await gauges.report(sockets=3, fan_outs=[0.001] * 99 + [0.5])
    told = soundings.open_sockets()
    assert told["open"] == 3
    assert told["fan_out_p95_ms"] == 1.0


@pytest.mark.parametrize(
    ("values", "expected"), [([], None), ([4.0], 4.0), (list(range(1, 101)), 95)]
)
def test_the_95th_percentile_is_exceeded_by_one_in_twenty(values, expected):
    assert gauges.p95(values) == expected
