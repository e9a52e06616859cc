"""Questions about an incident: how they come, who may ask, and how answers are shown."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from incidentops.access.models import AuditEntry
from incidentops.incidents import questions, topics
from incidentops.incidents.models import Incident, Question, TimelineEntry
from incidentops.incidents.questions import LONGEST, MOST_WAITING, Source
from incidentops.realtime import outbox
from incidentops.realtime.models import OutboxEvent, TopicEntry
from tests.factories import make_incident, make_question, make_token, make_user
from tests.narrowing import known

pytestmark = pytest.mark.django_db
LEASE = timedelta(minutes=5)


def client_of(role: str) -> Client:
    headers: Any = {"Authorization": f"Bearer {make_token(role)}"}
    return Client(headers=headers)


def url_of(incident: Incident) -> str:
    return f"/api/v1/incidents/{incident.number}/questions/"


def post(client: Client, incident: Incident, text: object, **headers: str) -> Any:
    return client.post(url_of(incident), {"text": text}, "application/json", headers=headers)


def answer(question: Question, text: str, *, note: str = "", uri: str = "/incidents/1/") -> None:
    claimed = known(questions.claim(question.pk, lease=LEASE))
    source = Source(id="change-1", title="change <b>", uri=uri)
    assert questions.record_answer(
        claimed, text=text, sources=[source], provider="local", call=7, note=note
    )


# --- Asking --------------------------------------------------------------------------------------


def test_a_question_is_kept_told_audited_and_published():
    incident, client = make_incident(), client_of("responder")
    told = post(client, incident, "  What changed? ")
    assert told.status_code == 202, told.json()
    row = told.json()
    assert (row["text"], row["state"], row["answer"]) == ("What changed?", "waiting", "")
    assert told.headers["Location"] == row["url"]
    assert client.get(row["url"]).json() == row
    entry = TimelineEntry.objects.get(kind="question.asked")
    assert entry.text.endswith(" asked: What changed?")
    audited = AuditEntry.objects.get(action="question.asked")
    assert (audited.target, audited.detail) == (f"incident:{incident.pk}", {"question": row["id"]})
    event = OutboxEvent.objects.get(type="incident.updated")
    assert event.data["change"] == "question.asked"
    assert event.data["entry"]["detail"] == {"question": row["id"]}


@pytest.mark.parametrize("text", ["", "  ", "x" * (LONGEST + 1), None, ["a"], "a\x00b"])
def test_what_is_no_question_is_refused_by_the_name_of_its_field(text):
    told = post(client_of("responder"), make_incident(), text)
    assert told.status_code == 400
    assert told.headers["Content-Type"] == "application/problem+json"
    assert list(told.json()["errors"]) == ["text"]
    assert not Question.objects.exists()
    assert not OutboxEvent.objects.exists()


def test_a_question_of_exactly_two_thousand_characters_is_taken():
    assert post(client_of("responder"), make_incident(), "ä" * LONGEST).status_code == 202


def test_only_so_many_questions_wait_and_the_next_is_told_when_to_come_again():
    incident, client = make_incident(), client_of("responder")
    waiting = [make_question(incident) for _ in range(MOST_WAITING)]
    told = post(client, incident, "One more?", **{"Idempotency-Key": "k1"})
    assert told.status_code == 429
    assert told.headers["Retry-After"] == "15"
    assert "5 questions" in told.json()["detail"]
    assert post(client, make_incident(), "Of another incident?").status_code == 202
    answer(waiting[0], "So it is.")
    assert post(client, incident, "One more?", **{"Idempotency-Key": "k1"}).status_code == 202


@pytest.mark.django_db(transaction=True)
def test_the_last_place_is_given_once():
    incident = make_incident()
    for _ in range(MOST_WAITING - 1):
        make_question(incident)
    barrier, refused = threading.Barrier(4), []

    def ask() -> None:
        try:
            barrier.wait()
            make_question(incident)
        except questions.TooMany as error:
            refused.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    assert incident.questions.count() == MOST_WAITING


def test_a_repeated_question_with_its_key_is_asked_once():
    incident, client = make_incident(), client_of("responder")
    first, second = (
        post(client, incident, "What changed?", **{"Idempotency-Key": "k1"}) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert first.json() == second.json()
    assert Question.objects.count() == 1
    assert post(client, incident, "Another?", **{"Idempotency-Key": "k1"}).status_code == 422


def test_viewers_read_responders_ask_and_strangers_do_neither():
    question = make_question()
    url = url_of(question.incident)
    for reader in ("viewer", "auditor"):
        client = client_of(reader)
        assert client.get(url).status_code == client.get(question.url).status_code == 200
        assert post(client, question.incident, "Why?").status_code == 403
    stranger = Client()
    assert stranger.get(url).status_code == stranger.get(question.url).status_code == 401
    assert post(stranger, question.incident, "Why?").status_code == 401
    assert client_of("responder").delete(question.url).status_code == 405
    assert Question.objects.count() == 1


def test_a_question_is_found_under_its_own_incident_alone():
    question, client = make_question(), client_of("viewer")
    assert client.get(f"{url_of(make_incident())}{question.pk}/").status_code == 404
    assert client.get("/api/v1/incidents/424242/questions/").status_code == 404


def test_questions_are_listed_newest_first_and_by_state():
    incident = make_incident()
    first, second = make_question(incident), make_question(incident)
    make_question()
    answer(first, "So it is.")
    client = client_of("viewer")
    rows = client.get(url_of(incident)).json()["results"]
    assert [row["id"] for row in rows] == [second.pk, first.pk]
    waiting = client.get(f"{url_of(incident)}?state=waiting").json()["results"]
    assert [row["id"] for row in waiting] == [second.pk]


# --- Answers -------------------------------------------------------------------------------------


def test_an_answer_is_kept_and_told_once_and_stays_off_the_story():
    question = make_question(text="What changed?")
    answer(question, "A deploy. [change-1]", note="A budget is spent.")
    assert questions.claim(question.pk, lease=LEASE) is None
    (row,) = topics.questions(f"incident:{question.incident_id}")
    assert (row["state"], row["provider"], row["call"]) == ("answered", "local", 7)
    assert (row["answer"], row["note"]) == ("A deploy. [change-1]", "A budget is spent.")
    entry = TimelineEntry.objects.get(kind="question.answered")
    # What an assistant wrote is no part of what happened.
    assert (entry.actor, entry.text) == ("answering", "A question of ada was answered.")
    assert not AuditEntry.objects.filter(action="question.answered").exists()


def test_an_answer_reaches_the_open_page():
    question = make_question()
    outbox.relay()
    answer(question, "So it is.")
    outbox.relay()
    entries = TopicEntry.objects.filter(topic=f"incident:{question.incident_id}").order_by(
        "position"
    )
    changes = [entry.event.data["change"] for entry in entries.select_related("event")]
    assert changes == ["question.asked", "question.answered"]
    shown = topics.questions(f"incident:{question.incident_id}")
    assert [row["answer"] for row in shown] == ["So it is."]


def test_why_nobody_answers_is_kept():
    question = make_question()
    claimed = known(questions.claim(question.pk, lease=LEASE))
    assert questions.record_failure(claimed, reason="The guard forbids it.")
    (row,) = topics.questions(f"incident:{question.incident_id}")
    assert (row["state"], row["reason"]) == ("failed", "The guard forbids it.")


# --- The page and the admin ----------------------------------------------------------------------


def page_of(incident: Incident, role: str = "responder") -> str:
    client = Client()
    client.force_login(make_user(role))
    return client.get(f"/incidents/{incident.number}/").content.decode()


def test_the_page_shows_questions_and_answers_as_text():
    incident = make_incident()
    question = make_question(incident, text="Is <script>alert(1)</script> bad?")
    answer(question, "Yes, <img src=x onerror=alert(1)> [change-1]", note="Said <i>locally</i>.")
    bad = make_question(incident)
    answer(bad, "See [change-1]", uri="javascript:alert(1)")
    page = page_of(incident)
    for shown in (
        f'id="question-{question.pk}"',
        "Is &lt;script&gt;alert(1)&lt;/script&gt; bad?",
        "Yes, &lt;img src=x onerror=alert(1)&gt; [change-1]",
        "Said &lt;i&gt;locally&lt;/i&gt;.",
        '<a href="/incidents/1/">change &lt;b&gt;</a>',
        "Local provider",
    ):
        assert shown in page, shown
    assert 'href="javascript' not in page
    assert "<script>alert" not in page


def test_the_page_offers_viewers_no_form():
    incident = make_incident()
    make_question(incident, text="What changed?")
    page = page_of(incident, "viewer")
    assert "What changed?" in page
    assert "/ask/" not in page


def test_people_ask_on_the_page_without_scripts():
    incident, client = make_incident(), Client()
    client.force_login(make_user("responder", name="ada"))
    url = f"/incidents/{incident.number}/ask/"
    told = client.post(url, {"text": "What changed?"}, follow=True).content.decode()
    assert "Asked. The answer comes soon" in told
    question = Question.objects.get()
    assert (question.text, question.asked_by) == ("What changed?", "ada")
    assert "text: This field is required." in client.post(url, {}, follow=True).content.decode()
    for _ in range(MOST_WAITING - 1):
        make_question(incident)
    full = client.post(url, {"text": "And?"}, follow=True).content.decode()
    assert "Ask was not possible. 5 questions" in full
    assert Question.objects.count() == MOST_WAITING


def test_older_questions_are_only_a_link_away(monkeypatch):
    monkeypatch.setattr("incidentops.incidents.topics.QUESTIONS_SHOWN", 1)
    monkeypatch.setattr("incidentops.incidents.pages.QUESTIONS_SHOWN", 1)
    incident = make_incident()
    assert "all questions" not in page_of(incident)
    make_question(incident, text="The older one")
    make_question(incident, text="The newer one")
    page = page_of(incident)
    assert "all questions" in page
    assert len(topics.questions(f"incident:{incident.number}")) == 1


def test_the_admin_shows_questions_and_changes_none():
    question, client = make_question(text="What changed?"), Client()
    client.force_login(make_user("admin"))
    root = "/admin/incidents/question/"
    assert "What changed?" in client.get(root).content.decode()
    assert client.get(f"{root}{question.pk}/change/").status_code == 200
    assert client.post(f"{root}{question.pk}/change/", {"text": "x"}).status_code == 403
    assert client.post(f"{root}{question.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.get(f"{root}add/").status_code == 403
