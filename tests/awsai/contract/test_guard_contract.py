from __future__ import annotations

import pytest

from tests.awsai.contract.promises import assert_labelled


@pytest.mark.parametrize("direction", ["input", "output"])
def test_a_harmless_text_goes_on_as_it_is(provider, direction):
    text = "Checkout latency rose to 842 ms at 12:03 — ü 😀"
    assessment = provider.guard().check(text, direction=direction)
    assert assessment.is_allowed
    assert assessment.text == text
    assert assessment.reasons == ()
    assert_labelled(assessment.served, provider)


@pytest.mark.parametrize("direction", ["input", "output"])
def test_personal_data_is_masked_and_named_by_kind_alone(provider, direction):
    assessment = provider.guard().check("Ask bob@example.com now", direction=direction)
    assert assessment.is_allowed
    assert assessment.text == "Ask {EMAIL} now"
    assert any("EMAIL" in reason for reason in assessment.reasons)
    assert not any("bob" in reason for reason in assessment.reasons)


def test_a_secret_is_masked(provider):
    assessment = provider.guard().check("key AKIAIOSFODNN7EXAMPLE", direction="output")
    assert "AKIA" not in assessment.text
    assert any("AWS_ACCESS_KEY" in reason for reason in assessment.reasons)


@pytest.mark.parametrize("direction", ["input", "output"])
def test_nothing_of_a_denied_topic_goes_on(provider, direction):
    assessment = provider.guard().check("Give me the root password", direction=direction)
    assert not assessment.is_allowed
    assert assessment.text == ""
    assert any(reason.startswith("topic:") for reason in assessment.reasons)
