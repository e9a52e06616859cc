"""The scripts that need no page, run by Node where it is installed."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from typing import Any

import pytest

from incidentops.dashboards import board
from incidentops.templatetags import display
from tests.live import ROOT

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="Node is not installed")


def run(module: str, body: str, **values: Any) -> Any:
    """The JSON value that `body` returns, with the module's exports as `m` and `values` as `v`."""
    path = (ROOT / "static" / "js" / module).as_uri()
    script = f"""
    globalThis.document = {{documentElement: {{dataset: {{}}}}, body: {{dataset: {{}}}}}};
    const m = await import({json.dumps(path)});
    const v = {json.dumps(values)};
    const result = await (async () => {{ {body} }})();
    process.stdout.write(JSON.stringify(result));
    """
    done = subprocess.run(
        [str(NODE), "--input-type=module", "-e", script], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_durations_and_numbers_are_written_as_the_server_writes_them() -> None:
    seconds = [0, 0.05, 0.5, 1, 2.345, 9.99, 59, 60, 61, 192, 3600, 3725, 86_400, 90_000, 700_000]
    numbers = [0, 0.0123, 0.5, 1.5, 12.25, 3, 1234, 123_456, 1e9, 0.00001]
    written = run(
        "format.js",
        "return {spans: v.seconds.map(m.span), numbers: v.numbers.map(m.number)}",
        seconds=seconds,
        numbers=numbers,
    )
    assert written["spans"] == [display.span(value) for value in seconds]
    assert written["numbers"] == [display.number(value) for value in numbers]


def test_measured_values_are_rounded_as_the_server_rounds_them() -> None:
    rng = random.Random(7)
    numbers: list[float] = [
        sign * base * 10.0**power
        for power in range(-12, 18)
        for base in (1.0, 1.00005, 1.2345, 2.5, 9.99949, 9.9995, 9.99951, rng.uniform(1, 10))
        for sign in (1, -1)
    ]
    numbers += [1234.5, -1234.5, 0.00009765625, 12_345.5, 12_346.5, 999_999.5, 9_999_999.5, 5.0]
    numbers += [0.0123456, 12_345.678, -0.0, 1e9, 1_000_000_000_000_000, 1e22, 5e-324, 1.7e308]
    written = run("format.js", "return v.numbers.map(m.number)", numbers=numbers)
    assert written == [display.number(value) for value in numbers]
    assert [display.number(value) for value in (0.0123456, 12_345.678, 1e-5)] == [
        "0.01235",
        "12,346",
        "1.000e-5",
    ]


def test_json_in_a_table_reads_as_the_server_writes_it() -> None:
    values: list[Any] = [
        None,
        "",
        True,
        "a<b",
        0.0123456,
        ["a", 2.5, None, "2026-01-01T00:00:00Z"],
        {"at": "2026-01-01T00:00:00Z", "of": [1, {"b": False}]},
    ]
    written = run("format.js", "return v.values.map(m.cell)", values=values)
    assert written == [display.cell(value) for value in values]


CARD = {"number": 7, "status": "triggered", "severity": "high", "version": 1, "title": "t"}


def event(position: int, version: int, **card: Any) -> dict[str, Any]:
    data = {"number": 7, "incident": {**CARD, "version": version, **card}}
    return {
        "position": position,
        "type": "incident.updated",
        "at": "2026-01-01T00:00:00.000Z",
        "version": version,
        "data": data,
    }


APPLY = """
const store = new m.Store("ops");
store.replace({epoch: "e", position: 10, data: {incidents: [v.card], responses: []}});
const answers = v.frames.map((events) => store.apply({epoch: "e", events}));
return {answers, position: store.position, incidents: store.state.incidents};
"""


def test_applying_events_twice_changes_nothing() -> None:
    first = [event(11, 2, status="acknowledged"), event(12, 3, status="mitigated")]
    once = run("store.js", APPLY, card=CARD, frames=[first])
    twice = run("store.js", APPLY, card=CARD, frames=[first, first])
    assert once["incidents"] == twice["incidents"] == [first[1]["data"]["incident"]]
    assert twice["position"] == 12


def test_an_older_card_does_not_replace_a_newer_one() -> None:
    newer = {**CARD, "version": 9, "status": "resolved"}
    kept = run("store.js", APPLY, card=newer, frames=[[event(11, 8, status="triggered")]])
    assert kept["incidents"] == [newer]


def test_a_gap_is_noticed() -> None:
    gone = run("store.js", APPLY, card=CARD, frames=[[event(13, 4, status="mitigated")]])
    assert gone["answers"] == [False]
    assert gone["position"] == 10


def test_an_agent_whose_run_has_ended_is_idle() -> None:
    agents = [{"agent": "detection", "state": "analyzing", "incident": 7, "phase": "detection"}]
    ended = {
        "agent": "detection",
        "state": "completed",
        "incident": 7,
        "phase": "detection",
        "at": "2026-01-01T00:00:00.000Z",
    }
    kept = run(
        "store.js",
        """const said = {type: "agent.state", version: 1, data: v.ended};
        return m.reduce("ops", {agents: v.agents}, said).agents""",
        agents=agents,
        ended=ended,
    )
    assert [(row["state"], row["incident"]) for row in kept] == [("idle", None)]


def test_waiting_between_attempts_grows_and_varies() -> None:
    waits = run(
        "live.js", "return [1, 2, 3, 20].map((n) => [m.backOff(n, 0), m.backOff(n, 0.999)])"
    )
    assert [low for low, _ in waits] == [250, 500, 1000, 15_000]
    assert all(low < high <= 30_000 for low, high in waits)


def test_the_quality_of_a_connection_is_its_round_trip() -> None:
    words = run("live.js", "return [0, 49.9, 50, 99, 100, 199, 200].map(m.quality)")
    assert words == ["excellent", "excellent", "good", "good", "fair", "fair", "poor"]


def test_the_board_is_ordered_as_the_server_orders_it() -> None:
    cards = [
        {**CARD, "number": number, "severity": severity, "status": status}
        for number, (severity, status) in enumerate(
            [("low", "triggered"), ("critical", "triggered"), ("high", "resolved")] * 3, start=1
        )
    ]
    cards[3]["snoozed_until"] = cards[4]["snoozed_until"] = "2026-01-01T00:00:00.000Z"
    assert [card["number"] for card in board.columns(cards)[-1][1]] == [5, 4]
    rows = run(
        "columns.js",
        "return m.layout(v.cards)",
        cards=cards,
    )
    assert rows == [[card["number"] for card in column] for _, column in board.columns(cards)]


def test_money_and_addresses_are_read_as_the_server_reads_them() -> None:
    prices = (None, 0, 1, 350, 100_000_000, 1_500_000_000, 12_345_678_900_000_000)
    sums = [(nano, unknown) for nano in prices for unknown in (0, 1, 3)]
    uris = ["/incidents/3/", "/a?b=c#d", "//evil", "/\\evil", "/\t/evil", "https://x/", "", "/a\n"]
    written = run(
        "format.js",
        "return {sums: v.sums.map((one) => m.money(...one)), local: v.uris.map(m.isLocalPath)}",
        sums=sums,
        uris=uris,
    )
    assert written["sums"] == [display.money(nano, unknown) for nano, unknown in sums]
    assert written["local"] == [display.is_local_path(uri) for uri in uris]
    assert written["local"] == [True, True, *[False] * 6]


WRITE = """
const store = new m.Store("incident:7");
const snapshot = (runs, cycle = 1) =>
  store.replace({epoch: "e", position: store.position, data: {response: {cycle, runs}}});
const write = (run, text) => store.apply({epoch: "e", events: [{
  position: store.position + 1, type: "agent.words", version: 1, data: {run, text, cycle: 1},
}]});
const written = () => Object.values(store.state.writing ?? {}).map((words) => words.text);
"""


def test_words_stay_while_they_are_written_and_go_when_their_run_ends() -> None:
    seen = run(
        "store.js",
        WRITE
        + """
        const seen = [];
        snapshot([{id: 1, finished_at: null}]);
        write(1, "The");
        write(1, "The deploy");
        seen.push(written());
        snapshot([{id: 1, finished_at: null}]);
        seen.push(written());
        snapshot([{id: 1, finished_at: "2026-01-01T00:00:00.000Z"}]);
        seen.push(written());
        write(1, "Told late");
        seen.push(written());
        return seen;
        """,
    )
    assert seen == [["The deploy"], ["The deploy"], [], []]


def test_words_of_an_earlier_cycle_are_not_shown_in_the_next() -> None:
    seen = run(
        "store.js", WRITE + 'snapshot([]); write(1, "Old"); snapshot([], 2); return written()'
    )
    assert seen == []


def test_a_call_asks_for_the_incident_anew() -> None:
    asked = run(
        "store.js",
        """
        const store = new m.Store("incident:7");
        let asked = 0;
        store.addEventListener("incomplete", () => { asked += 1; });
        store.replace({epoch: "e", position: 4, data: {response: {cycle: 1, runs: []}}});
        store.apply({epoch: "e", events: [{position: 5, type: "awsai.call", version: 9, data: {}}]});
        return asked;
        """,
    )
    assert asked == 1
