from __future__ import annotations

from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st

from incidentops.incidents.correlation import (
    THRESHOLD,
    WINDOW_S,
    Candidate,
    Signal,
    Topology,
    correlate,
)

ALONE = Topology({})
SHOP = Topology({"web": ["checkout"], "checkout": ["orders-db"], "search": ["index"]})


def signal(id, at, service="", name="HighLatency", **fields):
    return Signal(id=id, at=float(at), service=service, name=name, **fields)


def groups(signals, topology=ALONE, candidates=()):
    return {d.signal.id: d.group for d in correlate(signals, candidates, topology)}


def together(one, two, topology=ALONE):
    found = groups([one, two], topology)
    return found[one.id] == found[two.id]


def test_unconnected_services_never_share_an_incident_however_alike():
    for gap in (0, 1, 60, 600):
        assert not together(signal(1, 0, "checkout"), signal(2, gap, "search"))
        assert not together(signal(1, 0, "checkout"), signal(2, gap, "search"), SHOP)


def test_one_service_shares_an_incident_within_the_window():
    assert together(signal(1, 0, "checkout"), signal(2, 600, "checkout", "DiskFull"))
    assert not together(signal(1, 0, "checkout"), signal(2, WINDOW_S + 1, "checkout"))


def test_a_dependency_connects_for_minutes_and_a_distant_one_for_seconds():
    assert together(signal(1, 0, "orders-db"), signal(2, 300, "checkout"), SHOP)
    assert together(signal(1, 0, "orders-db"), signal(2, 1, "web"), SHOP)
    assert not together(signal(1, 0, "orders-db"), signal(2, 600, "web"), SHOP)


def test_without_a_service_the_same_alert_on_many_instances_is_one_cause():
    storm = [signal(n, n / 100, labels={"instance": f"i{n}"}) for n in range(200)]
    assert set(groups(storm).values()) == {0}


def test_without_a_service_different_alerts_need_labels_or_words_in_common():
    one = signal(1, 0, name="NodeDown", text="node n7 is down", labels={"node": "n7"})
    same_node = signal(2, 30, name="DiskSilent", text="disk of n7 is silent", labels={"node": "n7"})
    other_node = signal(3, 30, name="DiskSilent", text="disk of n9 silent", labels={"node": "n9"})
    assert together(one, same_node)
    assert not together(one, other_node)


def test_a_burst_joins_the_incident_whose_pattern_it_repeats():
    one = Candidate(number=1, signals=(signal(1, 0, "checkout"), signal(2, 0, "orders-db")))
    two = Candidate(number=2, signals=(signal(3, 100, "search"), signal(4, 100, "index")))
    burst = [signal(5, 200, "orders-db"), signal(6, 200, "checkout"), signal(7, 201, "index")]
    numbers = {d.signal.id: d.number for d in correlate(burst, [one, two], SHOP)}
    assert numbers == {5: 1, 6: 1, 7: 2}


def test_a_decision_explains_itself():
    opened, joined = correlate([signal(1, 0, "orders-db"), signal(2, 120, "checkout")], [], SHOP)
    assert opened.reason["kind"] == "opened"
    reason = joined.reason
    assert reason["kind"] == "correlated"
    assert reason["with_alert"] == 1
    assert (reason["topology"], reason["text"]) == (0.7, 1.0)
    assert reason["score"] >= THRESHOLD
    assert reason["explanation"].startswith(
        "It began 2 min from alert 1, on a service that checkout directly depends on or serves"
    )


def test_an_opened_incident_tells_how_close_the_next_one_came():
    candidate = Candidate(number=7, signals=(signal(1, 0, "orders-db"),))
    (decision,) = correlate([signal(2, 300, "web")], [candidate], SHOP)
    assert decision.number is None
    assert "The closest open incident, 7, scored 0." in decision.reason["explanation"]


def test_a_thousand_alerts_among_hundreds_of_incidents_cost_little_processor_time():
    chain = Topology({f"s{n}": [f"s{n + 1}"] for n in range(400)})
    candidates = [
        Candidate(number=n + 1, signals=(signal(-n, n % 60, f"s{2 * n}"),)) for n in range(200)
    ]
    batch = [signal(n + 1, 100 + n / 10, f"s{n % 400}") for n in range(1000)]
    started = process_time()
    correlate(batch, candidates, chain)
    assert process_time() - started < 3


SIGNALS = st.lists(
    st.builds(
        signal,
        id=st.integers(1, 10**6),
        at=st.integers(0, 4000),
        service=st.sampled_from(["web", "checkout", "orders-db", "search", "elsewhere", ""]),
        name=st.sampled_from(["HighLatency", "DiskFull"]),
        labels=st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), max_size=2),
    ),
    max_size=30,
    unique_by=lambda one: one.id,
)


@settings(max_examples=150, deadline=None)
@given(SIGNALS)
def test_every_alert_is_decided_once_and_each_group_is_opened_once(signals):
    decisions = correlate(signals, [], SHOP)
    assert sorted(d.signal.id for d in decisions) == sorted(one.id for one in signals)
    opened = [d.group for d in decisions if d.chosen is None]
    assert len(opened) == len(set(opened)) == len({d.group for d in decisions})
    for decision in decisions:
        assert 0 <= (decision.chosen.score if decision.chosen else 0) <= 1


@settings(max_examples=100, deadline=None)
@given(SIGNALS, st.integers(0, 4000))
def test_what_comes_later_changes_nothing_decided_before(signals, cut):
    early = [one for one in signals if one.at <= cut]
    late = [one for one in signals if one.at > cut + 10]
    assert groups(early).items() <= groups([*early, *late]).items()
