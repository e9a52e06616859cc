"""Textract as boto3 meets it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.awsai.emulator.clients import client, last

DOCUMENT = b"%PDF-1.7\nRunbook of orders\nname | count\npool | 20"
PLACE = {"DocumentLocation": {"S3Object": {"Bucket": "runbooks", "Name": "pool.pdf"}}}


@pytest.fixture
def textract(emulator):
    return client(emulator, "textract")


@pytest.fixture
def stored(provider):
    """A document of two pages in S3."""
    provider.reader.objects["runbooks", "pool.pdf"] = DOCUMENT + b"\fsecond page"
    return provider.reader


def texts(blocks, kind: str) -> list[str]:
    return [block["Text"] for block in blocks if block["BlockType"] == kind]


def rows(blocks) -> list[list[str]]:
    """The cells of the table, by the relationships between blocks."""
    by_id = {block["Id"]: block for block in blocks}

    def below(block):
        relations = block.get("Relationships", [])
        return [by_id[id] for relation in relations for id in relation["Ids"]]

    (table,) = [block for block in blocks if block["BlockType"] == "TABLE"]
    found: dict[int, list[str]] = {}
    for cell in below(table):
        words = " ".join(word["Text"] for word in below(cell))
        found.setdefault(cell["RowIndex"], []).append(words)
    return list(found.values())


def test_the_text_of_a_document_comes_in_lines_and_words(emulator, textract):
    found = textract.detect_document_text(Document={"Bytes": DOCUMENT})
    assert texts(found["Blocks"], "LINE") == ["Runbook of orders", "name | count", "pool | 20"]
    assert texts(found["Blocks"], "WORD")[:3] == ["Runbook", "of", "orders"]
    assert found["Blocks"][0]["BlockType"] == "PAGE"
    line = next(block for block in found["Blocks"] if block["BlockType"] == "LINE")
    assert line["Confidence"] == 87.5
    assert last(emulator).units == {"page.detect": 1}


def test_the_tables_of_a_document_come_in_cells(emulator, textract):
    found = textract.analyze_document(Document={"Bytes": DOCUMENT}, FeatureTypes=["TABLES"])
    assert rows(found["Blocks"]) == [["name", "count"], ["pool", "20"]]
    assert last(emulator).units == {"page.tables": 1}


def test_a_feature_that_nobody_here_finds_is_refused(textract):
    with pytest.raises(textract.exceptions.InvalidParameterException, match="FORMS"):
        textract.analyze_document(Document={"Bytes": DOCUMENT}, FeatureTypes=["TABLES", "FORMS"])


@pytest.mark.parametrize(
    "content", [b"plain text", b"\x89PNG\r\n\x1a\n not read here", DOCUMENT + b"\fsecond page"]
)
def test_formats_that_are_not_read_at_once_are_refused(textract, content):
    with pytest.raises(textract.exceptions.UnsupportedDocumentException):
        textract.detect_document_text(Document={"Bytes": content})


def test_an_object_that_is_not_there_is_refused(textract):
    with pytest.raises(textract.exceptions.InvalidS3ObjectException):
        textract.detect_document_text(
            Document={"S3Object": {"Bucket": "runbooks", "Name": "pool.pdf"}}
        )
    with pytest.raises(textract.exceptions.InvalidS3ObjectException):
        textract.start_document_analysis(**PLACE, FeatureTypes=["TABLES"])


def test_a_job_is_in_progress_until_it_has_read_the_document(emulator, textract, stored):
    job = textract.start_document_analysis(**PLACE, FeatureTypes=["TABLES"])["JobId"]
    stored.is_busy = True
    assert textract.get_document_analysis(JobId=job)["JobStatus"] == "IN_PROGRESS"
    assert last(emulator).units == {}
    stored.is_busy = False
    done = textract.get_document_analysis(JobId=job)
    assert (done["JobStatus"], done["DocumentMetadata"]["Pages"]) == ("SUCCEEDED", 2)
    assert last(emulator).units == {"page.tables": 2}
    textract.get_document_analysis(JobId=job)
    assert last(emulator).units == {}, "A job is billed once."


def test_the_parts_of_a_job_s_answer_fit_together(textract, stored):
    job = textract.start_document_analysis(**PLACE, FeatureTypes=["TABLES"])["JobId"]
    part = textract.get_document_analysis(JobId=job, MaxResults=7)
    blocks = part["Blocks"]
    while "NextToken" in part:
        part = textract.get_document_analysis(JobId=job, MaxResults=7, NextToken=part["NextToken"])
        assert len(part["Blocks"]) <= 7
        blocks += part["Blocks"]
    assert rows(blocks) == [["name", "count"], ["pool", "20"]]
    assert {block["Page"] for block in blocks} == {1, 2}


def test_the_same_token_begins_a_job_once(textract, stored):
    def start(_: int) -> str:
        started = textract.start_document_analysis(
            **PLACE, FeatureTypes=["TABLES"], ClientRequestToken="token-1"
        )
        return str(started["JobId"])

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(start, range(8)))) == 1
    assert len(stored.jobs) == 1


def test_the_same_token_for_another_document_is_refused(textract, stored):
    stored.objects["runbooks", "other.pdf"] = DOCUMENT
    asked = {"FeatureTypes": ["TABLES"], "ClientRequestToken": "token-1"}
    textract.start_document_analysis(**PLACE, **asked)
    other = {"DocumentLocation": {"S3Object": {"Bucket": "runbooks", "Name": "other.pdf"}}}
    with pytest.raises(textract.exceptions.IdempotentParameterMismatchException):
        textract.start_document_analysis(**other, **asked)


def test_a_job_that_nobody_began_is_refused(textract):
    with pytest.raises(textract.exceptions.InvalidJobIdException):
        textract.get_document_analysis(JobId="job-of-nobody")


def test_a_document_that_cannot_be_read_fails_its_job(textract, stored):
    stored.objects["runbooks", "pool.pdf"] = b"\xff\xd8\xff an image"
    job = textract.start_document_analysis(**PLACE, FeatureTypes=["TABLES"])["JobId"]
    stored.analyze = stored.read = refuse
    assert textract.get_document_analysis(JobId=job)["JobStatus"] == "FAILED"


def refuse(*args: object, **kwargs: object) -> None:
    from awsai.ports import CallFailed, Trouble

    raise CallFailed(Trouble.REFUSED, "It is not a document.")
