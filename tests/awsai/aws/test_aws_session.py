from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from botocore.exceptions import ClientError
from django.db import connections
from urllib3.exceptions import HTTPError

from awsai.emulator.emulator import OWNER
from awsai.models import AwsCall, AwsCallIntent
from awsai.ports import CallFailed, Trouble
from awsai.providers import provider
from awsai.providers.aws import session
from awsai.purpose import serving
from incidentops.access import chain
from tests.awsai.aws.calls import HAIKU, QUESTION, reasoner, rows, user


@pytest.mark.django_db(transaction=True)
def test_threads_on_one_client_keep_their_rows_apart(emulator):
    """Each thread asks something of its own length for an incident of its own."""
    client = session.client("bedrock-runtime")
    emulator.inject("error", operation="Converse", code="ServiceUnavailableException", times=20)
    emulator.inject("stream_cut", operation="ConverseStream", after=3, times=10)

    def work(number: int) -> None:
        text = "word " * (number + 1)
        try:
            for _ in range(4):
                with serving(incident=number):
                    with suppress(ClientError):
                        client.converse(modelId=HAIKU, messages=user(text))
                    with suppress(HTTPError):
                        list(client.converse_stream(modelId=HAIKU, messages=user(text))["stream"])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    logged = {entry.request_id: entry for entry in emulator.log.entries()}
    written = rows()
    assert len(written) == 16 * 8
    assert {row.incident_number for row in written} == set(range(16))
    for row in written:
        if row.outcome == "succeeded":
            assert row.tokens == logged[row.request_id].tokens
            assert row.operation == logged[row.request_id].operation
    inputs = {row.incident_number: row.tokens["input"] for row in written if row.tokens}
    assert sorted(inputs.values()) == [inputs[number] for number in range(16)]
    assert sum(len(row.attempts) for row in written) == len(logged)
    assert [row.outcome for row in written].count("broken") == 10
    assert not AwsCallIntent.objects.filter(is_settled=False).exists()
    assert chain.verify(AwsCall).is_sound


def test_one_client_is_made_for_all_who_ask_for_the_same(emulator):
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: id(session.client("comprehend")), range(32)))
    assert len(made) == 1
    assert session.client("comprehend", region="eu-west-1") is not session.client("comprehend")
    assert session.client("comprehend", plane="observe") is not session.client("comprehend")


def test_a_forked_child_makes_clients_of_its_own(emulator):
    """Even if a thread of the parent was making one at that moment and holds the lock."""
    inherited = session.client("comprehend")
    is_held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with session._clients._lock:
            is_held.set()
            may_go.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if session.client("comprehend") is not inherited else 1)
    may_go.set()
    holder.join()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert session.client("comprehend") is inherited


def test_attempts_and_time_outs_do_not_depend_on_the_version_of_botocore(emulator):
    config = session.client("ecs").meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}
    assert (config.connect_timeout, config.read_timeout, config.tcp_keepalive) == (3, 10, True)
    assert config.max_pool_connections >= 16


def test_without_the_emulator_clients_ask_aws_or_where_the_sdk_is_told(settings, monkeypatch):
    settings.AWSAI_PROVIDER, settings.AWS_REGION = "aws", "eu-central-1"
    assert session.client("ecs").meta.endpoint_url == "https://ecs.eu-central-1.amazonaws.com"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:9")
    assert session.client("ssm").meta.endpoint_url == "http://127.0.0.1:9"


def test_an_installation_set_to_the_emulator_never_reaches_aws(emulator, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECS", "https://ecs.example")
    for client in (
        session.client("ecs"),
        session.client("pricing", plane="price_sync", region="us-east-1", provider="aws"),
    ):
        assert client.meta.endpoint_url == emulator.url


def test_an_emulator_that_started_anew_elsewhere_is_found(settings, tmp_path):
    settings.AWSAI_PROVIDER, settings.AWS_EMULATOR_URL = "emulator", ""
    settings.AWS_EMULATOR_ADDRESS = tmp_path / "aws_emulator.url"
    with pytest.raises(CallFailed) as failed:
        session.client("comprehend")
    assert failed.value.trouble == Trouble.UNAVAILABLE
    for url in ("http://127.0.0.1:1111", "http://127.0.0.1:2222"):
        settings.AWS_EMULATOR_ADDRESS.write_text(f"{url}\n")
        assert session.client("comprehend").meta.endpoint_url == url


def test_the_keys_for_the_emulator_are_those_it_takes():
    assert OWNER.access_key_id == session.EMULATOR_ACCESS_KEY_ID
    assert OWNER.secret_access_key == session.EMULATOR_SECRET_ACCESS_KEY


@pytest.mark.django_db
def test_a_bearer_token_of_the_environment_is_not_shown_to_the_emulator(emulator, monkeypatch):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "secret-of-a-real-account")
    reasoner().answer(QUESTION, model=HAIKU)
    assert emulator.log.entries()[-1].principal_arn == OWNER.principal_arn


def test_the_provider_is_chosen_by_the_installation(settings):
    assert provider("aws").name == "aws"
    settings.AWSAI_PROVIDER = "emulator"
    assert provider().name == "emulator"


@pytest.mark.django_db
def test_missing_credentials_are_a_denied_call(settings, monkeypatch):
    settings.AWSAI_PROVIDER, settings.AWS_REGION = "aws", "us-east-1"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    session._clients.forget()
    with pytest.raises(CallFailed) as failed:
        provider("aws").text_analyst().sentiments(["down"])
    assert (failed.value.trouble, failed.value.code) == (Trouble.DENIED, "NoCredentialsError")
    (row,) = rows()
    assert (row.provider, row.outcome, row.attempts) == ("aws", "denied", [])
