from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils.timezone import now
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase

from incidentops.access.models import AuditEntry
from incidentops.incidents import lifecycle
from incidentops.incidents.lifecycle import InvalidTransition
from incidentops.incidents.models import (
    TRANSITIONS,
    Alert,
    Incident,
    Severity,
    Status,
    TimelineEntry,
)
from incidentops.realtime.models import OutboxEvent
from tests.factories import make_alert, make_incident, make_source, make_user
from tests.narrowing import known

pytestmark = pytest.mark.django_db

MOVES = {
    Status.ACKNOWLEDGED: lambda incident: lifecycle.acknowledge(incident, by="ada"),
    Status.MITIGATED: lambda incident: lifecycle.mitigate(incident, by="ada"),
    Status.RESOLVED: lambda incident: lifecycle.resolve(incident, by="ada"),
    Status.CLOSED: lambda incident: lifecycle.close(incident, by="ada"),
    Status.MERGED: lambda incident: lifecycle.merge(incident, into=make_incident(), by="ada"),
    Status.TRIGGERED: lambda incident: lifecycle.reopen(incident, by="ada"),
}


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_the_database_lets_exactly_the_lawful_transitions_happen(before, after):
    incident = make_incident(before)
    update = Incident.objects.filter(pk=incident.pk)
    if after == before or after in TRANSITIONS[before]:
        assert update.update(status=after) == 1
    else:
        with pytest.raises(IntegrityError, match="unlawful"), transaction.atomic():
            update.update(status=after)
        assert update.get().status == before


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", MOVES)
def test_an_unlawful_change_is_refused_and_changes_nothing(before, after):
    into = make_incident() if before == Status.MERGED else None
    incident = make_incident(before, merged_into=into)
    if after in TRANSITIONS[before]:
        assert MOVES[after](incident).status == after
        return
    with pytest.raises(InvalidTransition, match=f"Incident {incident.number} is {before.value}"):
        MOVES[after](incident)
    assert Incident.objects.get(pk=incident.pk).version == 1
    assert not TimelineEntry.objects.filter(incident=incident).exists()
    assert not AuditEntry.objects.exists()
    assert not OutboxEvent.objects.exists()


def test_the_timeline_is_only_ever_added_to():
    incident = lifecycle.open_incident(title="Down", severity="high", by="ada")
    entry = incident.timeline.get()
    with pytest.raises(IntegrityError, match="only ever added to"), transaction.atomic():
        TimelineEntry.objects.filter(pk=entry.pk).update(text="Nothing happened.")
    with pytest.raises(IntegrityError, match="only ever added to"), transaction.atomic():
        TimelineEntry.objects.filter(pk=entry.pk).delete()
    assert incident.timeline.get().text == "Opened by ada."


def test_a_change_is_told_audited_and_published_with_the_new_version():
    user = make_user()
    incident = lifecycle.acknowledge(make_incident(), by=user)
    assert incident.version == 2
    assert incident.assignee == user
    assert [entry.kind for entry in incident.timeline.all()] == ["incident.acknowledged"]
    audited = AuditEntry.objects.get()
    assert (audited.actor, audited.target) == (str(user), f"incident:{incident.number}")
    event = OutboxEvent.objects.get()
    assert (event.type, event.version) == ("incident.updated", 2)
    assert event.data["change"] == "incident.acknowledged"
    assert event.data["incident"]["status"] == "acknowledged"
    assert event.data["incident"]["assignee"] == user.username


def test_recovery_is_a_fact_and_stays_off_the_audit_chain():
    incident = lifecycle.resolve(make_incident(), by=lifecycle.RECOVERY)
    assert incident.timeline.get().actor == "recovery"
    assert not AuditEntry.objects.exists()


