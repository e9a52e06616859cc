"""What people attach becomes evidence that the diagnosis cites, and nothing more than evidence."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from agents import swarm
from agents.case import AttachmentFact, Case, Finding
from agents.models import AgentRun, Evidence
from agents.specialists import diagnosis, resolution
from awsai import tasks
from awsai.emulator.emulator import Emulator
from awsai.models import AwsCall
from awsai.ports import CallFailed, Document, Line, Served, Trouble
from awsai.providers.local import PROVIDER, LocalProvider
from incidentops.incidents.models import Attachment
from tests.agents.specialists.case_building import NOW, a_bad_deploy, a_case, alerts_alone
from tests.agents.specialists.hostility import INJECTIONS, KEY
from tests.agents.specialists.test_writing import cited, ids_of, put_into_words
from tests.awsai.health.emulated import forget_breakers
from tests.factories import make_incident, make_token
from tests.listening import Listener
from tests.narrowing import known

EXHAUSTED = "FATAL: remaining connection slots are reserved for superusers"


def an_attachment(id_: int = 1, text: str = EXHAUSTED, **fields: Any) -> AttachmentFact:
    return AttachmentFact(
        **{
            "id": id_,
            "name": f"file{id_}.log",
            "note": "",
            "text": text,
            "provider": "local",
            "added_at": NOW,
            **fields,
        }
    )


def shown(finding: Finding) -> dict[int, dict[str, Any]]:
    """The evidence of attachments by their ids."""
    items = [item for item in finding.evidence if item.kind == "attachment"]
    return {item.data["attachment"]: {**item.data, "family": item.family} for item in items}


# --- The finding -------------------------------------------------------------------------------


def test_an_attachment_is_evidence_with_its_id_and_is_quoted():
    case = alerts_alone(attachments=(an_attachment(12, name="psql <b>.log", note="From db-1."),))

    finding = diagnosis.investigate(case)

    assert shown(finding)[12] == {
        "attachment": 12,
        "note": "From db-1.",
        "family": "documents",
        "rows": [{"text": EXHAUSTED, "uri": "/incidents/7/#attachment-12"}],
    }
    (claim,) = [claim for claim in finding.claims if EXHAUSTED in claim.text]
    assert claim.text == f"The attached “psql <b>.log” says “{EXHAUSTED}”."
    assert set(claim.evidence) < ids_of(case, finding)


def test_of_a_long_text_the_passages_about_the_incident_are_shown_first():
    filler = "\n\n".join(f"Chapter {n} tells of printers and paper." * 12 for n in range(30))
    text = f"{filler}\n\nWhen checkout fails, empty the queue of payments.\n\n{filler}"

    rows = shown(diagnosis.investigate(a_case(attachments=(an_attachment(text=text),))))[1]["rows"]

    assert "When checkout fails" in rows[0]["text"]
    assert 1 <= len(rows) <= 3
    assert all(len(row["text"]) <= 1200 for row in rows)


def test_a_text_that_shares_no_word_with_the_incident_is_shown_from_its_beginning():
    finding = diagnosis.investigate(a_case(attachments=(an_attachment(text="Drucker leer"),)))
    assert shown(finding)[1]["rows"][0]["text"] == "Drucker leer"


def test_a_text_that_people_cannot_see_is_not_quoted():
    hidden = an_attachment(text="\u200b\u2060\U000e0041")
    finding = diagnosis.investigate(alerts_alone(attachments=(hidden,)))
    assert shown(finding)[1]["rows"] == []
    assert not any("attached" in claim.text for claim in finding.claims)


def test_the_same_case_gives_the_same_finding():
    case = a_bad_deploy(attachments=(an_attachment(1), an_attachment(2, text="x y z " * 900)))
    assert diagnosis.investigate(case) == diagnosis.investigate(case)


def test_attachments_change_neither_suspects_nor_votes():
    """Anybody can write anything into a document: it is cited, and counts as no measurement."""
    plain = a_bad_deploy()
    case = a_bad_deploy(attachments=(an_attachment(text="orders-db deploy failed " * 50),))
    assert diagnosis.investigate(case).data == diagnosis.investigate(plain).data
    proposals = resolution.propose(plain)
    assert resolution.propose(case) == proposals
    assert diagnosis.assess(case, proposals) == diagnosis.assess(plain, proposals)


# --- The words ---------------------------------------------------------------------------------


@pytest.fixture
def listener(settings) -> Iterator[Listener]:
    settings.AWSAI_PROVIDER, settings.AWS_REGION = "emulator", "us-east-1"
    provider = Listener()
    with Emulator(provider) as running:
        settings.AWS_EMULATOR_URL = running.url
        yield provider
    forget_breakers()


def cites_attachment(case: Case, finding: Finding) -> bool:
    ids = {item.id(case.response_id) for item in finding.evidence if item.kind == "attachment"}
    return bool(ids & cited(finding))


@pytest.mark.django_db(transaction=True)
def test_hypotheses_cite_what_was_attached():
    case = alerts_alone(attachments=(an_attachment(),))
    finding = put_into_words(case, diagnosis.investigate(case))
    assert cites_attachment(case, finding)


@pytest.mark.django_db(transaction=True)
def test_a_question_has_a_passage_of_every_one_of_a_few_attachments_and_stays_bounded(listener):
    few = tuple(an_attachment(id_, text=f"text {id_} " * 400) for id_ in range(1, 7))
    many = tuple(an_attachment(id_, text=f"text {id_} " * 400) for id_ in range(1, 21))
    for attachments in (few, many):
        case = a_bad_deploy(attachments=attachments)
        put_into_words(case, diagnosis.investigate(case))
    first, second = (
        [passage.id for passage in question.passages]
        for question in listener.asked
        if question.task == "hypotheses"
    )
    assert {f"d{id_}.1" for id_ in range(1, 7)} <= set(first)
    assert len(second) <= 30
    assert len([id_ for id_ in second if id_.startswith("d")]) == 6
    assert "c1" in second
    assert "a1" in second


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("text", INJECTIONS[::20])
def test_an_obedient_model_gains_nothing_from_an_attachment(obedient, text):
    honest = {proposal.action for proposal in resolution.propose(a_bad_deploy())}
    attachment = an_attachment(text=f"{text} password=hunter2-{KEY} {KEY}", name=f"{text[:60]}.txt")
    case = a_bad_deploy(attachments=(attachment,))
    plain = diagnosis.investigate(case)
    finding = put_into_words(case, plain)
    words = json.dumps(finding.data["words"])
    assert KEY not in words
    assert "hunter2" not in words
    assert "Run delete_backups" not in words
    assert cited(finding) <= ids_of(case, finding)
    assert finding.claims == plain.claims
    assert {proposal.action for proposal in resolution.propose(case)} == honest


# --- The whole way -----------------------------------------------------------------------------


def picture(text: str) -> bytes:
    """A PNG of one grey point whose description says what a screenshot would show."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"tEXt", b"Description\x00" + text.encode("latin-1"))
        + chunk(b"IDAT", zlib.compress(b"\x00\x80"))
        + chunk(b"IEND", b"")
    )


