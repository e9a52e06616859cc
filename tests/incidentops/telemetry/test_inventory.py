from __future__ import annotations

import json
from typing import Any

import pytest
from django.utils.timezone import now

from incidentops.access.models import AuditEntry
from incidentops.telemetry.models import Change, Dependency, Service
from tests.factories import make_service, make_user

pytestmark = pytest.mark.django_db
URL, CHANGES, TOPOLOGY = "/api/v1/services/", "/api/v1/changes/", "/api/v1/services/topology/"


@pytest.fixture
def admin_client(client):
    client.force_login(make_user("admin", name="ada"))
    return client


def send(client, method: str, url: str, body=None):
    return getattr(client, method)(url, json.dumps(body), content_type="application/json")


def edges() -> set[tuple[str, str]]:
    return set(Dependency.objects.values_list("caller__name", "callee__name"))


def audited() -> list[tuple[str, str]]:
    return list(AuditEntry.objects.order_by("sequence").values_list("action", "actor"))


def test_a_service_is_made_read_changed_and_removed(admin_client):
    make_service("db")
    made = send(admin_client, "post", URL, {"name": "tesati_Database::SQL", "kind": "database", "depends_on": ["db"]})  # fmt: skip
    assert made.status_code == 201
    assert made.json()["depends_on"] == ["db"]
    one = f"{URL}{made.json()['id']}/"
    assert admin_client.get(one).json() == made.json()
    assert admin_client.get(f"{URL}tesati_Database::SQL/").json() == made.json()
    changed = send(admin_client, "patch", one, {"owner": "team", "depends_on": []}).json()
    assert (changed["owner"], changed["depends_on"], changed["kind"]) == ("team", [], "database")
    assert edges() == set()
    assert admin_client.delete(one).status_code == 204
    assert admin_client.get(one).status_code == 404
    assert audited() == [
        ("service.create", "ada"),
        ("service.update", "ada"),
        ("service.delete", "ada"),
    ]


def test_a_change_that_names_no_dependencies_leaves_them(admin_client):
    web = make_service("web", depends_on=(make_service("db"),))
    answer = send(admin_client, "patch", f"{URL}{web.pk}/", {"owner": "x"})
    assert answer.json()["depends_on"] == ["db"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "7"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\u0000"}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"name": "a", "kind": "mainframe"}, "kind"),
        ({"name": "a", "depends_on": "db"}, "depends_on"),
        ({"name": "a", "depends_on": ["db", "nowhere"]}, "depends_on[1]"),
    ],
)
def test_a_wrong_service_is_refused_by_field_and_leaves_nothing(admin_client, body, field):
    make_service("db")
    answer = send(admin_client, "post", URL, body)
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]
    assert Service.objects.count() == 1
    assert audited() == []


def test_a_service_cannot_depend_on_itself(admin_client):
    web = make_service("web")
    answer = send(admin_client, "patch", f"{URL}{web.pk}/", {"depends_on": ["web"]})
    assert answer.json()["errors"] == {"depends_on[0]": ["A service cannot depend on itself."]}
    assert edges() == set()


def test_a_name_that_is_taken_is_a_conflict(admin_client):
    web = make_service("web")
    make_service("db")
    assert send(admin_client, "post", URL, {"name": "web"}).status_code == 409
    assert send(admin_client, "patch", f"{URL}{web.pk}/", {"name": "db"}).status_code == 409


def test_services_are_listed_by_page_and_filtered(admin_client, django_assert_max_num_queries):
    db = make_service("db", kind="database")
    for place in range(20):
        make_service(f"web{place}", depends_on=(db,))
    with django_assert_max_num_queries(8):
        page = admin_client.get(URL).json()
    assert len(page["results"]) == 21
    found = admin_client.get(f"{URL}?kind=database").json()["results"]
    assert [service["name"] for service in found] == ["db"]