def test_the_first_acknowledgement_and_the_last_resolution_are_kept():
    incident = make_incident()
    start = now()
    at = [start + timedelta(minutes=minute) for minute in range(6)]
    lifecycle.acknowledge(incident, by="ada", at=at[0])
    lifecycle.resolve(incident, by="ada", at=at[1])
    reopened = lifecycle.reopen(incident, by="bob")
    assert reopened.resolved_at is None
    assert reopened.reopen_count == 1
    lifecycle.acknowledge(incident, by="bob", at=at[2])
    resolved = lifecycle.resolve(incident, by="bob", at=at[3])
    assert (resolved.acknowledged_at, resolved.resolved_at) == (at[0], at[3])
    closed = lifecycle.close(incident, by="bob", at=at[4])
    assert closed.closed_at == at[4]
    assert lifecycle.reopen(incident, by="bob").closed_at is None


def test_resolving_makes_its_alerts_history_and_reopening_revives_those_that_fire():
    source, incident = make_source(), make_incident()
    firing = make_alert(source, incident=incident)
    over = make_alert(source, incident=incident, status="resolved")
    lifecycle.resolve(incident, by="ada")
    assert not Alert.objects.filter(is_current=True).exists()
    lifecycle.reopen(incident, by="ada")
    firing.refresh_from_db()
    over.refresh_from_db()
    assert (firing.is_current, over.is_current) == (True, False)


def test_reopening_leaves_alone_an_alert_that_fires_anew():
    source, incident = make_source(), make_incident()
    alert = make_alert(source, incident=incident)
    lifecycle.resolve(incident, by="ada")
    anew = make_alert(source, fingerprint=alert.fingerprint)
    lifecycle.reopen(incident, by="ada")
    assert list(Alert.objects.filter(is_current=True)) == [anew]


def test_an_incident_cannot_reopen_beside_an_open_one_of_the_same_cause():
    old = make_incident("resolved", dedup_key="disk")
    new = make_incident(dedup_key="disk")
    with pytest.raises(InvalidTransition, match=f"Incident {new.number} is open for the same"):
        lifecycle.reopen(old, by="ada")
    old.refresh_from_db()
    assert old.status == "resolved"


def test_a_merged_incident_gives_its_alerts_and_reopening_takes_them_back():
    source, one, two = make_source(), make_incident(severity="low"), make_incident("acknowledged")
    reason = {"kind": "opened"}
    first = make_alert(source, incident=one, merge_reason=reason)
    make_alert(source, incident=two)
    merged = lifecycle.merge(one, into=two, by="ada")
    two.refresh_from_db()
    first.refresh_from_db()
    assert (merged.status, merged.merged_into) == ("merged", two)
    assert (merged.alert_count, two.alert_count) == (0, 2)
    assert first.incident == two
    assert first.merge_reason["kind"] == "merged"
    assert AuditEntry.objects.count() == 1

    reopened = lifecycle.reopen(one, by="ada")
    two.refresh_from_db()
    first.refresh_from_db()
    assert (reopened.status, reopened.merged_into) == ("triggered", None)
    assert (reopened.alert_count, two.alert_count) == (1, 1)
    assert (first.incident, first.merge_reason) == (one, reason)


def test_merges_are_undone_from_the_last_to_the_first():
    source, one, two, three = make_source(), make_incident(), make_incident(), make_incident()
    alert = make_alert(source, incident=one)
    lifecycle.merge(one, into=two, by="ada")
    lifecycle.merge(two, into=three, by="ada")
    with pytest.raises(InvalidTransition, match=f"reopen incident {two.number} first"):
        lifecycle.reopen(one, by="ada")
    one.refresh_from_db()
    assert one.status == "merged"

    lifecycle.reopen(two, by="ada")
    assert lifecycle.reopen(one, by="ada").alert_count == 1
    alert.refresh_from_db()
    assert alert.incident == one


def test_merging_raises_severity_unless_a_person_fixed_it():
    one, two, three = make_incident(severity="critical"), make_incident(severity="low"), None
    lifecycle.merge(one, into=two, by="ada")
    two.refresh_from_db()
    assert two.severity == "critical"
    lifecycle.change_severity(two, severity="low", by="ada")
    three = make_incident(severity="critical")
    lifecycle.merge(three, into=two, by="ada")
    two.refresh_from_db()
    assert two.severity == "low"


