"""What becomes of the swarm's response when its incident is merged, taken back and reopened."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from agents.models import Response, ResponseState
from incidentops.incidents import lifecycle
from incidentops.incidents.models import Incident
from incidentops.realtime import outbox
from incidentops.realtime.models import OutboxEvent

pytestmark = pytest.mark.django_db


def an_open_incident(title: str) -> Incident:
    incident = lifecycle.open_incident(title=title, severity="high", by="ada")
    outbox.relay()
    return incident


def cycles(incident: Incident) -> list[tuple[int, str]]:
    rows = Response.objects.filter(incident=incident).order_by("cycle")
    return list(rows.values_list("cycle", "state"))


def test_an_incident_that_is_taken_back_from_another_is_responded_to_again(fakes):
    whole, part = an_open_incident("Database slow"), an_open_incident("Checkout slow")
    lifecycle.merge(part, into=whole, by="ada")
    outbox.relay()
    assert cycles(part) == [(1, ResponseState.COMPLETE)]

    lifecycle.reopen(part, by="ada")
    outbox.relay()
    outbox.relay()

    assert cycles(part) == [(1, ResponseState.COMPLETE), (2, ResponseState.RUNNING)]
    assert cycles(whole) == [(1, ResponseState.RUNNING)]


def test_a_merger_told_again_after_it_was_undone_leaves_the_new_response_at_work(fakes):
    whole, part = an_open_incident("Database slow"), an_open_incident("Checkout slow")
    lifecycle.merge(part, into=whole, by="ada")
    outbox.relay()
    lifecycle.reopen(part, by="ada")
    outbox.relay()

    # The process died between the receivers of the merger and the note that they were called.
    merger = OutboxEvent.objects.filter(type="incident.updated", data__change="incident.merged")
    assert merger.update(handled_at=None, due_at=now() - timedelta(seconds=1)) == 2
    assert outbox.redeliver() == 2

    assert cycles(part) == [(1, ResponseState.COMPLETE), (2, ResponseState.RUNNING)]
    assert cycles(whole) == [(1, ResponseState.RUNNING)]

    lifecycle.merge(part, into=whole, by="ada")
    outbox.relay()
    assert cycles(part) == [(1, ResponseState.COMPLETE), (2, ResponseState.COMPLETE)]


def test_each_reopening_is_answered_once(fakes):
    incident = an_open_incident("Checkout slow")
    for _ in range(2):
        lifecycle.resolve(incident, by="ada")
        lifecycle.reopen(incident, by="ada")
        outbox.relay()

    assert [cycle for cycle, _ in cycles(incident)] == [1, 2, 3]


def test_a_mitigation_that_did_not_last_leaves_the_response_at_work(fakes):
    incident = an_open_incident("Checkout slow")
    lifecycle.mitigate(incident, by="ada")
    lifecycle.reopen(incident, by="ada")
    outbox.relay()

    assert cycles(incident) == [(1, ResponseState.RUNNING)]
