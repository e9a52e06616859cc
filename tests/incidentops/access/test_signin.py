from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections
from django.test import AsyncClient, Client
from django.utils.timezone import now

from incidentops.access import signin
from incidentops.access.models import AuditEntry, SignInLink
from incidentops.access.roles import Role, roles_of
from incidentops.realtime import channel
from tests.factories import make_user

pytestmark = pytest.mark.django_db
PASSWORD = "a-Long-pass-phrase"


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_the_first_start_makes_an_administrator_and_one_link():
    admin, link = signin.ensure_first_admin()
    assert roles_of(admin) == {Role.ADMIN}
    assert not admin.has_usable_password()
    assert link is not None
    again, no_link = signin.ensure_first_admin()
    assert again == admin
    assert no_link is None
    assert signin.ensure_first_admin(wants_link=True)[1] not in (None, link)


def test_a_configured_password_makes_a_link_needless(monkeypatch, client):
    monkeypatch.setenv("IOP_ADMIN_PASSWORD", PASSWORD)
    admin, link = signin.ensure_first_admin()
    assert link is None
    client.post("/login/", {"username": "admin", "password": PASSWORD})
    assert is_signed_in(client)
    admin.set_password("changed-by-somebody")
    admin.save()
    signin.ensure_first_admin()
    admin.refresh_from_db()
    assert admin.check_password("changed-by-somebody")


def test_a_password_configured_later_is_taken(monkeypatch):
    signin.ensure_first_admin()
    monkeypatch.setenv("IOP_ADMIN_PASSWORD", PASSWORD)
    assert signin.ensure_first_admin()[0].check_password(PASSWORD)


def test_looking_at_a_link_does_not_use_it_up(client):
    path = signin.create_link(make_user())
    for _ in range(3):
        page = client.get(path)
        assert page.status_code == 200
        assert page.headers["Referrer-Policy"] == "strict-origin"
        assert "no-store" in page.headers["Cache-Control"]
    assert not is_signed_in(client)
    answer = client.post(path)
    assert answer.status_code == 302
    assert is_signed_in(client)
    assert AuditEntry.objects.get(action="user.sign_in").detail == {"by": "link"}


def test_a_link_works_once_and_not_after_its_time(client):
    path = signin.create_link(make_user())
    client.post(path)
    other = Client()
    assert other.post(path).status_code == 410
    assert other.get(path).status_code == 410
    late = signin.create_link(make_user(), timedelta(minutes=1))
    SignInLink.objects.update(expires_at=now() - timedelta(seconds=1))
    assert other.post(late).status_code == 410
    assert other.post("/signin/guessed/").status_code == 410
    assert not is_signed_in(other)


def test_a_link_of_a_deactivated_user_is_closed(client):
    user = make_user()
    path = signin.create_link(user)
    User.objects.update(is_active=False)
    assert client.post(path).status_code == 410
    assert not is_signed_in(client)


@pytest.mark.django_db(transaction=True)
def test_of_many_who_click_at_once_one_is_signed_in():
    path = signin.create_link(make_user())
    barrier = threading.Barrier(6)

    def click(_: int) -> int:
        try:
            barrier.wait()
            return Client().post(path).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(click, range(6))) == [302] + [410] * 5


def test_signing_in_changes_the_session_key_and_lasts_twelve_hours(client):
    make_user(name="ada", password=PASSWORD)
    session = client.session
    session["before"] = 1
    session.save()
    before = client.session.session_key
    client.post("/login/", {"username": "ada", "password": PASSWORD})
    assert client.session.session_key != before
    assert client.cookies["sessionid"]["max-age"] == 12 * 60 * 60
    assert client.cookies["sessionid"]["httponly"]


