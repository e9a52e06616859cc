from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils.timezone import now
from hypothesis import given
from hypothesis import strategies as st

from incidentops.access import tokens
from incidentops.access.models import ApiToken, AuditEntry
from incidentops.access.roles import Role
from incidentops.realtime import channel
from tests.factories import make_token
from tests.narrowing import known

pytestmark = pytest.mark.django_db


@pytest.fixture
def revoked(monkeypatch):
    """The orders that reach the channel layer."""
    seen: list[str] = []
    monkeypatch.setattr(
        channel, "group_send", lambda group, message: seen.append(message["subject"])
    )
    return seen


def test_a_token_is_recognised_by_its_text_which_is_nowhere_kept():
    token, text = tokens.create("ci", Role.VIEWER)
    assert text.startswith("iop_")
    assert tokens.authenticate(text) == token
    kept = " ".join(str(value) for value in ApiToken.objects.values_list().get())
    assert text not in kept
    assert text not in str(list(AuditEntry.objects.values_list()))


@pytest.mark.parametrize("mistyped", [3, 10, 30, 39])
def test_a_mistyped_token_is_refused_without_asking_the_database(
    mistyped, django_assert_num_queries
):
    text = make_token()
    wrong = "0" if text[mistyped] != "0" else "1"
    with django_assert_num_queries(0):
        assert tokens.authenticate(text[:mistyped] + wrong + text[mistyped + 1 :]) is None


@given(st.text(max_size=60))
def test_no_text_breaks_recognition(text):
    assert tokens.authenticate(text) is None
    assert tokens.authenticate("iop_" + text) is None


def test_expired_and_revoked_tokens_are_refused():
    _, expired = tokens.create("old", Role.ADMIN, timedelta(seconds=-1))
    assert tokens.authenticate(expired) is None
    token, text = tokens.create("lost", Role.ADMIN)
    tokens.revoke(token, "ada")
    assert tokens.authenticate(text) is None


def test_a_revoked_name_can_be_used_again_and_one_in_use_cannot():
    token, _ = tokens.create("ci", Role.VIEWER)
    with pytest.raises(tokens.NameTaken):
        tokens.create("ci", Role.ADMIN)
    tokens.revoke(token, "ada")
    tokens.create("ci", Role.VIEWER)


def test_revoking_closes_the_sockets_of_the_token_and_is_recorded_once(
    revoked, django_capture_on_commit_callbacks
):
    token, _ = tokens.create("ci", Role.VIEWER)
    with django_capture_on_commit_callbacks(execute=True):
        tokens.revoke(token, "ada")
        tokens.revoke(token, "ada")
    assert revoked == [f"token:{token.pk}"]
    assert AuditEntry.objects.filter(action="token.revoke", actor="ada").count() == 1


def test_use_is_noted_at_most_once_a_minute(django_assert_num_queries):
    token, text = tokens.create("ci", Role.VIEWER)
    tokens.authenticate(text)
    token.refresh_from_db()
    first = token.last_used_at
    with django_assert_num_queries(1):
        tokens.authenticate(text)
    ApiToken.objects.update(last_used_at=now() - timedelta(minutes=2))
    tokens.authenticate(text)
    token.refresh_from_db()
    assert known(token.last_used_at) >= known(first)


def test_the_command_prints_only_the_token(capsys):
    call_command("token", "create", "--name", "ci", "--role", "viewer")
    text = capsys.readouterr().out
    assert known(tokens.authenticate(text.strip())).role == "viewer"
    assert text.count("\n") == 1
    call_command("token", "revoke", "--name", "ci")
    assert tokens.authenticate(text.strip()) is None
    with pytest.raises(CommandError, match="in use"):
        call_command("token", "revoke", "--name", "ci")


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def test_the_secret_is_shown_once(client):
    admin = make_token("admin")
    headers = {**bearer(admin), "Idempotency-Key": "k1"}
    ask = {"name": "new", "role": "responder", "expires_days": 3}
    made = client.post("/api/v1/tokens/", ask, "application/json", headers=headers)
    assert made.status_code == 201
    text = made.json()["token"]
    assert known(tokens.authenticate(text)).role == "responder"
    again = client.post("/api/v1/tokens/", ask, "application/json", headers=headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == {**made.json(), "token": None}
    listed = client.get("/api/v1/tokens/", headers=bearer(admin))
    assert text not in listed.content.decode()
    taken = client.post("/api/v1/tokens/", ask, "application/json", headers=bearer(admin))
    assert taken.status_code == 409
    gone = client.delete(f"/api/v1/tokens/{made.json()['id']}/", headers=bearer(admin))
    assert gone.status_code == 204
    assert client.get("/api/v1/tokens/", headers=bearer(text)).status_code == 401
    assert AuditEntry.objects.filter(action="token.revoke").get().actor.startswith("token:")


@pytest.mark.parametrize("text", ["", "x", "iop_x", "iop_" + "0" * 36, "ütf"])
def test_a_bad_token_is_told_so(client, text):
    answer = client.get("/api/v1/tokens/", headers={"Authorization": f"Bearer {text}"})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_bad_token_is_not_outweighed_by_a_session(admin_client):
    assert admin_client.get("/api/v1/tokens/").status_code == 200
    answer = admin_client.get("/api/v1/tokens/", headers={"Authorization": "Bearer iop_x"})
    assert answer.status_code == 401
