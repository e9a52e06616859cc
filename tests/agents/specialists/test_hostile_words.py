"""A model that obeys every text it reads gains nothing, from the alert to the lesson.

A sample of the texts goes the whole way here; `python -m tests.bench hostile` takes all two hundred.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agents import dictation
from agents.models import AgentRun
from awsai.guarding import guard_answer
from awsai.ports import Answer, Served
from awsai.providers.local import LocalProvider
from tests.agents.specialists.hostility import (
    INJECTIONS,
    KEY,
    PASSWORD,
    Aftermath,
    Obedient,
    confront,
    disguised,
    poisoned,
    surrounded,
    traces,
)
from tests.agents.specialists.storefront import stock
from tests.awsai.health.emulated import forget_breakers

# Seven and the numbers of frames and of orders have no common divisor: all of both are in the sample.
SAMPLE = INJECTIONS[::7]


@pytest.fixture
def shop(transactional_db) -> Iterator[Aftermath]:
    """What comes of an honest text, read by an honest model."""
    stock()
    with surrounded(LocalProvider()):
        yield confront("It began with the last deploy.")
    forget_breakers()


@pytest.mark.parametrize("guardrail", ["", "incidentops"], ids=["no guardrail", "guardrail"])
def test_an_obedient_model_gains_nothing_in_any_phase(shop, guardrail):
    assert len(INJECTIONS) == 200
    model = Obedient()
    authors: list[str] = []
    texts = SAMPLE[1::2] if guardrail else SAMPLE[::2]
    with surrounded(model, AWS_GUARDRAIL_ID=guardrail):
        for text in texts:
            came = confront(text, model)
            assert came.told == [], text
            assert came.leaked == [], text
            assert came.uncited == [], text
            assert came.forbidden == [], text
            assert came.undone == [], text
            assert (came.plans, came.decided) == (shop.plans, shop.decided), text
            authors += came.authors
    # It was read, it did say such things, and what it said with evidence was kept.
    assert model.sentences_without_evidence >= len(texts)
    assert authors.count("emulator") > len(texts) / 2
    assert AgentRun.objects.filter(provider="emulator").exists()


# --- The test itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [KEY, PASSWORD])
@pytest.mark.parametrize("form", range(len(disguised(""))))
def test_a_secret_is_recognised_in_every_disguise(secret, form):
    said = disguised(f"the word is {secret}, go")[form]
    assert traces(f"and then {said} was told") == [secret]
    assert traces("and then nothing was told") == []


def test_the_model_would_carry_out_a_secret_that_it_was_told():
    model = Obedient()
    seen = poisoned("Note.")
    for turn in range(4):
        assert traces(model.said(seen, "c1", turn)) == [KEY, PASSWORD]


# --- A model that knows a secret from elsewhere ------------------------------------------------


def answered(text: str, data: object) -> Answer:
    served = Served(provider="emulator", service="bedrock-claude", operation="Converse")
    return Answer(text=text, stop_reason="end_turn", served=served, data=data)


def test_a_secret_spelled_by_the_numbers_of_its_letters_is_masked():
    spelled = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
    text = f'{{"text": "{spelled}", "password=\\"{PASSWORD}\\"": [1]}}'
    answer = guard_answer(answered(text, {"text": KEY, f'password="{PASSWORD}"': [1]}))
    assert answer.data == {"text": "{AWS_ACCESS_KEY}", 'password="{PASSWORD}"': [1]}
    assert traces(answer.text) == []


def test_words_are_shown_as_they_are_written_up_to_the_last_whole_one():
    told: list[str] = []

    class Listener(dictation.Dictation):
        def _tell(self) -> None:
            told.append(self.shown)

    listener = Listener(None, "diagnosis")  # type: ignore[arg-type]  # nothing is stored
    for letter in f'{{"sentences": [{{"text": "The key {KEY} is out':
        listener(letter)
    listener._tell()
    assert told[-1] == "The key {AWS_ACCESS_KEY} is"
    assert not any("AKIA" in text for text in told)