def test_one_is_led_back_to_the_page_one_wanted_but_to_no_other_site(client):
    make_user(name="ada", password=PASSWORD)
    credentials = {"username": "ada", "password": PASSWORD}
    answer = client.post("/login/?next=/incidents/7/", {**credentials, "next": "/incidents/7/"})
    assert answer.headers["Location"] == "/incidents/7/"
    elsewhere = Client().post("/login/", {**credentials, "next": "https://evil.example/"})
    assert elsewhere.headers["Location"] == "/ops"


def test_after_five_failures_the_name_is_locked_for_that_address(client):
    make_user(name="ada", password=PASSWORD)
    wrong = {"username": "ada", "password": "wrong"}
    answers = [client.post("/login/", wrong) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429]
    right = {"username": "ada", "password": PASSWORD}
    locked = client.post("/login/", right)
    assert locked.status_code == 429
    assert int(locked.headers["Retry-After"]) == 900
    assert not is_signed_in(client)
    elsewhere = Client(REMOTE_ADDR="10.0.0.9")
    elsewhere.post("/login/", right)
    assert is_signed_in(elsewhere)


@pytest.mark.django_db(transaction=True)
def test_the_lock_works_behind_asgi():
    make_user(name="ada", password=PASSWORD)

    async def attempts() -> list[int]:
        client = AsyncClient()
        wrong = {"username": "ada", "password": "wrong"}
        return [(await client.post("/login/", wrong)).status_code for _ in range(6)]

    assert async_to_sync(attempts)()[-2:] == [429, 429]


def test_signing_out_takes_a_post_and_is_recorded(client):
    client.force_login(make_user())
    assert client.get("/logout/").status_code == 405
    assert is_signed_in(client)
    assert client.post("/logout/").headers["Location"] == "/login/"
    assert not is_signed_in(client)
    assert AuditEntry.objects.get().action == "user.sign_out"


def test_the_admin_site_has_no_second_login_page(client):
    answer = client.get("/admin/login/?next=/admin/auth/user/")
    assert answer.headers["Location"] == "/login/?next=/admin/auth/user/"
    posted = client.post("/admin/login/", {"username": "a", "password": "b"})
    assert posted.status_code == 401


def test_the_command_prints_a_link_that_works(capsys, client, settings):
    make_user(name="ada", password=PASSWORD)
    call_command("signin_link", "--user", "ada")
    url = capsys.readouterr().out.strip()
    assert url.startswith(settings.PUBLIC_URL)
    client.post(url.removeprefix(settings.PUBLIC_URL))
    assert is_signed_in(client)


@pytest.fixture
def revoked(monkeypatch):
    seen: list[str] = []
    monkeypatch.setattr(
        channel, "group_send", lambda group, message: seen.append(message["subject"])
    )
    return seen


def change_password(user: User) -> None:
    user.set_password("another-Long-one")
    user.save()


def deactivate(user: User) -> None:
    user.is_active = False
    user.save()


@pytest.mark.parametrize(
    "change",
    [
        change_password,
        deactivate,
        lambda user: user.groups.clear(),
        lambda user: user.groups.remove(user.groups.get()),
        lambda user: user.groups.get().user_set.clear(),
        lambda user: user.groups.get().delete(),
        lambda user: user.delete(),
    ],
    ids=[
        "password",
        "deactivated",
        "no roles",
        "role taken",
        "group emptied",
        "group gone",
        "gone",
    ],
)
def test_sockets_close_when_rights_change(change, revoked, django_capture_on_commit_callbacks):
    user = make_user()
    key = user.pk
    with django_capture_on_commit_callbacks(execute=True):
        change(user)
    assert f"user:{key}" in revoked


def test_sockets_close_at_sign_out_and_stay_at_harmless_changes(
    revoked, client, django_capture_on_commit_callbacks
):
    user = make_user()
    with django_capture_on_commit_callbacks(execute=True):
        client.force_login(user)
        user.first_name = "Ada"
        user.save()
    assert revoked == []
    with django_capture_on_commit_callbacks(execute=True):
        client.post("/logout/")
    assert revoked == [f"user:{user.pk}"]