def test_an_incident_is_not_merged_into_itself_nor_into_one_that_is_over():
    incident = make_incident()
    with pytest.raises(InvalidTransition):
        lifecycle.merge(incident, into=incident, by="ada")
    with pytest.raises(InvalidTransition):
        lifecycle.merge(incident, into=make_incident("resolved"), by="ada")
    incident.refresh_from_db()
    assert incident.status == "triggered"


def test_a_split_moves_the_chosen_alerts_to_a_new_incident():
    source, incident = make_source(), make_incident(alert_count=3)
    stay, *go = (make_alert(source, incident=incident, name=f"Alert{n}") for n in range(3))
    go[0].severity = "critical"
    go[0].save()
    new = lifecycle.split(incident, alert_ids=[alert.pk for alert in go], by="ada")
    incident.refresh_from_db()
    assert (incident.alert_count, new.alert_count) == (1, 2)
    assert set(new.alerts.all()) == set(go)
    assert list(incident.alerts.all()) == [stay]
    assert (new.severity, new.status) == ("critical", "triggered")


def test_a_split_of_all_or_of_foreign_alerts_is_refused():
    source, incident = make_source(), make_incident()
    mine, other = make_alert(source, incident=incident), make_alert(source)
    for chosen in ([mine.pk], [other.pk], [mine.pk, other.pk], []):
        with pytest.raises(InvalidTransition):
            lifecycle.split(incident, alert_ids=chosen, by="ada")
    assert Incident.objects.count() == 1


def test_severity_snooze_assignment_and_comment_are_changes_of_their_own():
    user, incident = make_user(), make_incident(severity="low")
    until = now() + timedelta(hours=1)
    lifecycle.change_severity(incident, severity=Severity.CRITICAL, by=user)
    lifecycle.snooze(incident, until=until, by=user)
    lifecycle.assign(incident, to=user, by=user)
    lifecycle.comment(incident, by=user, text="Looking at it.")
    lifecycle.set_impact_start(incident, at=now() + timedelta(days=1), by="agent:detection")
    incident.refresh_from_db()
    assert (incident.severity, incident.snoozed_until, incident.assignee) == (
        "critical",
        until,
        user,
    )
    assert known(incident.impact_start) <= now()
    assert incident.version == 6
    changes = [event.data["change"] for event in OutboxEvent.objects.order_by("pk")]
    kinds = [entry.kind for entry in incident.timeline.order_by("pk")]
    assert changes == kinds
    assert kinds == [
        "incident.severity",
        "incident.snoozed",
        "incident.assigned",
        "incident.commented",
        "incident.impact",
    ]
    lifecycle.resolve(incident, by=user)
    with pytest.raises(InvalidTransition):
        lifecycle.snooze(incident, until=until, by=user)
    with pytest.raises(InvalidTransition):
        lifecycle.assign(incident, to=user, by=user)


class AnyHistory(HypothesisTestCase):
    @hypothesis_settings(max_examples=40, deadline=None)
    @given(st.lists(st.sampled_from(list(MOVES)), max_size=10))
    def test_after_any_attempts_the_stamps_tell_the_status(self, attempts):
        incident, lawful = make_incident(), [Status.TRIGGERED]
        for after in attempts:
            if after in TRANSITIONS[lawful[-1]]:
                MOVES[after](incident)
                lawful.append(after)
            else:
                with pytest.raises(InvalidTransition):
                    MOVES[after](incident)
        incident.refresh_from_db()
        assert incident.status == lawful[-1]
        assert incident.version == len(lawful)
        assert (incident.resolved_at is None) == (incident.status not in ("resolved", "closed"))
        assert (incident.closed_at is None) == (incident.status != "closed")
        assert (incident.merged_into is None) == (incident.status != "merged")
        assert (incident.acknowledged_at is None) == (Status.ACKNOWLEDGED not in lawful)
        assert incident.timeline.count() >= len(lawful) - 1
