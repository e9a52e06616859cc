from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from incidentops.health import bulletin, heartbeats
from incidentops.health.examination import readiness, system_health
from incidentops.health.exposition import REGISTRY
from incidentops.realtime.models import OutboxEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _forget_heartbeats():
    signs = [f"heartbeat:{who}" for who in heartbeats.Beating]
    cache.delete_many(signs)
    yield
    cache.delete_many(signs)


def test_an_instance_without_worker_and_beat_is_not_ready_and_says_which(client):
    answer = client.get("/readyz")
    assert answer.status_code == 503
    checks = answer.json()["checks"]
    assert {name for name, check in checks.items() if not check["ok"]} == {"worker", "beat"}
    assert checks["worker"]["age_seconds"] is None
    assert checks["database"]["vendor"] == connection.display_name


def test_signs_of_life_make_it_ready(client):
    heartbeats.beat(heartbeats.Beating.WORKER)
    heartbeats.beat(heartbeats.Beating.BEAT)
    answer = client.get("/readyz")
    assert answer.status_code == 200, answer.json()
    assert answer.json()["checks"]["beat"]["age_seconds"] < 5


def test_a_silent_worker_is_noticed(monkeypatch):
    heartbeats.beat(heartbeats.Beating.WORKER)
    monkeypatch.setattr("incidentops.health.probes.SILENT_AFTER", timedelta(0))
    _, checks = readiness()
    assert not checks["worker"]["ok"]


def test_readiness_tells_no_address_and_no_secret(client, settings):
    body = client.get("/readyz").content.decode()
    assert settings.REDIS_URL not in body
    assert settings.SECRET_KEY not in body


def test_redis_away_is_a_reading_not_an_error(settings, client):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["broker"]["summary"].startswith("Redis does not answer")


def test_the_process_is_alive_whatever_else_is_down(client):
    assert client.get("/healthz").json() == {"status": "alive"}


def test_system_health_counts_five_agents_and_knows_no_latency_before_the_first_phase():
    health = system_health()
    assert health["agents_by_state"] == {"idle": 5}
    assert health["queue"] == {"depth": 0, "oldest_age_seconds": None}
    assert set(health["latency_ms"].values()) == {None}


def test_prometheus_can_read_the_metrics_and_labels_are_bounded():
    families = list(text_string_to_metric_families(generate_latest(REGISTRY).decode()))
    names = {family.name for family in families}
    assert {"iop_probe_up", "iop_agents_by_state", "iop_queue"} <= names
    labels = {name for family in families for sample in family.samples for name in sample.labels}
    assert labels <= {"probe", "key"}


def test_the_bulletin_is_what_the_board_starts_from():
    assert bulletin.latest() is None
    bulletin.publish()
    event = OutboxEvent.objects.get(type="health.updated")
    assert bulletin.latest() == {**event.data["health"], "version": event.version}
