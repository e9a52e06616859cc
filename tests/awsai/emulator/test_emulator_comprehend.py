"""Comprehend as boto3 meets it."""

from __future__ import annotations

import pytest

from tests.awsai.emulator.clients import ClientError, client, last


@pytest.fixture
def comprehend(emulator):
    return client(emulator, "comprehend")


def test_the_sentiment_is_that_of_the_text(comprehend):
    bad = comprehend.detect_sentiment(Text="bad, bad", LanguageCode="en")
    assert bad["Sentiment"] == "NEGATIVE"
    assert sum(bad["SentimentScore"].values()) == pytest.approx(1)
    good = comprehend.detect_sentiment(Text="good", LanguageCode="en")
    assert good["Sentiment"] == "POSITIVE"


def test_spans_are_where_they_are_in_the_text(comprehend):
    text = "Orders Gateway lost 12 calls, ask ann@example.com"
    (entity,) = comprehend.detect_entities(Text=text, LanguageCode="en")["Entities"]
    assert (entity["Type"], entity["Text"]) == ("QUANTITY", "12")
    (phrase,) = comprehend.detect_key_phrases(Text=text, LanguageCode="en")["KeyPhrases"]
    assert text[phrase["BeginOffset"] : phrase["EndOffset"]] == "Orders Gateway"
    (pii,) = comprehend.detect_pii_entities(Text=text, LanguageCode="en")["Entities"]
    assert pii["Type"] == "EMAIL"
    assert text[pii["BeginOffset"] : pii["EndOffset"]] == "ann@example.com"


def test_kinds_that_comprehend_has_no_word_for_are_other_or_left_out(comprehend):
    text = "pod-x lost its TOKEN"
    (entity,) = comprehend.detect_entities(Text=text, LanguageCode="en")["Entities"]
    assert (entity["Type"], entity["Text"]) == ("OTHER", "pod-x")
    assert comprehend.detect_pii_entities(Text=text, LanguageCode="en")["Entities"] == []


def test_a_text_is_billed_by_begun_hundreds_and_for_three_at_least(emulator, comprehend):
    comprehend.detect_sentiment(Text="short", LanguageCode="en")
    assert last(emulator).units == {"chars100": 3}
    comprehend.detect_sentiment(Text="x" * 301, LanguageCode="en")
    assert last(emulator).units == {"chars100": 4}


def test_texts_of_a_batch_fail_alone(emulator, comprehend):
    batch = comprehend.batch_detect_sentiment(
        TextList=["good", "x" * 5001, "bad", "FOREIGN"], LanguageCode="en"
    )
    assert [(one["Index"], one["Sentiment"]) for one in batch["ResultList"]] == [
        (0, "POSITIVE"),
        (2, "NEGATIVE"),
    ]
    assert [(one["Index"], one["ErrorCode"]) for one in batch["ErrorList"]] == [
        (1, "TEXT_SIZE_LIMIT_EXCEEDED"),
        (3, "INVALID_REQUEST"),
    ]
    assert last(emulator).units == {"chars100": 6}


@pytest.mark.parametrize(
    ("operation", "member"),
    [("batch_detect_entities", "Entities"), ("batch_detect_key_phrases", "KeyPhrases")],
)
def test_batches_of_spans_keep_the_order_of_their_texts(comprehend, operation, member):
    texts = ["Alpha 1", "none", "Beta 2"]
    batch = getattr(comprehend, operation)(TextList=texts, LanguageCode="en")
    assert [one["Index"] for one in batch["ResultList"]] == [0, 1, 2]
    assert [len(one[member]) for one in batch["ResultList"]] == [1, 0, 1]


def test_a_text_over_the_limit_is_refused(comprehend):
    with pytest.raises(comprehend.exceptions.TextSizeLimitExceededException, match="5001 bytes"):
        comprehend.detect_sentiment(Text="x" * 5001, LanguageCode="en")
    # The limit is one of bytes, and PII has a larger one.
    with pytest.raises(comprehend.exceptions.TextSizeLimitExceededException):
        comprehend.detect_entities(Text="é" * 2501, LanguageCode="en")
    comprehend.detect_pii_entities(Text="x" * 5001, LanguageCode="en")


def test_a_language_that_nobody_here_reads_is_refused(comprehend):
    with pytest.raises(comprehend.exceptions.UnsupportedLanguageException):
        comprehend.detect_sentiment(Text="gut", LanguageCode="de")
    with pytest.raises(comprehend.exceptions.UnsupportedLanguageException):
        comprehend.batch_detect_sentiment(TextList=["gut"], LanguageCode="de")


def test_a_batch_of_twenty_six_is_refused(comprehend):
    with pytest.raises(comprehend.exceptions.BatchSizeLimitExceededException):
        comprehend.batch_detect_sentiment(TextList=["x"] * 26, LanguageCode="en")


def test_a_failing_analyst_is_an_error_of_the_service(comprehend):
    with pytest.raises(ClientError, match="InternalServerException"):
        comprehend.detect_entities(Text="BROKEN", LanguageCode="en")
    with pytest.raises(ClientError, match="InvalidRequestException"):
        comprehend.detect_entities(Text="REFUSED", LanguageCode="en")
