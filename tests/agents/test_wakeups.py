from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.conf import settings as django_settings
from django.db.models import F

from agents import claims, swarm, wakeups
from agents.models import PhaseRun, PhaseState
from agents.probes import phases
from incidentops import embedded
from tests.factories import make_incident

ROOT = Path(__file__).parents[2]

_SEND = """
import sys, time, logging
logging.basicConfig()
import django; django.setup()
from agents import wakeups
import redis
from django.conf import settings
if sys.argv[1] == "flush":
    client = redis.Redis.from_url(settings.REDIS_URL)
    wakeups.wake()
    client.flushall()
    wakeups.wake(2)
    print(client.llen(f"{settings.REDIS_PREFIX}:agents"))
else:
    began = time.monotonic()
    for _ in range(5):
        wakeups.wake()
    print(time.monotonic() - began)
"""


def in_a_process(redis_url: str, verb: str, var: Path) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {
        "REDIS_URL": redis_url,
        "IOP_VAR": str(var),
        "DATABASE_URL": "",
        "DJANGO_SETTINGS_MODULE": "incidentops.settings",
    }
    return subprocess.run(
        [sys.executable, "-c", _SEND, verb],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def test_wake_ups_still_find_their_queue_after_the_broker_lost_everything(tmp_path):
    port, password = embedded.free_port(), embedded.new_password()
    command = embedded.server_command(tmp_path, port=port, password=password, durable=False)
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        url = embedded.server_url(port=port, password=password)
        retry = redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 100)
        with redis.Redis.from_url(url, retry=retry) as client:
            client.ping()
        sent = in_a_process(url, "flush", tmp_path / "var")
    finally:
        server.kill()
        server.wait()

    assert sent.stdout.split() == ["2"]


def test_a_broker_that_is_down_costs_moments_and_one_line_in_the_log(tmp_path):
    sent = in_a_process(f"redis://127.0.0.1:{embedded.free_port()}/0", "down", tmp_path / "var")

    assert float(sent.stdout) < 3
    assert sent.stderr.count("the reaper will repeat wake-ups") == 1


@pytest.mark.django_db
def test_the_reaper_repeats_wake_ups_ever_more_rarely(fakes, monkeypatch):
    sent: list[int] = []
    monkeypatch.setattr(swarm, "wake", lambda count=1: sent.append(count))
    for _ in range(3):
        swarm.begin(make_incident().number)

    for _ in range(120):
        PhaseRun.objects.filter(woken_at__isnull=False).update(
            woken_at=F("woken_at") - timedelta(seconds=1)
        )
        swarm.reap()

    assert 3 * 4 <= sum(sent) <= 3 * 7


@pytest.mark.django_db
def test_the_probe_tells_how_long_work_has_waited(fakes):
    assert phases().ok
    response = swarm.begin(make_incident().number)
    assert response is not None
    response.phases.filter(phase="detection").update(
        due_at=claims.from_now(-4 * django_settings.LEASE)
    )

    reading = phases()

    assert not reading.ok
    assert reading.detail["due"] == 1
    assert reading.detail["oldest_due_seconds"] >= 4 * django_settings.LEASE.total_seconds()


@pytest.mark.django_db
def test_the_probe_forgets_what_nobody_can_requeue_any_more(fakes):
    response = swarm.begin(make_incident().number)
    assert response is not None
    response.phases.filter(phase="diagnosis").update(state=PhaseState.FAILED)
    assert phases().detail["dead"] == 1

    swarm.begin(response.incident_id, opening=1)

    with pytest.raises(swarm.NotDead):
        swarm.requeue(response.incident_id, by="ada")
    assert phases().ok
    assert phases().detail["dead"] == 0


def test_wake_ups_note_an_outage_once(caplog):
    wakeups._note(down=True, why="refused")
    wakeups._note(down=True, why="refused")
    wakeups._note(down=False)

    assert len([line for line in caplog.records if line.levelname == "WARNING"]) == 1
