from __future__ import annotations

import json

import pytest
from django.conf import settings
from django.test import Client
from django.urls import include, path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from incidentops.access.permissions import public, reading
from tests.factories import make_service, make_source, make_token

pytestmark = pytest.mark.django_db
SECRET = "a secret of the inside"


class Crash(APIView):
    access = reading("dashboard.view")

    def get(self, request: Request) -> Response:
        raise RuntimeError(SECRET)


@public("It is only here to fail.")
def crash(request):
    raise RuntimeError(SECRET)


urlpatterns = [
    path("api/crash/", Crash.as_view()),
    path("api/plain/", crash),
    path("crash/", crash),
    path("", include("incidentops.access.urls")),
]
handler400 = "incidentops.rest.problems.bad_request"
handler404 = "incidentops.rest.problems.not_found"
handler500 = "incidentops.rest.problems.server_error"


def is_problem(answer, status: int) -> bool:
    return (
        answer.status_code == status
        and answer.headers["Content-Type"] == "application/problem+json"
        and answer.json()["status"] == status
        and set(answer.json()) >= {"type", "title", "detail"}
    )


@pytest.fixture
def api():
    headers = {"Authorization": f"Bearer {make_token('admin')}"}
    return Client(raise_request_exception=False, headers=headers)


def test_every_refusal_of_the_api_is_a_problem(api):
    assert is_problem(Client().get("/api/v1/tokens/"), 401)
    viewer = {"Authorization": f"Bearer {make_token('viewer')}"}
    assert is_problem(Client().get("/api/v1/tokens/", headers=viewer), 403)
    assert is_problem(api.get("/api/v1/nothing/"), 404)
    assert is_problem(Client().get("/api/"), 404)
    assert is_problem(api.get("/api/v1/tokens/999999/"), 404)
    assert is_problem(api.put("/api/v1/tokens/"), 405)
    assert is_problem(api.get("/api/v1/tokens/", headers={"Accept": "text/csv"}), 406)
    assert is_problem(api.post("/api/v1/tokens/", "x", "text/csv"), 415)
    assert is_problem(api.post("/api/v1/tokens/", "{", "application/json"), 400)
    assert is_problem(api.post("/api/v1/tokens/", "[]", "application/json"), 400)


def test_a_body_nested_too_deeply_is_a_bad_request(api):
    assert is_problem(api.post("/api/v1/tokens/", "[" * 100_000, "application/json"), 400)


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
@pytest.mark.parametrize("levels", [101, 450, 800, 940])
def test_a_member_nested_too_deeply_is_named_whoever_reads_it(api, levels, opening, closing):
    deep = opening * levels + "1" + closing * levels
    source = make_source("generic")
    make_service("web")
    for send, path_, field, rest in [
        (api.post, "/api/v1/sources/", "config", '"kind": "generic", "name": "x"'),
        (api.patch, f"/api/v1/sources/{source.pk}/", "config", '"name": "x"'),
        (api.post, f"/api/v1/sources/{source.pk}/preview/", "document", '"config": {}'),
        (
            api.post,
            "/api/v1/changes/",
            "detail",
            '"service": "web", "kind": "deploy", "title": "x"',
        ),
    ]:
        body = f'{{{rest}, "{field}": {deep}}}'
        answer = send(path_, body, content_type="application/json")
        assert is_problem(answer, 400), (path_, answer.content)
        assert set(answer.json()["errors"]) == {field}


def test_a_member_nested_as_deep_as_is_allowed_is_stored_and_shown(api):
    config = json.loads('{"a":' * 99 + "[]" + "}" * 99)
    body = {"kind": "generic", "name": "deep", "config": config}
    answer = api.post("/api/v1/sources/", body, "application/json")
    assert answer.status_code == 201
    assert api.get(f"/api/v1/sources/{answer.json()['id']}/").json()["config"] == config


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "once"}])
def test_a_body_over_the_limit_is_too_large(api, headers):
    body = " " * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
    answer = api.post("/api/v1/tokens/", body, "application/json", headers=headers)
    assert is_problem(answer, 413)


def test_invalid_fields_are_named(api):
    answer = api.post("/api/v1/tokens/", {"name": "a b", "role": "god"}, "application/json")
    assert is_problem(answer, 400)
    assert set(answer.json()["errors"]) == {"name", "role"}


@pytest.mark.urls(__name__)
def test_a_crash_is_told_without_its_cause(api):
    for path_ in ("/api/crash/", "/api/plain/"):
        answer = api.get(path_)
        assert is_problem(answer, 500)
        assert SECRET not in answer.content.decode()
    page = api.get("/crash/", headers={"Accept": "text/html"})
    assert page.status_code == 500
    assert page.headers["Content-Type"].startswith("text/html")
    assert SECRET not in page.content.decode()
    assert "Traceback" not in page.content.decode()


def test_pages_that_do_not_exist_are_pages(client):
    page = client.get("/nothing/here/")
    assert page.status_code == 404
    assert page.headers["Content-Type"].startswith("text/html")


def test_a_post_without_csrf_token_is_refused(client):
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/login/", {"username": "a", "password": "b"}).status_code == 403


def test_a_session_needs_a_csrf_token_for_the_api(admin_user):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    ask = {"name": "x", "role": "viewer"}
    assert is_problem(strict.post("/api/v1/tokens/", ask, "application/json"), 403)


def test_lists_come_in_pages_by_cursor(api):
    for _ in range(3):
        make_token()
    page = api.get("/api/v1/tokens/?page_size=2").json()
    assert len(page["results"]) == 2
    rest = api.get(page["next"]).json()
    ids = [row["id"] for row in page["results"] + rest["results"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 4
