from __future__ import annotations

import pytest

from awsai.ports import CallFailed, Trouble
from awsai.purpose import serving
from tests.awsai.aws.calls import HAIKU, QUESTION, reasoner, rows

ROLE = "arn:aws:iam::123456789012:role/incidentops-invoke"


@pytest.mark.django_db
def test_a_role_is_assumed_in_a_session_named_after_the_incident(emulator, settings):
    settings.AWS_ROLES = {"invoke": ROLE}
    for incident in (41, 41, 42, None):
        with serving(incident=incident):
            reasoner().answer(QUESTION, model=HAIKU)
    asked = [entry for entry in emulator.log.entries() if entry.operation == "Converse"]
    sessions = [entry.principal_arn.rpartition("/")[2] for entry in asked]
    assert sessions == ["inc-41", "inc-41", "inc-42", "iop-invoke"]
    assumed = [row for row in rows() if row.service == "sts"]
    assert [row.operation for row in assumed] == ["AssumeRole"] * 3
    assert {row.outcome for row in rows()} == {"succeeded"}


@pytest.mark.django_db
def test_a_role_that_may_not_be_assumed_denies_the_call(emulator, settings):
    settings.AWS_ROLES = {"invoke": ROLE}
    emulator.inject("error", operation="AssumeRole", code="AccessDenied", status=403, times=9)
    with pytest.raises(CallFailed) as failed:
        reasoner().answer(QUESTION, model=HAIKU)
    assert failed.value.trouble == Trouble.DENIED
    assert {(row.operation, row.outcome) for row in rows()} == {
        ("AssumeRole", "denied"),
        ("Converse", "denied"),
    }
    assert not [entry for entry in emulator.log.entries() if entry.operation == "Converse"]
