from __future__ import annotations

import pytest
from django.db.models import Model
from django.urls import reverse

from incidentops.access.models import AuditEntry
from incidentops.incidents import grouping, intake, lifecycle
from incidentops.incidents.models import (
    Alert,
    DeadLetter,
    Delivery,
    Incident,
    Source,
    TimelineEntry,
)
from tests.factories import make_alert, make_incident, make_source, make_user

pytestmark = pytest.mark.django_db
MODELS = (Incident, Alert, TimelineEntry, Source, Delivery, DeadLetter)
MAPPING = {"mapping": {"title": "name"}}


@pytest.fixture
def admin_client(client):
    user = make_user("admin", name="root")
    user.is_staff = True
    user.save()
    client.force_login(user)
    return client


def one_of_each() -> dict[type[Model], Model]:
    source = make_source("generic")
    intake.receive(source, b'{"title": "Down", "status": "firing", "severity": "high"}')
    grouping.attach_pending()
    DeadLetter.objects.create(source=source, body="[]", field="alerts", reason="not an object")
    return {model: model.objects.latest("pk") for model in MODELS}


def url(model, page, *args):
    return reverse(f"admin:incidents_{model._meta.model_name}_{page}", args=args)


@pytest.mark.parametrize("model", MODELS)
def test_staff_can_list_search_and_read_but_not_rewrite(admin_client, model):
    row = one_of_each()[model]
    assert admin_client.get(url(model, "changelist"), {"q": "1"}).status_code == 200
    page = admin_client.get(url(model, "change", row.pk))
    assert page.status_code == 200
    assert b'name="_save"' not in page.content
    assert b"secret_digest" not in page.content
    assert admin_client.get(url(model, "add")).status_code == 403
    assert admin_client.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert admin_client.post(url(model, "change", row.pk), {}).status_code == 403


def act(client, model, action, *rows):
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(url(model, "changelist"), data, follow=True)


def test_actions_go_through_the_domain(admin_client):
    lawful, unlawful = make_incident(), make_incident("closed")
    answer = act(admin_client, Incident, "acknowledge", lawful, unlawful)
    lawful.refresh_from_db()
    assert (lawful.status, lawful.version) == ("acknowledged", 2)
    assert AuditEntry.objects.latest("sequence").actor == "root"
    assert f"Incident {unlawful.number} is closed".encode() in answer.content
    act(admin_client, Incident, "resolve", lawful)
    act(admin_client, Incident, "close", lawful)
    lawful.refresh_from_db()
    assert lawful.status == "closed"


def test_a_dead_letter_is_taken_in_after_all(admin_client):
    source = make_source("generic")
    letter = DeadLetter.objects.create(
        source=source,
        body='{"title": "Down", "status": "firing", "severity": "high"}',
        field="title",
        reason="missing",
    )
    act(admin_client, DeadLetter, "requeue", letter)
    letter.refresh_from_db()
    assert letter.state == "requeued"
    assert Alert.objects.get().title == "Down"


def test_the_incident_page_shows_the_newest_of_a_long_story(admin_client):
    incident = make_incident()
    make_alert(incident=incident)
    for number in range(60):
        lifecycle.comment(incident, by="ada", text=f"Comment {number}.")
    page = admin_client.get(url(Incident, "change", incident.pk)).content.decode()
    assert "Comment 59." in page
    assert "Comment 5." not in page
