"""Reading a case: from the database, and from a Prometheus on the wire."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest
from django.utils.timezone import now

from agents import cases
from agents.case import EvidenceItem
from agents.models import (
    Agent,
    AgentRun,
    AgentState,
    Candidate,
    Decision,
    Evidence,
    Phase,
    PhaseRun,
    Response,
)
from agents.specialists import detection, resolution
from incidentops.incidents import attachments
from incidentops.incidents.models import Alert, Attachment, Incident, Severity, Status
from incidentops.telemetry.models import Change, LogLine, Sample, Series
from incidentops.telemetry.prometheus import RemoteSeries
from tests.factories import make_alert, make_attachment, make_incident, make_service, make_source
from tests.narrowing import known

pytestmark = pytest.mark.django_db


def make_response(incident: Incident | None = None) -> Response:
    incident = incident or make_incident(service="checkout")
    return Response.objects.create(incident=incident, urgency=0)


def an_attached_alert(response: Response, **fields) -> Alert:
    return make_alert(**{"incident": response.incident, "service": "checkout", **fields})


def push(service: str, values: list[float], *, metric: str = "errors") -> None:
    series = Series.objects.create(
        service=service, metric=metric, key=f"{service} {metric}", unit="%"
    )
    start = now() - timedelta(minutes=len(values))
    Sample.objects.bulk_create(
        Sample(series=series, at=start + timedelta(minutes=i), value=value)
        for i, value in enumerate(values)
    )


# --- From the database -------------------------------------------------------------------------


def test_a_bare_incident_makes_a_case_with_nothing_made_up():
    case = cases.load(make_response(make_incident()))

    assert (case.alerts, case.series, case.logs, case.services) == ((), (), (), ())
    assert (case.changes, case.past, case.findings, case.candidates) == ((), (), {}, ())
    assert case.decision is None
    assert case.missing == ()
    assert case.state == "running"


def test_the_surroundings_of_the_incident_are_read():
    database = make_service("orders-db", kind="database")
    checkout = make_service("checkout", depends_on=(database,))
    make_service("gateway", depends_on=(checkout,))
    make_service("printer")
    push("orders-db", [1.0, 2.0, 3.0])
    push("printer", [1.0])
    LogLine.objects.create(service="checkout", at=now(), level="error", message="boom")
    recent = Change.objects.create(
        service=checkout, kind="deploy", title="v2", at=now() - timedelta(hours=1)
    )
    Change.objects.create(
        service=checkout, kind="deploy", title="v1", at=now() - timedelta(hours=30)
    )

    case = cases.load(make_response())

    assert {one.name for one in case.services} == {"checkout", "orders-db", "gateway"}
    by_name = {one.name: one for one in case.services}
    assert by_name["checkout"].depends_on == ("orders-db",)
    assert by_name["orders-db"].kind == "database"
    assert [(one.service, list(one.values)) for one in case.series] == [("orders-db", [1, 2, 3])]
    assert [line.message for line in case.logs] == ["boom"]
    assert [change.id for change in case.changes] == [recent.pk]


def read_text(attachment: Attachment, text: str) -> None:
    claimed = attachments.claim(attachment.pk, lease=timedelta(minutes=5))
    assert claimed is not None
    attachments.record_text(claimed, text=text, provider="local", call=None)


def test_the_texts_that_were_read_are_in_the_case_in_the_order_they_came():
    response = make_response()
    first, second = (make_attachment(response.incident, note=note) for note in ("one", "two"))
    read_text(second, "x" * (cases.MOST_ATTACHED_TEXT + 1))
    read_text(first, "pool exhausted")
    read_text(make_attachment(make_incident()), "of another incident")

    facts = cases.load(response).attachments

    assert [(fact.id, fact.note) for fact in facts] == [(first.pk, "one"), (second.pk, "two")]
    assert (facts[0].text, facts[0].provider) == ("pool exhausted", "local")
    assert len(facts[1].text) == cases.MOST_ATTACHED_TEXT


def test_what_is_attached_but_not_read_is_missing_with_its_reason():
    response = make_response()
    make_attachment(response.incident, name="slow.pdf")
    picture = make_attachment(response.incident, name="shot.png")
    claimed = attachments.claim(picture.pk, lease=timedelta(minutes=5))
    assert claimed is not None
    attachments.record_unreadable(claimed, reason="It is a picture.")

    case = cases.load(response)

    assert case.attachments == ()
    assert case.missing == (
        "The attachment “slow.pdf” had not been read yet.",
        "The attachment “shot.png” cannot be read: It is a picture.",
    )


def test_a_case_read_again_later_has_the_same_texts():
    response = make_response()
    read_text(make_attachment(response.incident), "pool exhausted")

    assert cases.load(response).attachments == cases.load(response).attachments


def test_the_incident_is_read_as_it_is_now():
    response = make_response()
    Incident.objects.update(severity=Severity.LOW)

    assert cases.load(response).incident.severity == "low"


def test_of_many_alerts_the_firing_and_urgent_ones_are_kept():
    response, source = make_response(), make_source()
    for i in range(cases.MOST_ALERTS + 5):
        an_attached_alert(response, source=source, name=f"a{i}", severity=Severity.LOW)
    quiet = an_attached_alert(response, source=source, status=Alert.Status.RESOLVED)
    urgent = an_attached_alert(response, source=source, severity=Severity.CRITICAL)

    alerts = cases.load(response).alerts

    assert len(alerts) == cases.MOST_ALERTS
    assert alerts[0].id == urgent.pk
    assert quiet.pk not in {alert.id for alert in alerts}


def test_similar_resolved_incidents_come_first_and_the_incident_itself_never():
    response = make_response(make_incident(title="Checkout latency is high", service="checkout"))
    alike = make_incident(Status.RESOLVED, title="High latency of checkout", service="checkout")
    make_incident(Status.RESOLVED, title="Printer out of paper", service="printer")
    make_incident(Status.TRIGGERED, title="Checkout latency is high", service="checkout")
    make_incident(Status.RESOLVED, title="Checkout latency is high", origin="gameday")

    past = cases.load(response).past

    assert [one.number for one in past] == [alike.number]
    assert 0 < past[0].similarity <= 1
    lasted = known(alike.resolved_at) - alike.detected_at
    assert past[0].seconds_to_resolve == lasted.total_seconds()


def test_earlier_findings_and_their_evidence_come_back_as_they_were():
    response = make_response()
    an_attached_alert(response)
    finding = detection.investigate(cases.load(response))
    phase = PhaseRun.objects.create(response=response, phase=Phase.DETECTION)
    run = AgentRun.objects.create(
        response=response,
        phase_run=phase,
        agent=Agent.DETECTION,
        phase=Phase.DETECTION,
        fence=1,
        state=AgentState.COMPLETED,
        provider="local",
        finding={
            "summary": finding.summary,
            "claims": [
                {"text": c.text, "evidence": list(c.evidence), "confidence": c.confidence}
                for c in finding.claims
            ],
            "data": finding.data,
            "unknown": list(finding.unknown),
        },
    )
    for item in finding.evidence:
        run.evidence.add(
            Evidence.objects.create(
                id=item.id(response.pk),
                response=response,
                agent=Agent.DETECTION,
                family=item.family,
                kind=item.kind,
                title=item.title,
                source=item.source,
                data=item.data,
                observed_from=item.observed_from,
                observed_to=item.observed_to,
            )
        )

    (loaded,) = cases.load(response).findings.values()

    assert loaded.claims == finding.claims
    assert loaded.data == finding.data
    assert {i.id(response.pk) for i in loaded.evidence} == {
        i.id(response.pk) for i in finding.evidence
    }


@pytest.mark.parametrize("figure", [0.1, 1e-9, 123456.7, 7, 7.0, 1e15, 1.7e18, -1e300, -0.0])
def test_evidence_keeps_its_id_whatever_figures_it_holds(figure):
    """PostgreSQL gives large floats back as integers, and minus zero as zero."""
    item = EvidenceItem(
        family="metrics", kind="series", title="t", source="s", data={"points": [[1.5, figure]]}
    )
    response = make_response()
    row = Evidence.objects.create(
        id=item.id(response.pk),
        response=response,
        agent=Agent.DETECTION,
        family=item.family,
        kind=item.kind,
        title=item.title,
        source=item.source,
        data=item.data,
    )
    row.refresh_from_db()

    assert replace(item, data=row.data).id(response.pk) == row.pk


def test_a_run_that_did_not_complete_is_no_finding():
    response = make_response()
    phase = PhaseRun.objects.create(response=response, phase=Phase.DIAGNOSIS)
    AgentRun.objects.create(
        response=response,
        phase_run=phase,
        agent=Agent.DIAGNOSIS,
        phase=Phase.DIAGNOSIS,
        fence=1,
        state=AgentState.TIMEOUT,
        provider="local",
        finding={"summary": "half a thought"},
    )

    assert cases.load(response).findings == {}


def test_the_decision_comes_with_its_plan_and_its_endorsers():
    response = make_response()
    make_service("checkout")
    an_attached_alert(response)
    restart = next(p for p in resolution.propose(cases.load(response)) if p.action == "restart")
    Candidate.objects.create(
        response=response,
        digest=restart.digest,
        action=restart.action,
        target=restart.target,
        content=json.loads(json.dumps(vars(restart))),
    )
    Decision.objects.create(
        response=response,
        outcome="decided",
        choice=restart.digest,
        round=1,
        reason="4 of 5",
        certificate={
            "standings": [
                {"candidate": "other", "endorsers": []},
                {"candidate": restart.digest, "endorsers": ["detection", "diagnosis"]},
            ]
        },
    )

    response.epoch = 1
    case = cases.load(response)

    assert case.candidates == (restart,)
    assert case.decision is not None
    assert case.decision.proposal == restart
    assert case.decision.endorsers == ("detection", "diagnosis")


def test_reading_a_case_takes_a_bounded_number_of_queries(django_assert_max_num_queries):
    response, source = make_response(), make_source()
    checkout = make_service("checkout")
    for i in range(20):
        an_attached_alert(response, source=source, name=f"a{i}")
        make_service(f"caller{i}", depends_on=(checkout,))
        push(f"caller{i}", [1.0, 2.0])

    with django_assert_max_num_queries(20):
        cases.load(response)


# --- From Prometheus ---------------------------------------------------------------------------


@contextmanager
def prometheus(result: list[dict], *, status: int = 200):
    """Speaks the documented answer of /api/v1/query_range; yields its URL and the requests."""
    requests: list[tuple[str, dict[str, list[str]]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            requests.append((parts.path, parse_qs(parts.query)))
            body = {"status": "success", "data": {"resultType": "matrix", "result": result}}
            if status != 200:
                body = {"status": "error", "errorType": "bad_data", "error": "parse error"}
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def failing(minutes: int = 20) -> list[list]:
    """Six hours at 1 that jump to 9."""
    start = now().timestamp() - 360 * 60
    return [[start + 60 * i, "9" if i >= 360 - minutes else "1"] for i in range(361)]


def generator(expression: str, host: str = "prometheus.example:9090") -> str:
    return f"http://{host}/graph?g0.expr={quote(expression)}&g0.tab=1"


RATE = 'rate(errors_total{job="shop"}[5m])'


def watched(response: Response, url: str | None, expression: str = f"{RATE} > 5", **fields):
    config = {"prometheus_url": url} if url else {}
    return an_attached_alert(
        response,
        **{
            "source": make_source(config=config),
            "url": generator(expression),
            "labels": {"instance": "b", "job": "shop"},
            **fields,
        },
    )


def test_the_alerts_own_series_is_read_with_its_threshold_and_confirmed():
    response = make_response()
    others = {"metric": {"instance": "a", "job": "shop"}, "values": [[now().timestamp(), "1"]]}
    own = {"metric": {"instance": "b", "job": "shop"}, "values": failing()}
    with prometheus([others, own]) as (url, requests):
        alert = watched(response, url)
        case = cases.load(response)

    (series,) = case.series
    assert (series.alert_id, series.threshold, series.comparison) == (alert.pk, 5.0, ">")
    assert series.metric == RATE
    assert series.labels == {"instance": "b", "job": "shop"}
    assert series.source == f"prometheus 127.0.0.1 {RATE}"
    assert case.missing == ()
    ((path, query),) = requests
    assert path == "/api/v1/query_range"
    assert query["query"] == [RATE]
    assert detection.investigate(case).data["anomaly_confirmed"] is True


def test_an_alert_chooses_what_is_asked_and_never_where():
    response = make_response()
    hostile = 'up{x="&start=0"} or vector(1) # http://evil.example/ > 1'
    with prometheus([]) as (url, requests):
        watched(response, url, hostile)
        cases.load(response)

    assert requests
    for path, query in requests:
        assert path == "/api/v1/query_range"
        assert sorted(query) == ["end", "query", "start", "step"]
        assert len(query["start"]) == 1


def test_alerts_of_one_rule_are_asked_for_once_and_matched_by_labels():
    response = make_response()
    result = [{"metric": {"instance": name}, "values": failing()} for name in ("a", "b")]
    with prometheus(result) as (url, requests):
        source = make_source(config={"prometheus_url": url})
        for name in ("a", "b", "c"):
            watched(response, url, source=source, labels={"instance": name})
        case = cases.load(response)

    assert len(requests) == 1
    assert sorted(series.labels["instance"] for series in case.series) == ["a", "b"]
    assert len(case.missing) == 1
    assert "no series with the labels" in case.missing[0]


def test_a_source_without_an_address_is_named_and_nothing_is_sent():
    response = make_response()
    alert = watched(response, None)

    case = cases.load(response)

    assert case.series == ()
    assert case.missing == (
        f"Source {alert.source.name} has no prometheus_url, so the series behind its 1 alerts "
        f"could not be read.",
    )


def test_a_refused_query_and_a_dead_server_are_said_and_the_case_goes_on():
    response = make_response()
    push("checkout", [1.0, 2.0])
    with prometheus([], status=400) as (url, _):
        watched(response, url)
        refused = cases.load(response)
    dead = cases.load(response)

    assert [series.source for series in refused.series] == ["samples"]
    assert "Prometheus refused the query: parse error" in refused.missing[0]
    assert "could not be reached" in dead.missing[0]


def test_only_so_many_expressions_are_asked_for():
    response = make_response()
    with prometheus([]) as (url, requests):
        source = make_source(config={"prometheus_url": url})
        for i in range(cases.MOST_QUERIES + 3):
            watched(response, url, f"metric_{i} > {i}", source=source)
        case = cases.load(response)

    assert len({query["query"][0] for _, query in requests}) == cases.MOST_QUERIES
    assert any(f"only the first {cases.MOST_QUERIES}" in sentence for sentence in case.missing)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://p/graph?g0.expr=up+%3D%3D+0&g0.tab=1", "up == 0"),
        ("http://p/graph?g1.expr=up", ""),
        ("http://p/graph?g0.expr=" + "x" * 2001, ""),
        ("http://p/graph?" + "&".join(f"a{i}=1" for i in range(99)), ""),
        ("http://[::1", ""),
        ("not a url", ""),
        ("", ""),
    ],
)
def test_the_expression_is_read_from_the_generator_url(url, expected):
    assert cases.expression_of(url) == expected


def remote(at=(1.0,), **labels: str) -> RemoteSeries:
    points = np.asarray(at)
    return RemoteSeries(labels=labels, at=points, values=points)


def test_labels_that_the_rule_replaced_do_not_hide_the_series():
    own = remote(job="shop", instance="b", severity="info")
    other = remote(job="shop", instance="a", severity="info")
    labels = {"job": "shop", "instance": "b", "severity": "critical", "alertname": "X"}

    assert cases.match(labels, [other, own]) is own


def test_an_aggregate_without_labels_belongs_to_every_alert_of_its_rule():
    total = remote()

    assert cases.match({"alertname": "X"}, [total]) is total


def test_a_stranger_or_an_empty_series_is_no_match():
    assert cases.match({"job": "shop"}, [remote(job="other")]) is None
    assert cases.match({"job": "shop"}, [remote(at=(), job="shop")]) is None
    assert cases.match({"job": "shop"}, []) is None
