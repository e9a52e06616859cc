"""The words of calls: kept only where asked for, sealed, read on record, and forgotten."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils.timezone import now

from awsai import ledger, payloads
from awsai.models import AwsCall, AwsCallPayload, Outcome
from awsai.purpose import serving
from incidentops.access.models import AuditEntry
from tests.factories import make_token

pytestmark = pytest.mark.django_db

WORDS = "Checkout fails since 14:05."


def call() -> AwsCall:
    with serving(words=WORDS):
        opened = ledger.intend(service="bedrock-nova", operation="Converse", provider="aws")
    return opened.settle(ledger.Result(outcome=Outcome.SUCCEEDED))


def test_by_default_nothing_but_a_keyed_digest_is_kept(settings):
    made = call()
    assert not AwsCallPayload.objects.exists()
    assert made.prompt_digest
    settings.SECRET_KEY = "another-key-" + "y" * 40
    assert call().prompt_digest != made.prompt_digest


def test_kept_words_are_sealed_and_reading_them_is_on_record(settings):
    settings.AWSAI_KEEP_WORDS_DAYS = 7
    made = call()
    assert WORDS.encode() not in bytes(AwsCallPayload.objects.get().sealed)
    assert payloads.read(made, by="auditor") == WORDS
    entry = AuditEntry.objects.get(action="ledger.words_read")
    assert (entry.actor, entry.target) == ("auditor", f"call:{made.sequence}")


def test_an_auditor_reads_them_through_the_api_and_a_responder_does_not(client, settings):
    settings.AWSAI_KEEP_WORDS_DAYS = 7
    path = f"/api/v1/awsai/calls/{call().sequence}/words/"

    def get(role: str):
        return client.get(path, headers={"Authorization": f"Bearer {make_token(role)}"})

    assert get("responder").status_code == 403
    assert get("auditor").json() == {"words": WORDS}
    AwsCallPayload.objects.all().delete()
    assert get("auditor").status_code == 404


def test_words_that_were_not_kept_cannot_be_read():
    with pytest.raises(payloads.NotKept, match="not kept"):
        payloads.read(call(), by="auditor")


def test_words_expire_and_are_deleted(settings):
    settings.AWSAI_KEEP_WORDS_DAYS = 7
    made = call()
    AwsCallPayload.objects.update(expires_at=now() - timedelta(seconds=1))
    with pytest.raises(payloads.NotKept, match="expired"):
        payloads.read(made, by="auditor")
    assert payloads.forget_expired() == 1


def test_under_another_key_sealed_words_stay_sealed(settings):
    settings.AWSAI_KEEP_WORDS_DAYS = 7
    made = call()
    settings.SECRET_KEY = "another-key-" + "y" * 40
    with pytest.raises(payloads.NotKept, match="another secret key"):
        payloads.read(made, by="auditor")
