from __future__ import annotations

import pytest

from incidentops.access.models import AuditEntry
from incidentops.notifications.models import Notification
from tests.factories import make_user

pytestmark = pytest.mark.django_db
LIST = "/admin/notifications/notification/"


def sign_in(client, role: str) -> None:
    user = make_user(role)
    user.is_staff = True
    user.save()
    client.force_login(user)


def make_notification(**fields) -> Notification:
    return Notification.objects.create(
        **{
            "key": "k",
            "audience": "responders",
            "transport": "email",
            "recipient": "ann@example.org",
            "subject": "Checkout is slow",
            "body": "text",
            "provider": "local",
            "state": Notification.State.FAILED,
            **fields,
        }
    )


def test_notifications_are_read_and_not_written(client):
    sign_in(client, "admin")
    row = make_notification()
    assert client.get(LIST).status_code == 200
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{row.pk}/change/", {"subject": "x"}).status_code == 403
    assert client.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_addresses_are_shown_to_those_who_may_and_masked_on_the_list(client):
    row = make_notification()
    sign_in(client, "admin")
    assert "ann@example.org" in client.get(f"{LIST}{row.pk}/change/").content.decode()
    assert "ann@example.org" not in client.get(LIST).content.decode()


def test_what_failed_for_good_can_be_sent_again(client):
    sign_in(client, "admin")
    row, sent = make_notification(), make_notification(key="s", state=Notification.State.SENT)
    form = {"action": "send_again", "_selected_action": [row.pk, sent.pk]}
    assert client.post(LIST, form).status_code == 302
    row.refresh_from_db()
    sent.refresh_from_db()
    assert (row.state, sent.state) == (Notification.State.PENDING, Notification.State.SENT)
    assert row.due_at is not None
    assert AuditEntry.objects.filter(action="notification.send_again").count() == 1