def test_a_topology_is_imported_as_a_whole_and_again(admin_client):
    make_service("old", depends_on=(make_service("db", kind="service"),))
    topology: dict[str, Any] = {
        "entry": "web",
        "services": [
            {"name": "web", "kind": "gateway", "depends_on": ["db", "cache"], "replicas": 2},
            {"name": "cache", "kind": "cache", "depends_on": []},
            {"name": "db", "kind": "database"},
        ],
    }
    answer = send(admin_client, "put", TOPOLOGY, topology)
    assert (answer.status_code, answer.json()) == (200, {"created": 2, "updated": 1})
    assert edges() == {("web", "db"), ("web", "cache"), ("old", "db")}
    assert Service.objects.get(name="db").kind == "database"
    topology["services"][0]["depends_on"] = ["db"]
    assert send(admin_client, "put", TOPOLOGY, topology).json() == {"created": 0, "updated": 3}
    assert edges() == {("web", "db"), ("old", "db")}
    assert audited() == [("topology.import", "ada")] * 2


@pytest.mark.parametrize(
    ("services", "field"),
    [
        ([{"name": "a", "depends_on": ["b"]}], "services[0].depends_on[0]"),
        ([{"name": "b"}, {"name": "a", "depends_on": ["b", "a"]}], "services[1].depends_on[1]"),
        ([{"name": "a"}, {"name": "a"}], "services[1].name"),
    ],
)
def test_a_wrong_topology_is_refused_by_field_and_changes_nothing(admin_client, services, field):
    answer = send(admin_client, "put", TOPOLOGY, {"services": services})
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]
    assert Service.objects.count() == 0


@pytest.mark.parametrize("body", [{}, {"services": []}, {"services": [{"kind": "cache"}]}, []])
def test_a_topology_out_of_form_is_refused(admin_client, body):
    assert send(admin_client, "put", TOPOLOGY, body).status_code == 400


def test_changes_are_recorded_by_pipelines(client):
    make_service("web")
    client.force_login(make_user("responder", name="pipeline"))
    made = send(client, "post", CHANGES, {"service": "web", "kind": "deploy", "title": "v2", "detail": {"sha": "abc"}})  # fmt: skip
    assert made.status_code == 201
    one = f"{CHANGES}{made.json()['id']}/"
    assert abs((Change.objects.get().at - now()).total_seconds()) < 60
    assert send(client, "patch", one, {"title": "v3"}).json()["title"] == "v3"
    assert len(client.get(f"{CHANGES}?service=web").json()["results"]) == 1
    assert client.get(f"{CHANGES}?service=db").json()["results"] == []
    assert client.delete(one).status_code == 204
    assert [action for action, _ in audited()] == [
        "change.create",
        "change.update",
        "change.delete",
    ]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"service": "nowhere"}, "service"),
        ({"kind": "magic"}, "kind"),
        ({"title": ""}, "title"),
        ({"at": "soon"}, "at"),
        ({"detail": {"a": "\u0000"}}, "detail"),
        ({"detail": {"a": "\ud800"}}, "detail"),
        ({"detail": {"a": "x" * 20_000}}, "detail"),
    ],
)
def test_a_wrong_change_is_refused_by_field(admin_client, changes, field):
    make_service("web")
    answer = send(admin_client, "post", CHANGES, {"service": "web", "kind": "deploy", "title": "v2"} | changes)  # fmt: skip
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]


def test_roles_decide_who_reads_and_writes(client):
    web = make_service("web")
    assert client.get(URL).status_code in (401, 403)
    client.force_login(make_user("viewer"))
    assert client.get(URL).status_code == client.get(CHANGES).status_code == 200
    client.force_login(make_user("responder"))
    assert send(client, "post", URL, {"name": "x"}).status_code == 403
    assert send(client, "put", TOPOLOGY, {"services": [{"name": "x"}]}).status_code == 403
    assert client.delete(f"{URL}{web.pk}/").status_code == 403


def test_staff_edit_services_with_their_dependencies_in_the_admin(client):
    root = make_user("admin", name="root")
    root.is_staff = True
    root.save()
    client.force_login(root)
    db = make_service("db")
    form = {
        "name": "web", "kind": "service", "description": "", "owner": "",
        "calls-TOTAL_FORMS": 1, "calls-INITIAL_FORMS": 0, "calls-0-callee": db.pk,
    }  # fmt: skip
    assert client.post("/admin/telemetry/service/add/", form).status_code == 302
    assert edges() == {("web", "db")}
    assert audited() == [("service.create", "root")]
    for model in ("service", "change", "series", "sample", "logline"):
        assert client.get(f"/admin/telemetry/{model}/").status_code == 200
    for model in ("series", "sample", "logline"):
        assert client.get(f"/admin/telemetry/{model}/add/").status_code == 403
