"""A real Prometheus and a real Alertmanager, from the rule that fires to the recovery."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from incidentops.embedded import free_port
from tests.live import instance, lane, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PROMETHEUS = shutil.which("prometheus")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
THRESHOLD = 40.0


class Recording:
    """A recorded series played one row a scrape, which waits at its peak and then goes on.

    `NAB_DATA` names a checkout of the Numenta Anomaly Benchmark; without it a level with a jump
    of the same shape is played.
    """

    def __init__(self) -> None:
        data = Path(os.environ.get("NAB_DATA", "")) / "data/realAWSCloudwatch"
        recorded = data / "rds_cpu_utilization_e47b3b.csv"
        if recorded.exists():
            with recorded.open() as rows:
                values = [float(row["value"]) for row in csv.DictReader(rows)]
            peak = values.index(max(values))
            self.before, self.peak = values[peak - 60 : peak], values[peak : peak + 2]
            self.after = values[peak + 4 : peak + 64]
        else:
            self.before = [13.5 + 0.3 * (i % 3) for i in range(60)]
            self.peak, self.after = [76.2, 65.8], [16.0 + 0.3 * (i % 4) for i in range(60)]
        self.scrapes = 0
        self.playing = self.before

    def play(self, part: list[float]) -> None:
        self.playing = part

    def next(self) -> float:
        self.scrapes += 1
        return self.playing[self.scrapes % len(self.playing)]


@contextmanager
def exporter(recording: Recording) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f'rds_cpu_utilization{{service="orders-db"}} {recording.next()}\n'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def running(command: list[str], ready_url: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(
            lambda: httpx.get(ready_url, trust_env=False).status_code == 200,
            within=30,
            what=command[0],
        )
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def monitoring(directory: Path, *, webhook: str, exporter_port: int, port: int) -> Iterator[None]:
    """Prometheus on `port` scraping the exporter each second, with its Alertmanager."""
    assert PROMETHEUS
    assert ALERTMANAGER
    alertmanager_port = free_port()
    (directory / "alertmanager.yml").write_text(
        f"""
route: {{receiver: incidentops, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: incidentops
    webhook_configs: [{{url: "{webhook}", send_resolved: true}}]
"""
    )
    (directory / "rules.yml").write_text(
        f"""
groups:
  - name: database
    rules:
      - alert: DatabaseCpuHigh
        expr: rds_cpu_utilization > {THRESHOLD}
        for: 1s
        labels: {{severity: critical}}
        annotations: {{summary: "CPU of {{{{ $labels.service }}}} is {{{{ $value }}}} %"}}
"""
    )
    (directory / "prometheus.yml").write_text(
        f"""
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
rule_files: [{directory}/rules.yml]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:{alertmanager_port}"]}}]}}]}}
scrape_configs:
  - job_name: recording
    honor_labels: true
    static_configs: [{{targets: ["127.0.0.1:{exporter_port}"]}}]
"""
    )
    with ExitStack() as stack:
        stack.enter_context(
            running(
                [
                    ALERTMANAGER,
                    f"--config.file={directory}/alertmanager.yml",
                    f"--storage.path={directory}/alertmanager",
                    f"--web.listen-address=127.0.0.1:{alertmanager_port}",
                    "--cluster.listen-address=",
                ],
                f"http://127.0.0.1:{alertmanager_port}/-/ready",
            )
        )
        stack.enter_context(
            running(
                [
                    PROMETHEUS,
                    f"--config.file={directory}/prometheus.yml",
                    f"--storage.tsdb.path={directory}/tsdb",
                    f"--web.listen-address=127.0.0.1:{port}",
                    f"--web.external-url=http://127.0.0.1:{port}/",
                    "--rules.alert.resend-delay=1s",
                ],
                f"http://127.0.0.1:{port}/-/ready",
            )
        )
        yield


@pytest.mark.skipif(
    not (PROMETHEUS and ALERTMANAGER),
    reason="needs the programs prometheus and prometheus-alertmanager (Debian packages)",
)
def test_a_rule_that_fires_becomes_one_answered_incident_and_recovery_resolves_it(tmp_path):
    recording = Recording()
    prometheus_port = free_port()
    with (
        lane() as given,
        instance(tmp_path / "var", **given) as live,
        live.client("admin") as api,
        exporter(recording) as exporter_port,
    ):
        source = next(
            row
            for row in api.get("/api/v1/sources/").raise_for_status().json()["results"]
            if row["kind"] == "alertmanager"
        )
        api.patch(
            f"/api/v1/sources/{source['id']}/",
            json={"config": {"prometheus_url": f"http://127.0.0.1:{prometheus_port}"}},
        ).raise_for_status()
        with monitoring(
            tmp_path,
            webhook=live.intake_url("alertmanager"),
            exporter_port=exporter_port,
            port=prometheus_port,
        ):
            wait_for(lambda: recording.scrapes >= 40, what="forty scrapes of normal operation")
            recording.play(recording.peak)

            incidents = wait_for(
                lambda: api.get("/api/v1/incidents/").json()["results"], what="an incident"
            )
            assert [(i["service"], i["severity"]) for i in incidents] == [("orders-db", "critical")]
            page = f"/api/v1/incidents/{incidents[0]['number']}/"

            response = wait_for(
                lambda: (
                    (answer := api.get(f"{page}response/").json())
                    and answer["phases"]
                    and answer["phases"][-1]["state"] == "done"
                    and answer
                ),
                what="the end of the response",
            )
            assert response["state"] == "escalated"
            states = {phase["phase"]: phase["state"] for phase in response["phases"]}
            assert states == {
                "detection": "done",
                "diagnosis": "done",
                "prediction": "done",
                "consensus": "done",
                "resolution": "skipped",
                "verification": "skipped",
                "communication": "done",
            }
            series = [e for e in response["evidence"] if e["kind"] == "series"]
            unknown = [run["finding"]["unknown"] for run in response["runs"] if run["finding"]]
            assert series, unknown
            plotted = [value for _, value in series[0]["data"]["points"]]
            assert max(plotted) > THRESHOLD > min(plotted)
            assert series[0]["data"]["threshold"] == THRESHOLD
            told = api.get(f"{page}timeline/").json()["results"]
            assert "agent:detection" in {e["actor"] for e in told if e["kind"] == "incident.impact"}
            assert len(response["ballots"]) == 5
            assert {run["provider"] for run in response["runs"]} == {"local"}

            recording.play(recording.after)
            resolved = wait_for(
                lambda: (now := api.get(page).json())["status"] == "resolved" and now,
                what="recovery",
            )
            assert resolved["alert_count"] == 1
            assert resolved["resolved_at"] > resolved["detected_at"]
            assert len(api.get("/api/v1/incidents/").json()["results"]) == 1
        assert live.stop() == 0
