from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awsai.providers.local.analyst import LexicalAnalyst
from awsai.providers.local.entities import entities
from awsai.providers.local.phrases import phrases
from awsai.providers.local.sentiment import LEXICON, sentiment

ANALYST = LexicalAnalyst()
ALPHABET = "aA1.:-_/ %vmsé😀\ud800\n'"


def found(text: str) -> list[tuple[str, str]]:
    return [(span.kind, span.text) for span in entities(text)]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The outage is resolved and checkout has recovered.", "positive"),
        ("The outage is not resolved.", "negative"),
        ("This is not good.", "negative"),
        ("No errors.", "positive"),
        ("Checkout crashed and data is corrupted", "negative"),
        ("Great dashboard, but the API keeps crashing", "mixed"),
        ("The meeting is at noon.", "neutral"),
    ],
)
def test_sentiment_follows_the_words(text, label):
    assert sentiment(text).label == label


def test_an_intensifier_strengthens_and_a_negation_ends_with_its_sentence():
    assert sentiment("very bad").scores["negative"] > sentiment("bad").scores["negative"]
    assert sentiment("slightly bad").scores["negative"] < sentiment("bad").scores["negative"]
    assert sentiment("Not now. Good.").label == "positive"


@settings(deadline=None)
@given(st.lists(st.sampled_from([*sorted(LEXICON)[:60], "not", "very", "x", "."]), max_size=20))
def test_scores_are_shares(words):
    scores = sentiment(" ".join(words)).scores
    assert sum(scores.values()) == pytest.approx(1)
    assert all(score >= 0 for score in scores.values())


def test_entities_are_recognised_by_their_form():
    text = (
        "On 2026-11-22T12:03:00Z payments-api v2.3.1 on db-1.eu.internal (10.0.0.1) took 842 ms for "
        "5% of requests; see https://grafana.example.com/d/1. Acme Widgets Inc was told on 3 March 2026."
    )
    assert found(text) == [
        ("DATE", "2026-11-22T12:03:00Z"),
        ("SERVICE", "payments-api"),
        ("VERSION", "v2.3.1"),
        ("HOST", "db-1.eu.internal"),
        ("HOST", "10.0.0.1"),
        ("QUANTITY", "842 ms"),
        ("QUANTITY", "5%"),
        ("URL", "https://grafana.example.com/d/1"),
        ("ORGANIZATION", "Acme Widgets Inc"),
        ("DATE", "3 March 2026"),
    ]


def test_a_score_falls_with_what_speaks_against_the_entity():
    (real,) = entities("2026-11-22")
    (impossible,) = entities("2026-13-45")
    assert real.score == 1
    assert impossible.score < 1
    assert found("a well-known half-open file, 3.14 and 25:99, and The Office") == []


def test_key_phrases_stand_between_stop_words_and_marks():
    spans = phrases(
        "The connection pool of the payments database was exhausted, and retries failed."
    )
    assert [span.text for span in spans] == [
        "connection pool",
        "payments database",
        "exhausted",
        "retries failed",
    ]
    assert max(span.score for span in spans) == 1
    assert spans[0].score > spans[2].score


@pytest.mark.parametrize("analysis", [entities, phrases])
@settings(deadline=None)
@given(text=st.text(alphabet=ALPHABET, max_size=60) | st.text(max_size=60))
def test_offsets_are_exact_and_spans_apart(analysis, text):
    end = 0
    for span in analysis(text):
        assert end <= span.begin < span.end
        assert text[span.begin : span.end] == span.text
        assert 0 < span.score <= 1
        end = span.end


def test_a_text_that_cannot_be_analysed_fails_alone():
    texts = ["good", "", "x" * 5001, "é" * 2501, "x" * 5000, *["bad"] * 40]
    for analysis in (ANALYST.sentiments, ANALYST.entities, ANALYST.key_phrases):
        outcome = analysis(texts)
        assert set(outcome.errors) == {1, 2, 3}
        assert [index for index, one in enumerate(outcome.results) if one is None] == [1, 2, 3]


def test_pii_is_what_the_guard_masks():
    (spans,) = ANALYST.pii(f"{'x ' * 4000} bob@example.com").results
    assert [(span.kind, span.text) for span in spans or ()] == [("EMAIL", "bob@example.com")]