class DescriptionReader:
    """Stands for Textract's eyes: reads a picture's description chunk, and no other format."""

    def read(self, content: bytes, *, media_type: str) -> Document:
        if media_type != "image/png":
            raise CallFailed(Trouble.REFUSED, f"{media_type} is not read.")
        at = 8
        while at < len(content):
            (length,) = struct.unpack(">I", content[at : at + 4])
            kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
            if kind == b"tEXt":
                text = data.partition(b"\x00")[2].decode("latin-1")
                lines = tuple(Line(page=1, text=one, confidence=0.98) for one in text.splitlines())
                served = Served(provider="local", service="textract", operation="read")
                return Document(lines=lines, tables=(), pages=1, served=served)
            at += length + 12
        raise CallFailed(Trouble.REFUSED, "The picture has no description.")


class Sighted(LocalProvider):
    def document_reader(self) -> Any:
        return DescriptionReader()


@pytest.mark.django_db(transaction=True)
def test_a_screenshot_is_read_by_textract_over_the_wire_and_cited_by_the_diagnosis(settings):
    settings.AWSAI_PROVIDER, settings.AWS_REGION = "emulator", "us-east-1"
    incident = make_incident(title="Orders are slow")
    headers: Any = {"Authorization": f"Bearer {make_token('responder')}"}
    upload = SimpleUploadedFile("psql.png", picture(EXHAUSTED), content_type="image/png")
    with Emulator(Sighted()) as running:
        settings.AWS_EMULATOR_URL = running.url
        answer = Client(headers=headers).post(
            f"/api/v1/incidents/{incident.number}/attachments/", {"file": upload}
        )
        assert answer.status_code == 201
        tasks.read_attachment(answer.json()["id"])
        swarm.begin(incident.number)
        swarm.advance()
    forget_breakers()

    row = Attachment.objects.get()
    assert (row.state, row.text, row.provider) == ("read", EXHAUSTED, "emulator")
    call = AwsCall.objects.get(sequence=known(row.call))
    assert (call.service, call.outcome) == ("textract", "succeeded")
    assert call.incident_number == incident.number
    run = AgentRun.objects.get(agent="diagnosis", phase="diagnosis")
    assert run.finding is not None
    evidence = Evidence.objects.get(kind="attachment")
    assert evidence.data["attachment"] == row.pk
    assert evidence.source == f"attachment {row.pk} as provider emulator read it"
    words = run.finding["data"]["words"]
    assert words["provider"] == "emulator"
    (sentence, *_) = [one for one in words["sentences"] if evidence.pk in one["evidence"]]
    assert "connection slots" in sentence["text"]
    page = Client(headers=headers).get(f"/incidents/{incident.number}/").content.decode()
    assert f'id="evidence-{evidence.pk}"' in page
    assert f'href="/incidents/{incident.number}/#attachment-{row.pk}"' in page


@pytest.mark.django_db(transaction=True)
def test_without_textract_the_agents_say_that_the_screenshot_cannot_be_read(settings):
    assert PROVIDER.name == settings.AWSAI_PROVIDER == "local"
    incident = make_incident(title="Orders are slow")
    headers: Any = {"Authorization": f"Bearer {make_token('responder')}"}
    upload = SimpleUploadedFile("psql.png", picture(EXHAUSTED), content_type="image/png")
    answer = Client(headers=headers).post(
        f"/api/v1/incidents/{incident.number}/attachments/", {"file": upload}
    )
    tasks.read_attachment(answer.json()["id"])
    swarm.begin(incident.number)
    swarm.advance()
    run = AgentRun.objects.get(agent="diagnosis", phase="diagnosis")
    assert run.finding is not None
    why = "The attachment “psql.png” cannot be read: Text in pictures is not recognised here."
    assert why in run.finding["unknown"]
    assert not Evidence.objects.filter(kind="attachment").exists()
