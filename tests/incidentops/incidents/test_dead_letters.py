from __future__ import annotations

import pytest
from django.test import Client

from incidentops.access.models import AuditEntry
from incidentops.incidents import deadletters, sources
from incidentops.incidents.models import Alert, DeadLetter, Delivery, Source
from incidentops.incidents.payloads import Malformed
from tests.factories import make_source, make_user

pytestmark = pytest.mark.django_db


def bury(source: Source, body: bytes = b'{"headline": "x"}') -> DeadLetter:
    return deadletters.bury(source, body, Malformed("title", "is missing"))


def test_a_dead_body_is_kept_once_and_counted() -> None:
    source = make_source("generic")
    assert bury(source).pk == bury(source).pk
    assert DeadLetter.objects.get().count == 2
    assert bury(make_source("generic")).count == 1


def test_only_the_newest_dead_bodies_of_a_source_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadletters, "KEPT_PER_SOURCE", 3)
    source, other = make_source(), make_source()
    bury(other)
    letters = [bury(source, b'{"n": %d}' % number) for number in range(5)]
    kept = DeadLetter.objects.filter(source=source).order_by("id")
    assert list(kept.values_list("id", flat=True)) == [letter.pk for letter in letters[2:]]
    assert DeadLetter.objects.filter(source=other).count() == 1


def test_a_body_is_taken_in_once_its_source_can_read_it() -> None:
    source = make_source("generic")
    letter = bury(source)
    with pytest.raises(Malformed):
        deadletters.requeue(letter, by="ann")
    sources.change(source, by="ann", config={"mapping": {"title": "headline"}})
    for _ in range(2):
        letter = deadletters.requeue(letter, by="ann")
        assert (letter.state, letter.delivery) == ("requeued", Delivery.objects.get())
        assert Alert.objects.get().title == "x"
    entry = AuditEntry.objects.get(action="dead_letter.requeue")
    assert (entry.actor, entry.target) == ("ann", f"dead_letter:{letter.pk}")


def test_a_body_that_dies_again_tells_the_reason_of_today() -> None:
    letter = bury(make_source("generic"), b'{"title": "x", "status": "odd"}')
    with pytest.raises(Malformed):
        deadletters.requeue(letter, by="ann")
    letter.refresh_from_db()
    assert (letter.state, letter.field) == ("dead", "status")


def test_a_body_that_dies_after_it_was_requeued_is_kept_again() -> None:
    source = make_source("generic")
    first = bury(source, b'{"title": "x"}')
    deadletters.requeue(first, by="ann")
    assert bury(source, b'{"title": "x"}').pk != first.pk


def test_admins_list_and_requeue_dead_bodies(client: Client) -> None:
    source = make_source("generic")
    letter = bury(source)
    url = f"/api/v1/dead-letters/{letter.pk}/requeue/"
    client.force_login(make_user("auditor"))
    (row,) = client.get(f"/api/v1/dead-letters/?state=dead&source={source.pk}").json()["results"]
    assert (row["id"], row["field"], row["body"]) == (letter.pk, "title", '{"headline": "x"}')
    assert client.get(f"/api/v1/dead-letters/{letter.pk}/").json()["reason"] == "is missing"
    assert client.post(url).status_code == 403
    client.force_login(make_user("admin"))
    refused = client.post(url)
    assert refused.status_code == 409
    assert "title" in refused.json()["detail"]
    sources.change(source, by="ann", config={"mapping": {"title": "headline"}})
    assert client.post(url).json()["state"] == "requeued"
    assert client.post("/api/v1/dead-letters/999999/requeue/").status_code == 404


def test_others_may_not_read_dead_bodies(client: Client) -> None:
    client.force_login(make_user("responder"))
    assert client.get("/api/v1/dead-letters/").status_code == 403
