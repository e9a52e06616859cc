"""Words while they are written: what readers see of a part of an answer."""

from __future__ import annotations

import pytest

from agents import claims, swarm
from agents.dictation import Dictation, readable
from incidentops.realtime.models import OutboxEvent
from tests.factories import make_incident


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("It leaks", "It leaks"),
        ('{"sent', ""),
        ('{"sentences": [{"text": "It leaks.", "evidence": ["c1"]}, {"text": "So', "It leaks. So"),
        (r'{"text": "caf\u00e9 \ud83d\ude00"}', "café 😀"),
        (r'{"text": "C:\\path, \"quoted\",\nnext\/line"}', 'C:\\path, "quoted", next/line'),
        # Broken off in the middle of an escape.
        (r'{"text": "half \u00', "half"),
        ('{"text": "half \\', "half"),
        (r'{"text": "half \ud83d', "half ?"),
    ],
)
def test_a_part_of_an_answer_reads_as_its_sentences(written, shown):
    assert readable(written) == shown


@pytest.mark.django_db
@pytest.mark.parametrize("piece", ["nul \x00 in prose", r'{"text": "\u0000 and \udfff"}'])
def test_words_that_no_database_can_hold_are_told_without_them(fakes, piece):
    swarm.begin(make_incident().number)
    claim = claims.take()
    assert claim is not None

    Dictation(claim, "detection")(piece)

    (event,) = OutboxEvent.objects.filter(type="agent.words")
    assert "\x00" not in event.data["text"]
    assert event.data["text"].isprintable()
