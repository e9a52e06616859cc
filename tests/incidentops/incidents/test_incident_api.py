from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now
from rest_framework.test import APIClient

from incidentops.incidents.models import Incident, Status
from incidentops.realtime.models import OutboxEvent
from tests.factories import make_alert, make_incident, make_source, make_user

pytestmark = pytest.mark.django_db
ROOT = "/api/v1/incidents/"


def client_of(role: str | None = "responder", **user) -> APIClient:
    client = APIClient()
    if role:
        client.force_login(make_user(role, **user))
    return client


def everything(client, url):
    """All rows of a list, page by page."""
    rows = []
    while url:
        page = client.get(url).json()
        rows += page["results"]
        url = page["next"]
    return rows


def test_an_incident_is_shown_with_its_stamps():
    incident = make_incident("resolved", service="checkout")
    shown = client_of("viewer").get(f"{ROOT}{incident.number}/").json()
    assert shown["number"] == incident.number
    assert shown["status"] == "resolved"
    assert shown["closed_at"] is None
    assert shown["resolved_at"].endswith("Z")
    promised = (
        "number title status severity service origin alert_count version impact_start detected_at "
        "received_at acknowledged_at mitigated_at resolved_at closed_at assignee"
    )
    assert set(promised.split()) <= set(shown)


@pytest.mark.parametrize("path", ["", "alerts/", "timeline/"])
@pytest.mark.parametrize("number", [424242, 10**30])
def test_an_unknown_number_is_a_404_problem(path, number):
    answer = client_of("viewer").get(f"{ROOT}{number}/{path}")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"


def test_lists_filter():
    source = make_source()
    mine = make_incident("acknowledged", severity="critical", service="checkout", source=source)
    other = make_incident("resolved", severity="low", title="Disk of n7 is full")
    client = client_of("viewer")

    def numbers(query):
        return [row["number"] for row in client.get(f"{ROOT}?{query}").json()["results"]]

    assert numbers("status=acknowledged") == [mine.number]
    assert numbers("status=acknowledged,resolved") == [other.number, mine.number]
    assert numbers("severity=low") == [other.number]
    assert numbers("service=checkout") == [mine.number]
    assert numbers(f"source={source.pk}") == [mine.number]
    assert numbers("q=DISK") == [other.number]
    assert numbers(f"q=%23{mine.number}") == [mine.number]
    assert numbers("is_open=true") == [mine.number]
    for wrong in ("status=sleeping", "severity=huge", "ordering=title", "source=nowhere", "q=%00"):
        answer = client.get(f"{ROOT}?{wrong}")
        assert answer.status_code == 400, wrong
        assert wrong.partition("=")[0] in answer.json()["errors"]


@pytest.mark.parametrize(
    "ordering", ["number", "detected_at", "received_at", "alert_count", "severity"]
)
@pytest.mark.parametrize("sign", ["", "-"])
def test_every_order_pages_through_all_incidents_once(ordering, sign):
    start = now()
    made = [
        make_incident(
            severity=["low", "critical", "medium", "high"][n % 4],
            alert_count=n % 3,
            detected_at=start + timedelta(minutes=n % 5),
        )
        for n in range(23)
    ]
    rows = everything(client_of("viewer"), f"{ROOT}?ordering={sign}{ordering}&page_size=4")
    assert sorted(row["number"] for row in rows) == [one.number for one in made]
    urgency = ["low", "medium", "high", "critical"]
    keys = [
        urgency.index(row["severity"]) if ordering == "severity" else row[ordering] for row in rows
    ]
    assert keys == sorted(keys, reverse=bool(sign))


def test_alerts_and_timeline_are_paged_newest_first():
    source, incident = make_source(), make_incident()
    alerts = [
        make_alert(source, incident=incident, merge_reason={"kind": "opened"}) for _ in range(5)
    ]
    client = client_of("viewer")
    rows = everything(client, f"{ROOT}{incident.number}/alerts/?page_size=2")
    assert [row["id"] for row in rows] == [alert.pk for alert in reversed(alerts)]
    promised = (
        "id fingerprint labels annotations status severity starts_at ends_at count merge_reason"
    )
    assert set(promised.split()) <= set(rows[0])
    responder = client_of()
    for text in ("one", "two", "three"):
        responder.post(f"{ROOT}{incident.number}/comment/", {"text": text}, format="json")
    rows = everything(client, f"{ROOT}{incident.number}/timeline/?page_size=2")
    assert [row["text"] for row in rows] == ["three", "two", "one"]


