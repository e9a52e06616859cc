"""What is told of an incident to whoever is asked about it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from incidentops.incidents import briefing, lifecycle
from incidentops.incidents.models import Incident
from incidentops.telemetry.models import Change
from tests.factories import make_alert, make_incident, make_question, make_service

pytestmark = pytest.mark.django_db


def told(incident: Incident) -> dict[str, briefing.Fact]:
    return {fact.id: fact for fact in briefing.facts(incident)}


def test_every_fact_has_an_id_of_its_own_and_a_place_where_people_see_it():
    incident = make_incident(service="checkout")
    for _ in range(3):
        make_alert(service="checkout", incident=incident)
        lifecycle.comment(incident, by="ada", text="Looking.")
    facts = briefing.facts(incident)
    assert len({fact.id for fact in facts}) == len(facts)
    assert all(fact.uri.startswith(f"/incidents/{incident.number}/") for fact in facts)
    assert facts[0].id == "incident"


def test_changes_around_the_service_are_told_with_their_order():
    database = make_service("orders-db")
    checkout = make_service("checkout", depends_on=(database,))
    stranger = make_service("billing")
    began = now() - timedelta(minutes=10)
    incident = make_incident(service="checkout", impact_start=began, detected_at=now())
    for service, minutes, title in (
        (database, -5, "pool of 20"),
        (checkout, 3, "rolled back"),
        (checkout, -60 * 25, "long ago"),
        (stranger, -1, "elsewhere"),
    ):
        at = began + timedelta(minutes=minutes)
        Change.objects.create(service=service, kind="config", title=title, at=at)
    changes = [fact for id_, fact in told(incident).items() if id_.startswith("change")]
    newest, older = (fact.text for fact in changes)
    assert newest.startswith("Changed after it began: the config “rolled back” on checkout at ")
    assert newest.endswith(", 3 min after the beginning.")
    assert "“pool of 20” on orders-db" in older
    assert [fact.lasts for fact in changes] == [False, True]


def test_that_nothing_is_known_is_told_too():
    facts = told(make_incident(service="checkout"))
    assert facts["changes"].text.startswith("No change before it began is known")
    assert facts["past"].text.startswith("Nothing like this happened before on checkout")


def test_earlier_incidents_of_the_service_are_told_with_what_helped():
    earlier = make_incident(service="checkout", title="Cards fail")
    lifecycle.resolve(earlier, by="ada", reason="Rolled back. Told the team.")
    make_incident("resolved", service="billing")
    make_incident("resolved", service="checkout", origin="gameday")
    facts = told(make_incident(service="checkout"))
    past = [id_ for id_ in facts if id_.startswith("past")]
    assert past == [f"past-{earlier.number}"]
    text = facts[past[0]].text
    assert "“Cards fail” on checkout" in text
    helped = (
        f"What helped at incident #{earlier.number}: Resolved by ada; Rolled back; Told the team."
    )
    assert text.endswith(helped)
    assert facts[past[0]].uri == f"/incidents/{earlier.number}/"


def test_the_conversation_itself_is_no_fact():
    incident = make_incident()
    make_question(incident, text="Are there zebras?")
    lifecycle.comment(incident, by="ada", text="No.")
    texts = [fact.text for fact in briefing.facts(incident)]
    assert any("ada wrote: No." in text for text in texts)
    assert not any("zebras" in text for text in texts)


def test_a_long_incident_is_told_in_bounds():
    incident = make_incident(service="checkout")
    source = make_alert(service="checkout", incident=incident).source
    for number in range(briefing.MOST_ALERTS + 5):
        make_alert(source, service="checkout", incident=incident, status="resolved")
        make_alert(source, service="checkout", incident=incident)
        lifecycle.comment(incident, by="ada", text=f"Note {number}.")
        lifecycle.comment(incident, by="ada", text=f"Second note {number}.")
    facts = told(incident)
    alerts = [fact for id_, fact in facts.items() if id_.startswith("alert-")]
    assert len(alerts) == briefing.MOST_ALERTS
    assert all("is firing since" in fact.text for fact in alerts)
    assert facts["alerts"].text.endswith("16 fire and 15 do not.")
    entries = [fact for id_, fact in facts.items() if id_.startswith("entry-")]
    assert len(entries) == briefing.MOST_ENTRIES
    assert "Second note 14." in entries[-1].text
