from __future__ import annotations

import pytest

from metrics import kpis
from tests.factories import make_incident, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(client):
    client.force_login(make_user("viewer"))
    return client


def test_a_viewer_reads_the_numbers(viewer):
    make_incident("resolved")
    answer = viewer.get("/api/v1/kpis/?window=7d&origin=live")
    assert answer.status_code == 200
    body = answer.json()
    assert set(body["kpis"]) == set(kpis.NAMES)
    assert body["kpis"]["mttr"]["value"] == 180
    assert body["window"]["name"] == "7d"


def test_the_window_is_seven_days_of_live_incidents_unless_asked_otherwise(viewer):
    body = viewer.get("/api/v1/kpis/").json()
    assert (body["window"]["name"], body["window"]["origin"]) == ("7d", "live")


@pytest.mark.parametrize(
    ("query", "field"), [("window=", "window"), ("window=7w", "window"), ("origin=all", "origin")]
)
def test_a_wrong_parameter_is_refused_by_name(viewer, query, field):
    answer = viewer.get(f"/api/v1/kpis/?{query}")
    assert answer.status_code == 400
    assert answer["Content-Type"].startswith("application/problem+json")
    assert field in answer.json()["errors"]


def test_strangers_and_people_without_a_role_see_nothing(client):
    assert client.get("/api/v1/kpis/").status_code in (401, 403)
    client.force_login(make_user(None))
    assert client.get("/api/v1/kpis/").status_code == 403
