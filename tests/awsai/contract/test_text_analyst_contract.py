from __future__ import annotations

import pytest

from tests.awsai.contract.promises import assert_labelled

LABELS = {"positive", "negative", "neutral", "mixed"}
TEXT = "😀 On 2026-11-22 the payments-api at https://api.example.com/v1 took 842 ms."
ANALYSES = ["sentiments", "entities", "key_phrases"]


def assert_exact(spans, text):
    for span in spans:
        assert 0 <= span.begin < span.end <= len(text)
        assert text[span.begin : span.end] == span.text
        assert 0 <= span.score <= 1
        assert span.kind


def test_a_sentiment_has_four_scores_that_sum_to_one(provider):
    sentiments = provider.text_analyst().sentiments(
        ["The outage is over.", "Everything is broken."]
    )
    assert_labelled(sentiments.served, provider)
    for sentiment in sentiments.results:
        assert set(sentiment.scores) == LABELS
        assert sum(sentiment.scores.values()) == pytest.approx(1, abs=1e-3)
        assert sentiment.label == max(sentiment.scores, key=lambda name: sentiment.scores[name])


def test_bad_news_sounds_worse_than_good_news(provider):
    good, bad = (
        provider.text_analyst()
        .sentiments(
            [
                "Excellent, everything works perfectly again.",
                "A terrible outage, everything is broken.",
            ]
        )
        .results
    )
    assert (good.label, bad.label) == ("positive", "negative")


def test_entities_stand_where_they_say(provider):
    entities = provider.text_analyst().entities([TEXT])
    assert_labelled(entities.served, provider)
    (spans,) = entities.results
    assert_exact(spans, TEXT)
    assert ("DATE", "2026-11-22") in {(span.kind, span.text) for span in spans}


def test_key_phrases_stand_where_they_say(provider):
    phrases = provider.text_analyst().key_phrases([TEXT])
    assert_labelled(phrases.served, provider)
    (spans,) = phrases.results
    assert spans
    assert_exact(spans, TEXT)
    assert {span.kind for span in spans} == {"PHRASE"}


def test_personal_data_stands_where_it_says(provider):
    text = "😀 write to bob@example.com"
    found = provider.text_analyst().pii(text)
    assert_labelled(found.served, provider)
    (spans,) = found.results
    assert_exact(spans, text)
    assert [(span.kind, span.text) for span in spans] == [("EMAIL", "bob@example.com")]


@pytest.mark.parametrize("analysis", ANALYSES)
def test_a_batch_of_any_size_has_a_result_for_each_text(provider, analysis):
    texts = [f"Node {number} failed badly." for number in range(60)]
    outcome = getattr(provider.text_analyst(), analysis)(texts)
    assert len(outcome.results) == 60
    assert None not in outcome.results
    assert outcome.errors == {}


@pytest.mark.parametrize("analysis", ANALYSES)
def test_a_text_that_is_too_long_or_empty_fails_alone(provider, analysis):
    texts = [*["Everything failed."] * 30, "x" * 6000, "", "Everything works."]
    outcome = getattr(provider.text_analyst(), analysis)(texts)
    assert set(outcome.errors) == {30, 31}
    assert all(outcome.errors.values())
    assert [index for index, one in enumerate(outcome.results) if one is None] == [30, 31]


def test_no_texts_have_no_results(provider):
    assert provider.text_analyst().sentiments([]).results == ()