def test_an_incident_is_opened_by_hand():
    fields = {"title": "Checkout is down", "severity": "critical", "service": "checkout"}
    answer = client_of(name="ada").post(ROOT, fields, format="json")
    assert answer.status_code == 201
    incident = Incident.objects.get(number=answer.json()["number"])
    assert (incident.title, incident.status) == ("Checkout is down", "triggered")
    assert incident.timeline.get().actor == "ada"
    assert OutboxEvent.objects.get().type == "incident.opened"


def test_what_is_wrong_with_a_request_is_named():
    client, incident = client_of(), make_incident()
    later = (now() + timedelta(days=1)).isoformat()
    for path, body, field in (
        ("", {"severity": "high"}, "title"),
        ("", {"title": "x", "severity": "high", "impact_start": later}, "impact_start"),
        ("", {"title": "x", "severity": "high", "detected_at": "0002-01-01T00:00Z"}, "detected_at"),
        (f"{incident.number}/severity/", {"severity": "huge"}, "severity"),
        (f"{incident.number}/merge/", {"into": 424242}, "into"),
        (f"{incident.number}/assign/", {"assignee": "nobody"}, "assignee"),
        (f"{incident.number}/split/", {"alerts": []}, "alerts"),
        (f"{incident.number}/comment/", {"text": ""}, "text"),
        (f"{incident.number}/snooze/", {"until": "2020-01-01T00:00:00Z"}, "until"),
    ):
        answer = client.post(ROOT + path, body, format="json")
        assert answer.status_code == 400, path
        assert field in answer.json()["errors"], path
    incident.refresh_from_db()
    assert incident.version == 1


def test_the_life_of_an_incident():
    client, incident = client_of(name="ada"), make_incident()
    url = f"{ROOT}{incident.number}/"

    def post(verb, body=None):
        answer = client.post(f"{url}{verb}/", body or {}, format="json")
        assert answer.status_code == 200, answer.json()
        return answer.json()

    assert post("acknowledge")["assignee"] == "ada"
    assert post("severity", {"severity": "low"})["severity"] == "low"
    assert post("snooze", {"minutes": 30})["snoozed_until"]
    assert post("assign", {"assignee": None})["assignee"] is None
    assert post("assign")["assignee"] == "ada"
    assert post("mitigate")["mitigated_at"]
    assert post("resolve", {"reason": "Restarted."})["resolved_at"]
    assert post("close")["closed_at"]
    reopened = post("reopen")
    assert (reopened["status"], reopened["resolved_at"]) == ("triggered", None)
    assert reopened["version"] == 10
    other = make_incident()
    assert post("merge", {"into": other.number})["merged_into"] == other.number


def test_a_split_answers_with_the_new_incident():
    source, incident = make_source(), make_incident()
    stay, go = make_alert(source, incident=incident), make_alert(source, incident=incident)
    answer = client_of().post(f"{ROOT}{incident.number}/split/", {"alerts": [go.pk]}, format="json")
    assert answer.status_code == 201
    new = answer.json()["number"]
    assert list(incident.alerts.all()) == [stay]
    assert list(Incident.objects.get(number=new).alerts.all()) == [go]


def test_an_illegal_transition_is_a_conflict_and_changes_nothing():
    client, incident = client_of(), make_incident("closed")
    for verb in ("acknowledge", "mitigate", "resolve", "close", "assign"):
        answer = client.post(f"{ROOT}{incident.number}/{verb}/", {}, format="json")
        assert answer.status_code == 409
        assert "is closed" in answer.json()["detail"]
        assert answer["Content-Type"] == "application/problem+json"
    incident.refresh_from_db()
    assert (incident.status, incident.version) == (Status.CLOSED, 1)
    assert not OutboxEvent.objects.exists()


def test_a_repeated_post_with_its_key_has_one_effect():
    client = client_of()
    fields = {"title": "Checkout is down", "severity": "critical"}
    numbers = {
        client.post(ROOT, fields, format="json", headers={"Idempotency-Key": "k1"}).json()["number"]
        for _ in range(3)
    }
    assert len(numbers) == Incident.objects.count() == 1


def test_viewers_read_responders_act_and_strangers_do_neither():
    incident = make_incident()
    url = f"{ROOT}{incident.number}/acknowledge/"
    assert client_of(None).get(ROOT).status_code in (401, 403)
    assert client_of("viewer").post(url).status_code == 403
    assert client_of("viewer").post(ROOT, {}, format="json").status_code == 403
    assert client_of("viewer").get(url).status_code in (403, 405)
    assert client_of("responder").get(url).status_code == 405
    assert client_of("responder").post(url).status_code == 200
