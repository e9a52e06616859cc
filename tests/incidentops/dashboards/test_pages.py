"""The pages as the server renders them, before any script runs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils.timezone import now

from agents.models import Approval, Phase, PhaseRun, Response, ResponseState
from incidentops.incidents import lifecycle
from incidentops.incidents.models import Incident, Status
from tests.factories import make_alert, make_incident, make_user

pytestmark = pytest.mark.django_db


def page(client: Client, path: str, **query: str) -> str:
    answer = client.get(path, query)
    assert answer.status_code == 200, (path, answer.status_code)
    return re.sub(r"\s+", " ", answer.content.decode())


def signed_in(role: str = "responder") -> Client:
    client = Client()
    client.force_login(make_user(role))
    return client


def make_response(incident: Incident, state: str = ResponseState.ESCALATED) -> Response:
    response = Response.objects.create(incident=incident, state=state, urgency=1)
    PhaseRun.objects.bulk_create(PhaseRun(response=response, phase=phase) for phase in Phase)
    return response


def test_an_empty_board_tells_how_to_send_the_first_alert() -> None:
    text = page(signed_in(), "/ops")
    assert "No incidents yet: send the first alert" in text
    assert "/intake/SOURCE_ID/" in text


def test_an_incident_of_a_foolish_date_leaves_the_pages_readable() -> None:
    incident = make_incident(title="Began long ago", detected_at=datetime(2, 1, 1, tzinfo=UTC))
    assert "Began long ago" in page(signed_in(), "/ops")
    assert 'datetime="0002-01-01T00:00:00.000Z"' in page(
        signed_in(), f"/incidents/{incident.number}/"
    )


def test_the_board_shows_each_incident_in_its_column() -> None:
    make_incident(title="Checkout is slow", service="checkout")
    make_incident(Status.ACKNOWLEDGED, title="Disk is full")
    text = page(signed_in(), "/ops")
    triggered, acknowledged = (
        text.index('id="column-triggered"'),
        text.index('id="column-acknowledged"'),
    )
    assert triggered < text.index("Checkout is slow") < acknowledged < text.index("Disk is full")


def test_the_filters_of_the_url_choose_the_cards() -> None:
    make_incident(title="Checkout is slow", service="checkout", severity="critical")
    make_incident(title="Disk is full", service="backup", severity="low")
    text = page(signed_in(), "/ops", severity="critical")
    assert "Checkout is slow" in text
    assert "Disk is full" not in text
    assert "Disk is full" in page(signed_in(), "/ops", q="DISK")


def test_titles_from_alerts_are_never_markup() -> None:
    incident = make_incident(title="<script>alert(1)</script>")
    for path in ("/ops", f"/incidents/{incident.number}/"):
        assert "<script>alert" not in page(signed_in(), path)


@pytest.mark.parametrize(
    ("status", "offered"),
    [
        (Status.TRIGGERED, {"acknowledge", "mitigate", "resolve", "take"}),
        (Status.ACKNOWLEDGED, {"mitigate", "resolve", "take"}),
        (Status.RESOLVED, {"close", "reopen"}),
        (Status.CLOSED, {"reopen"}),
    ],
)
def test_only_lawful_steps_are_offered(status: str, offered: set[str]) -> None:
    incident = make_incident(status)
    text = page(signed_in(), f"/incidents/{incident.number}/")
    buttons = re.findall(r'data-verb="(\w+)"( hidden)?>', text)
    shown = {verb for verb, hidden in buttons if not hidden} - {
        "severity",
        "snooze",
        "merge",
        "split",
    }
    assert shown == offered


def test_a_viewer_is_offered_nothing_and_may_do_nothing() -> None:
    incident, client = make_incident(), signed_in("viewer")
    assert 'data-verb="acknowledge"' not in page(client, f"/incidents/{incident.number}/")
    assert client.post(f"/incidents/{incident.number}/acknowledge/").status_code == 403


def test_a_form_acknowledges_and_leads_back() -> None:
    incident, client = make_incident(), signed_in()
    answer = client.post(f"/incidents/{incident.number}/acknowledge/")
    assert answer["Location"] == f"/incidents/{incident.number}/"
    incident.refresh_from_db()
    assert incident.status == Status.ACKNOWLEDGED
    assert "Acknowledged." in page(client, f"/incidents/{incident.number}/")


def test_an_unlawful_step_is_explained_and_changes_nothing() -> None:
    incident, client = make_incident(Status.CLOSED), signed_in()
    client.post(f"/incidents/{incident.number}/acknowledge/")
    assert "Acknowledge was not possible." in page(client, f"/incidents/{incident.number}/")
    incident.refresh_from_db()
    assert incident.status == Status.CLOSED


@pytest.mark.parametrize(
    ("verb", "data", "expected"),
    [
        ("comment", {"text": "Looking at it."}, "Looking at it."),
        ("comment", {"text": " "}, "Comment was not possible. text: This field is required."),
        ("severity", {"severity": "low"}, "Severity changed from high to low"),
        ("severity", {"severity": "urgent"}, "Change severity was not possible."),
        ("snooze", {"minutes": "30"}, "Snoozed until"),
        ("snooze", {"minutes": "1"}, "Snooze was not possible."),
        ("take", {}, "Assigned to you."),
    ],
)
def test_forms_answer_with_what_happened(verb: str, data: dict[str, str], expected: str) -> None:
    incident, client = make_incident(), signed_in()
    client.post(f"/incidents/{incident.number}/{verb}/", data)
    assert expected in page(client, f"/incidents/{incident.number}/")


def field_of(text: str, id_: str) -> str:
    """The tag with this id."""
    found = re.search(rf'<\w+ [^>]*id="{id_}"[^>]*>', text)
    return found[0] if found else ""


def test_a_form_merges_the_incident_into_another_and_reopening_undoes_it() -> None:
    incident, other, client = make_incident(), make_incident(title="The cause"), signed_in()
    make_incident(Status.CLOSED, title="Long over")
    alert = make_alert(incident=incident)
    text = page(client, f"/incidents/{incident.number}/")
    assert f'<option value="{other.number}">The cause' in text
    assert "Long over" not in text
    client.post(f"/incidents/{incident.number}/merge/", {"into": other.number})
    assert f"Merged into incident #{other.number}" in page(client, f"/incidents/{incident.number}/")
    alert.refresh_from_db()
    assert alert.incident == other
    client.post(f"/incidents/{incident.number}/reopen/")
    alert.refresh_from_db()
    assert alert.incident == incident


def test_the_address_that_a_refused_form_leaves_leads_back_to_the_incident() -> None:
    incident, client = make_incident(), signed_in()
    address = f"/incidents/{incident.number}/merge/"
    assert client.post(address, {"into": incident.number}).status_code == 409
    led = client.get(address)
    assert (led.status_code, led["Location"]) == (302, f"/incidents/{incident.number}/")
    assert client.get(f"/incidents/{incident.number}/explode/").status_code == 404


@pytest.mark.parametrize(
    ("into", "status", "why"),
    [
        ("", 400, "This field is required."),
        ("seven", 400, "Enter a whole number."),
        ("99999999", 409, "There is no incident 99999999."),
        ("itself", 409, "An incident cannot be merged into itself."),
        ("closed", 409, "it cannot be merged into."),
    ],
)
def test_why_a_merger_is_refused_stands_beside_its_field(into: str, status: int, why: str) -> None:
    incident, client = make_incident(), signed_in()
    closed = make_incident(Status.CLOSED)
    into = {"itself": str(incident.number), "closed": str(closed.number)}.get(into, into)
    answer = client.post(f"/incidents/{incident.number}/merge/", {"into": into})
    text = answer.content.decode()
    assert answer.status_code == status
    assert why in text[text.index('id="merge-errors"') :].split("</p>")[0]
    field = field_of(text, "merge-into")
    assert 'aria-invalid="true"' in field
    assert "merge-errors" in field
    assert f'value="{into}"' in field
    assert '<details class="more" open>' in text
    assert "merge-errors" not in page(client, f"/incidents/{incident.number}/")
    incident.refresh_from_db()
    assert incident.status == Status.TRIGGERED


def test_a_form_moves_chosen_alerts_to_a_new_incident() -> None:
    incident, client = make_incident(), signed_in()
    stays, moves = (make_alert(name=name, incident=incident) for name in ("Stays", "Moves"))
    text = page(client, f"/incidents/{incident.number}/")
    for alert in (stays, moves):
        assert f'<input type="checkbox" name="alerts" value="{alert.pk}">' in text
    client.post(
        f"/incidents/{incident.number}/split/", {"alerts": [moves.pk], "title": "Another matter"}
    )
    new = Incident.objects.latest("pk")
    assert new.title == "Another matter"
    assert list(new.alerts.all()) == [moves]
    assert list(incident.alerts.all()) == [stays]
    assert f"new incident #{new.number}" in page(client, f"/incidents/{incident.number}/")


@pytest.mark.parametrize(
    ("chosen", "status", "why"),
    [
        ("none", 400, "Choose the alerts that move to a new incident."),
        ("all", 409, "A split must leave at least one alert behind."),
        ("foreign", 409, "Some of these alerts are not of incident"),
        ("nonsense", 400, "is not one of the available choices"),
    ],
)
def test_why_a_split_is_refused_stands_beside_its_alerts(
    chosen: str, status: int, why: str
) -> None:
    incident, client = make_incident(), signed_in()
    own = [make_alert(incident=incident).pk for _ in range(2)]
    foreign = make_alert(incident=make_incident()).pk
    choices: dict[str, list[object]] = {
        "none": [],
        "all": [*own],
        "foreign": [own[0], foreign],
        "nonsense": ["x"],
    }
    sent = choices[chosen]
    answer = client.post(f"/incidents/{incident.number}/split/", {"alerts": sent, "title": "Kept"})
    text = answer.content.decode()
    assert answer.status_code == status
    assert why in text[text.index('id="split-alerts-errors"') :].split("</p>")[0]
    assert "split-alerts-errors" in text[text.index("<fieldset") :].split(">")[0]
    assert 'value="Kept"' in field_of(text, "split-title")
    for pk in own:
        box = text[text.index(f'name="alerts" value="{pk}"') :].split(">")[0]
        assert ("checked" in box) == (pk in sent)
    assert Incident.objects.count() == 2


def test_an_incident_of_one_alert_or_none_is_not_offered_to_be_split() -> None:
    incident, client = make_incident(), signed_in()
    make_alert(incident=incident)
    assert 'data-verb="split"' not in page(client, f"/incidents/{incident.number}/")
    make_alert(incident=incident)
    assert 'data-verb="split">' in page(client, f"/incidents/{incident.number}/")
    lifecycle.resolve(incident, by="ada")
    text = page(client, f"/incidents/{incident.number}/")
    assert 'data-verb="split" hidden>' in text
    assert 'data-verb="merge" hidden>' in text


def test_what_is_not_there_is_not_found() -> None:
    client, incident = signed_in(), make_incident()
    assert client.get("/incidents/999999/").status_code == 404
    assert client.get("/transparency?incident=999999").status_code == 404
    assert client.get("/transparency?incident=x").status_code == 404
    assert client.post(f"/incidents/{incident.number}/explode/").status_code == 404


def test_alerts_are_shown_with_the_reason_why_they_are_here() -> None:
    incident = make_incident()
    make_alert(
        incident=incident, merge_reason={"kind": "text", "explanation": "It resembles alert 1."}
    )
    assert "It resembles alert 1." in page(signed_in(), f"/incidents/{incident.number}/")


def test_a_response_is_shown_phase_by_phase() -> None:
    incident = make_incident()
    make_response(incident)
    for path in (f"/incidents/{incident.number}/", f"/transparency?incident={incident.number}"):
        text = page(signed_in(), path)
        assert all(f"<strong>{phase}</strong>" in text for phase in Phase.values)
        assert "No AI service has been asked about this incident" in text


def test_the_numbers_say_why_they_are_unknown() -> None:
    text = page(signed_in("viewer"), "/demo")
    assert "No incident has been resolved in the last 7 days" in text
    assert "No baseline and no cost model are configured." in text


def test_the_numbers_name_no_incident() -> None:
    make_incident(title="Secret title")
    incident = make_incident(Status.RESOLVED, title="Another secret title")
    lifecycle.reopen(incident, by="somebody")
    assert "ecret title" not in page(signed_in("viewer"), "/demo")


def test_without_plans_the_approvals_page_says_why() -> None:
    assert "No executor of actions is configured" in page(signed_in("viewer"), "/approvals/")


def test_an_approver_rejects_the_plan_that_was_shown() -> None:
    response = make_response(make_incident(), ResponseState.AWAITING_APPROVAL)
    approval = Approval.objects.create(
        response=response,
        plan_digest="d" * 64,
        plan={"action": "restart", "target": "checkout"},
        expires_at=now() + timedelta(hours=1),
    )
    client = signed_in("approver")
    assert "restart" in page(client, "/approvals/")
    client.post(f"/approvals/{approval.pk}/reject/", {"plan_digest": "e" * 64})
    approval.refresh_from_db()
    assert approval.state == Approval.State.PENDING
    client.post(f"/approvals/{approval.pk}/reject/", {"plan_digest": "d" * 64, "reason": "No."})
    approval.refresh_from_db()
    assert approval.state == Approval.State.REJECTED


@pytest.mark.parametrize("path", ["/ops", "/transparency", "/demo", "/approvals/", "/incidents/1/"])
def test_strangers_are_led_to_the_sign_in_page(path: str) -> None:
    answer = Client().get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 302
    assert answer["Location"].startswith("/login/?next=")


def test_error_pages_keep_the_frame() -> None:
    answer = signed_in().get("/nowhere", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert "There is nothing at this address." in answer.content.decode()


@pytest.mark.parametrize("page", ["ops", "transparency", "demo"])
def test_an_address_with_a_slash_leads_to_the_page(client: Client, page: str) -> None:
    assert client.get(f"/{page}/?severity=high").headers["Location"] == f"/{page}?severity=high"


def test_a_stranger_who_opens_the_api_docs_is_led_to_the_sign_in(client: Client) -> None:
    answer = client.get("/api/docs/", headers={"accept": "text/html"})
    assert answer.headers["Location"] == "/login/?next=/api/docs/"
