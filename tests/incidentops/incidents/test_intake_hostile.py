"""Bodies meant to hurt, made from authentic ones by seeded mutations.

The suite tries a part of them; HOSTILE_BODIES=5000 tries all, HOSTILE_SEED others.
"""

from __future__ import annotations

import copy
import gc
import gzip
import json
import os
import random
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.test import Client

from incidentops.incidents.models import Alert, DeadLetter, Delivery, Source
from tests.factories import SECRET, make_source

pytestmark = pytest.mark.django_db
SAMPLES = Path(__file__).parents[2] / "data/intake"
BODIES = int(os.environ.get("HOSTILE_BODIES", "1200"))
SEED = int(os.environ.get("HOSTILE_SEED", "20261122"))
LIMITS = {"limits": {"alerts_per_10s": 10**9, "bytes_per_10s": 10**12}}
MAPPING = {
    "alerts": "checks || @",
    "title": "check",
    "status": "state",
    "severity": "prio",
    "service": "$.host.name",
    "starts_at": "since",
    "ends_at": "until",
    "labels": "tags",
    "fingerprint": "join('/', ['check', to_string(id)])",
    "status_values": {"firing": [1, 2], "resolved": [0]},
}
BOMB = gzip.compress(b"[" * 60_000_000, 1)


class Raw(str):
    """Text that goes into the JSON unquoted."""


HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1e308, -0.0, 2**63, 10**400, Raw("9" * 5000), Raw("1e999"),
    Raw("NaN"), Raw("-Infinity"), "", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "\u202e",
    "\u0085\x1b[2J", "A" * 5_000, "é" * 20_000, "<script>alert(1)</script>",
    "javascript:alert(1)", "'; DROP TABLE incidents_alert; --", "%s%n%d", "{{7*7}}", "../../etc",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0000-00-00T00:00:00Z",
    "2026-11-22T25:61:61Z", "2026-11-22T11:00:00.1234567890123Z", "-99999999999999", "1e5",
    [], {}, [[]], [None], {"": ""}, {"a": {"b": {"c": []}}}, ["x"] * 300,
    {str(n): "x" for n in range(150)}, {"k" * 5000: "v"}, {"\0": "\ud800"},
    Raw("[" * 900 + "]" * 900), Raw("[" * 100_000), Raw('{"a":' * 900 + "1" + "}" * 900),
]  # fmt: skip


def _nodes(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a document."""
    found: list[tuple[Any, Any]] = []
    members: Any = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for key, member in members:
        found.append((value, key))
        found += _nodes(member)
    return found


def _mutate(document: Any, rng: random.Random) -> Any:
    document = copy.deepcopy(document)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        nodes = _nodes(document)
        if not nodes or rng.random() < 0.03:
            return copy.deepcopy(rng.choice(HOSTILE))
        container, key = rng.choice(nodes)
        kind = rng.randrange(4)
        if kind == 0 and isinstance(container, dict):
            del container[key]
        elif kind == 1 and isinstance(container, dict):
            names = ["", "\0", "\ud800", "K" * 500, str(key).upper()]
            container[rng.choice(names)] = container.pop(key)
        elif kind == 2 and isinstance(container, list):
            container *= rng.choice([0, 2, 20])
        else:
            container[key] = copy.deepcopy(rng.choice(HOSTILE))
    return document


def _text(value: Any) -> str:
    """JSON, with `Raw` as it is."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        members = [f"{json.dumps(name)}:{_text(value[name])}" for name in value]
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    return json.dumps(value)


def _damage(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) or 1)
    damage: list[Callable[[], bytes]] = [
        lambda: data[:at],
        lambda: data[:at] + rng.randbytes(rng.randrange(1, 20)) + data[at:],
        lambda: data[:at] + b"\xff\xfe\x00" + data[at:],
        lambda: data.decode().encode("utf-16"),
        lambda: b"\xef\xbb\xbf" + data,
        lambda: data + data,
        lambda: data.replace(b'"', b"'"),
        lambda: b"\0" * 1000,
        lambda: b"",
        lambda: data + b" " * 1_100_000,
    ]
    return rng.choice(damage)()


def _request(document: Any, rng: random.Random) -> tuple[bytes, str, dict[str, str]]:
    """A body, its content type and its headers."""
    data = _text(_mutate(document, rng)).encode(errors="surrogatepass")
    if rng.random() < 0.2:
        data = _damage(data, rng)
    content_type, headers = "application/json", {"Authorization": f"Bearer {SECRET}"}
    if rng.random() < 0.1:
        data, coding = rng.choice(
            [
                (gzip.compress(data, 1), "gzip"),
                (zlib.compress(data, 1), "deflate"),
                (gzip.compress(data, 1)[:-9], "gzip"),
                (data, "gzip"),
                (data, "br"),
                (BOMB, "gzip"),
            ]
        )
        headers["Content-Encoding"] = coding
    if rng.random() < 0.02:
        content_type = rng.choice(["text/xml", "", "application/x-json", "json"])
    if rng.random() < 0.05:
        headers["Idempotency-Key"] = rng.choice(["k", "k" * 500, "ü", " ", "\x7f"])
    return data, content_type, headers


@pytest.mark.timeout(900)
def test_hostile_bodies_are_refused_by_field_and_break_nothing() -> None:
    rng = random.Random(SEED)
    client = Client(raise_request_exception=False)
    targets: list[tuple[Source, Any]] = [
        (make_source(kind, config=LIMITS), json.loads((SAMPLES / f"{name}.json").read_text()))
        for kind, name in [
            ("alertmanager", "alertmanager"),
            ("alertmanager", "alertmanager_before_fingerprints"),
            ("prometheus", "prometheus"),
            ("generic", "generic"),
        ]
    ]
    foreign = json.loads((SAMPLES / "generic_foreign.json").read_text())
    targets.append((make_source("generic", config=LIMITS | {"mapping": MAPPING}), foreign))
    process, before = psutil.Process(), 0
    statuses: Counter[int] = Counter()
    for number in range(BODIES):
        source, document = rng.choice(targets)
        data, content_type, headers = _request(document, rng)
        answer: Any = client.post(
            f"/intake/{source.pk}/", data, content_type=content_type, headers=headers
        )
        told = f"seed {SEED}, body {number}: {data[:300]!r} {headers} -> {answer.content[:300]!r}"
        statuses[answer.status_code] += 1
        assert answer.status_code in {202, 400, 413, 415}, told
        assert b"Traceback" not in answer.content, told
        if answer.status_code != 202:
            assert answer["Content-Type"] == "application/problem+json", told
            assert answer.json()["field"], told
        if number == BODIES // 5:
            gc.collect()
            before = process.memory_info().rss
    gc.collect()
    growth = process.memory_info().rss - before
    sys.stdout.write(
        f"{BODIES} bodies, seed {SEED}: {dict(statuses)}, memory grew by {growth / 2**20:.1f} MB\n"
    )
    assert growth < 50 * 2**20
    assert {202, 400, 413, 415} == set(statuses)
    accepted = Delivery.objects.filter(source__in=[source for source, _ in targets])
    assert accepted.count() <= statuses[202]
    assert DeadLetter.objects.count() <= statuses[400]
    assert Alert.objects.count() > 0
