"""`manage.py up` as a user meets it: real processes, a directory and a port of its own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from tests.live import ROOT, instance, lane, wait_for
from tests.narrowing import known

pytestmark = pytest.mark.timeout(240)

AS_BROWSER = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with lane() as given, instance(tmp_path_factory.mktemp("up"), **given) as running:
        yield running


def children(live) -> dict[str, psutil.Process]:
    """The supervisor's direct children by what they run."""
    found: dict[str, psutil.Process] = {}
    for process in psutil.Process(live.process.pid).children():
        try:
            command = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue  # killed, and not yet replaced
        for name in ("daphne", "intake@", "agents@", "beat", "valkey", "redis"):
            if name in command:
                found.setdefault(name.rstrip("@"), process)
                break
    return found


def test_it_prints_where_it_is_and_a_link_that_signs_in_once(live):
    assert live.printed(rf"IncidentOps ready: {live.url}$")
    link = live.printed(r"Sign in once as admin: (\S+)$")[1]
    with httpx.Client(follow_redirects=True, trust_env=False, headers=AS_BROWSER) as browser:
        page = browser.get(link)
        token = known(re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text))[1]
        signed_in = browser.post(
            link, data={"csrfmiddlewaretoken": token}, headers={"Referer": link}
        )
        assert signed_in.status_code == 200
        assert browser.get(f"{live.url}/ops").url.path == "/ops"
    with httpx.Client(follow_redirects=True, trust_env=False, headers=AS_BROWSER) as stranger:
        again = stranger.get(link)
        form = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', again.text)
        if form:
            stranger.post(link, data={"csrfmiddlewaretoken": form[1]}, headers={"Referer": link})
        assert stranger.get(f"{live.url}/ops").url.path != "/ops"


@pytest.mark.parametrize("name", ["daphne", "intake", "agents", "beat"])
def test_a_killed_part_comes_back_and_the_system_is_ready_again(live, name):
    killed = children(live)[name]
    killed.send_signal(signal.SIGKILL)
    wait_for(
        lambda: (now := children(live).get(name)) and now.pid != killed.pid,
        within=30,
        what=f"another {name}",
    )
    wait_for(
        lambda: httpx.get(f"{live.url}/readyz", trust_env=False).status_code == 200,
        within=60,
        what="readiness",
    )


def test_a_snapshot_of_any_size_reaches_its_readers(live):
    alerts = [
        {
            "status": "firing",
            "labels": {"alertname": "Verbose", "service": "verbose", "instance": str(n)},
            "annotations": {"description": "x" * 4_000},
            "startsAt": "2026-11-22T11:00:00Z",
        }
        for n in range(90)
    ]
    body = {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "r", "alerts": alerts}
    httpx.post(live.intake_url("alertmanager"), json=body, trust_env=False).raise_for_status()
    with live.client("viewer") as api:
        (incident,) = wait_for(
            lambda: [
                one
                for one in api.get("/api/v1/incidents/?service=verbose").json()["results"]
                if one["alert_count"] == 90
            ],
            what="the incident with its alerts",
        )
        url = live.url.replace("http", "ws") + f"/dashboard/ws?incident={incident['number']}"
        authorization = {"Authorization": api.headers["Authorization"]}
        with connect(url, additional_headers=authorization, max_size=None, proxy=None) as socket:
            frame = socket.recv(20)
    assert len(frame) > 300_000
    assert json.loads(frame)["type"] == "snapshot"


def test_doctor_finds_nothing_wrong_and_a_misspelt_variable(live):
    healthy = json.loads(live.manage("doctor", "--json"))
    assert all(diagnosis["ok"] for diagnosis in healthy), healthy
    sick = subprocess.run(
        [sys.executable, "manage.py", "doctor"],
        cwd=ROOT,
        env={**live.environ, "IOP_PROT": "1"},
        capture_output=True,
        text=True,
    )
    assert sick.returncode == 1
    assert "IOP_PROT" in sick.stdout


def test_a_second_start_on_the_same_directory_is_refused(live):
    second = subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=ROOT,
        env={**live.environ, "IOP_PORT": "1"},
        capture_output=True,
        text=True,
    )
    assert second.returncode != 0
    assert "already runs" in second.stderr


def test_no_secret_of_a_source_reaches_the_log(live):
    url = live.intake_url("alertmanager")
    secret = url.rstrip("/").rpartition("/")[2]
    printed = len(live.lines)
    httpx.post(url, content=b"{}", headers={"Content-Type": "application/json"}, trust_env=False)
    httpx.get(url, trust_env=False)
    httpx.get(f"{live.url}/no-such-page", trust_env=False)
    assert not [line for line in live.lines[printed:] if secret in line]


def test_stopping_ends_every_process_and_the_next_start_finds_everything(tmp_path):
    with lane() as given:
        with instance(tmp_path / "var", **given) as first:
            family = psutil.Process(first.process.pid).children(recursive=True)
            url = first.intake_url("generic")
            body = {"title": "disk full", "service": "files", "severity": "high"}
            httpx.post(url, json=body, trust_env=False).raise_for_status()
            assert first.stop() == 0
            _, alive = psutil.wait_procs(family, timeout=10)
            assert not alive
        with instance(tmp_path / "var", **given) as second, second.client("viewer") as api:
            titles = wait_for(
                lambda: [i["title"] for i in api.get("/api/v1/incidents/").json()["results"]],
                what="the incident",
            )
            assert titles == ["disk full"]
