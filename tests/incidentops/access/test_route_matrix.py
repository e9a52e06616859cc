"""Every route, every kind of caller, every method."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta
from functools import partial

import pytest
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import get_resolver, path
from rest_framework.views import APIView

from incidentops.access import roles
from incidentops.access import routes as product
from incidentops.access.permissions import Access, reading
from incidentops.access.roles import Role
from tests.factories import make_token, make_user
from tests.incidentops.access.routes import PUBLIC, ROUTES

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
NOBODY = ("anonymous", "expired token")
CALLERS = (*NOBODY, *(role.value for role in Role))

FOUND = list(product.routes())
OWN = {route.name: route for route in FOUND if not product.is_admin(route.view)}
ADMIN = [route for route in FOUND if product.is_admin(route.view)]


def intended(name: str) -> dict[str, str]:
    return dict(pair.split() for pair in ROUTES[name].split(", "))


def declared(access: Access | None) -> str:
    if access is None:
        return "undeclared"
    if access.public:
        return PUBLIC
    return ", ".join(f"{method} {right}" for method, right in access.by_method.items())


def test_every_route_has_a_name_of_its_own():
    names = Counter(route.name for route in FOUND if not product.is_admin(route.view))
    assert not names[""], [route.pattern for route in FOUND if not route.name]
    assert [name for name, count in names.items() if count > 1] == []


def test_every_route_demands_what_the_table_says():
    declarations = {name: declared(route.access) for name, route in OWN.items()}
    assert declarations == ROUTES, "Change tests/incidentops/access/routes.py if it is intended."


def test_public_routes_say_why():
    for route in OWN.values():
        if route.access is not None and route.access.public:
            assert len(route.access.reason) > 10, route.pattern


def test_every_role_may_see_the_pages_and_none_may_everything_but_the_administrator():
    everything = roles.ALL_PERMISSIONS
    assert [role for role in Role if roles.PERMISSIONS[role] == everything] == [Role.ADMIN]
    for role in Role:
        assert {"dashboard.view", "incident.view"} <= roles.PERMISSIONS[role]
    assert "approval.decide" not in roles.PERMISSIONS[Role.RESPONDER]
    read_only = roles.PERMISSIONS[Role.VIEWER] | roles.PERMISSIONS[Role.AUDITOR]
    assert {right for right in read_only if not right.endswith(".view")} == set()


def url_of(name: str) -> str:
    ((possibility, _, _, _),) = get_resolver().reverse_dict.getlist(name)
    shape, parameters = min(possibility, key=lambda each: len(each[1]))
    filled: str = shape % dict.fromkeys(parameters, "999999")
    return f"/{filled}"


def client_of(caller: str, *, by_token: bool) -> Client:
    new_client = partial(Client, raise_request_exception=False)
    if caller == "expired token":
        text = make_token("admin", expires_in=timedelta(seconds=-1))
        return new_client(headers={"Authorization": f"Bearer {text}"})
    if caller == "anonymous":
        return new_client()
    if by_token:
        return new_client(headers={"Authorization": f"Bearer {make_token(caller)}"})
    client = new_client()
    client.force_login(make_user(caller))
    return client


def is_refused(answer: HttpResponseBase, caller: str) -> bool:
    if caller in NOBODY:
        is_led_to_login = answer.status_code == 302 and answer.headers["Location"].startswith(
            "/login/?next="
        )
        return answer.status_code == 401 or is_led_to_login
    return answer.status_code == 403


def may(caller: str, rights: dict[str, str], method: str) -> bool:
    """By the table; a method it does not name is left to those who may call the route at all."""
    needed = rights.get(method) or rights.get("GET") or next(iter(rights.values()))
    return caller not in NOBODY and needed in roles.PERMISSIONS[Role(caller)]


@pytest.mark.django_db
@pytest.mark.parametrize("caller", CALLERS)
def test_every_route_admits_exactly_whom_it_should(caller):
    by_session, by_token = (client_of(caller, by_token=each) for each in (False, True))
    wrong = []
    for name in (name for name in ROUTES if ROUTES[name] != PUBLIC and name in OWN):
        rights, url = intended(name), url_of(name)
        client = by_token if product.is_rest(OWN[name].view) else by_session
        for method in METHODS:
            body = "" if method == "GET" else "{}"
            answer = client.generic(method, url, body, content_type="application/json")
            if not is_as_intended(answer, caller, rights, method):
                wrong.append(f"{method} {url} by {caller}: {answer.status_code}")
    assert wrong == []


def is_as_intended(
    answer: HttpResponseBase, caller: str, rights: dict[str, str], method: str
) -> bool:
    if answer.status_code >= 500:
        return False
    if not may(caller, rights, method):
        return is_refused(answer, caller)
    if method in rights:
        return answer.status_code not in (401, 403, 405)
    # A view set may refuse by what its other routes demand.
    return answer.status_code in (403, 405)


@pytest.mark.django_db
@pytest.mark.parametrize("name", [name for name in ROUTES if ROUTES[name] == PUBLIC])
def test_a_public_route_survives_strangers(name):
    client = client_of("anonymous", by_token=False)
    for method in METHODS:
        answer = client.generic(method, url_of(name), "{}", content_type="application/json")
        # A probe may say that the system is not ready.
        assert answer.status_code < 500 or name == "readyz", f"{method} {name}"


@pytest.mark.django_db
@pytest.mark.parametrize("caller", ["anonymous", "approver", "auditor"])
def test_the_admin_site_is_for_administrators_and_shown_to_auditors(caller):
    """One rule serves the whole site, so the most powerful of the other roles stands for them."""
    for role in (Role.VIEWER, Role.RESPONDER):
        assert roles.PERMISSIONS[role] < roles.PERMISSIONS[Role.APPROVER]
    client = client_of(caller, by_token=False)
    headers = {} if caller == "auditor" else {"Accept": "application/json"}
    for route in ADMIN:
        if route.name in product.OWN_ACCOUNT:
            continue
        url = "/" + re.sub(r"<[^>]+>", "999999", route.pattern.removesuffix("(?P<url>.*)$"))
        for method in ("GET", "POST"):
            answer = client.generic(method, url, headers=headers)
            seen = f"{method} {url} by {caller}: {answer.status_code}"
            if caller != "auditor":
                assert is_refused(answer, caller), seen
            elif method == "POST":
                assert answer.status_code == 403, seen
            else:
                assert answer.status_code < 500, seen


@pytest.mark.django_db
def test_an_administrator_can_open_every_list_of_the_admin_site():
    client = client_of("admin", by_token=False)
    for route in ADMIN:
        if "<" not in route.pattern and route.name not in product.OWN_ACCOUNT:
            answer = client.get("/" + route.pattern)
            # 403: history, which nobody adds to by hand.
            assert answer.status_code in (200, 302, 400, 403), route.pattern
            assert answer.status_code == 200 or not route.name.endswith("changelist"), route.pattern


def undeclared(request):
    return HttpResponse("reached")


class Undeclared(APIView):
    def get(self, request):
        return HttpResponse("reached")


class Unasked(APIView):
    access = reading("dashboard.view")
    permission_classes = ()


urlpatterns = [
    path("page/", undeclared),
    path("api/rest/", Undeclared.as_view()),
    path("api/unasked/", Unasked.as_view()),
]


@pytest.mark.django_db
@pytest.mark.urls(__name__)
def test_a_view_that_declares_nothing_is_refused_to_everybody():
    for caller in ("anonymous", "admin"):
        client = client_of(caller, by_token=False)
        assert client.get("/page/").status_code == 403
        assert client.get("/api/rest/").status_code == 403
    assert client_of("admin", by_token=True).get("/api/rest/").status_code == 403


@pytest.mark.urls(__name__)
def test_the_system_check_names_undeclared_routes():
    found = [
        (error.id, re.findall("'(.*?)'", error.msg)[0]) for error in product.check_declarations()
    ]
    assert found == [
        ("access.E001", "page/"),
        ("access.E001", "api/rest/"),
        ("access.E002", "api/unasked/"),
    ]


def test_the_product_passes_the_system_check():
    assert product.check_declarations() == []


@pytest.mark.django_db
def test_people_are_led_to_the_login_page_and_programs_are_told(client):
    page = client.get("/ops?x=1", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.status_code == 302
    assert page.headers["Location"] == "/login/?next=/ops%3Fx%3D1"
    for accepts in ("*/*", "application/json"):
        answer = client.get("/ops", headers={"Accept": accepts})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert client.post("/ops").status_code == 401


@pytest.mark.django_db
def test_a_token_opens_pages_too(client):
    headers = {"Authorization": f"Bearer {make_token('viewer')}"}
    assert client.get("/ops", headers=headers).status_code == 200


def test_head_and_options_need_what_get_needs():
    rule = reading("a", POST="b")
    assert rule.permission_for("HEAD") == rule.permission_for("OPTIONS") == "a"
