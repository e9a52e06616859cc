from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from agents.algorithms import rootcause

GRAPH = {
    "web": ["cart", "search"],
    "cart": ["db"],
    "search": ["db", "index"],
    "db": [],
    "index": [],
}
NODES = sorted(GRAPH)
effects_of = st.dictionaries(st.sampled_from(NODES), st.floats(0.1, 50))


def order(suspects: tuple[rootcause.Suspect, ...]) -> list[str]:
    return [suspect.node for suspect in suspects]


def test_the_deepest_sick_node_explains_its_callers():
    ranked = rootcause.rank({"web": 10, "cart": 12, "db": 13}, GRAPH, target="web")

    assert ranked[0].node == "db"
    assert ranked[0].score == 1.0
    assert {s.node: s.explained_by for s in ranked} == {"web": "cart", "cart": "db", "db": ""}


def test_a_node_far_sicker_than_its_callees_is_itself_suspect():
    ranked = rootcause.rank({"web": 20, "cart": 20, "db": 2}, GRAPH, target="web")

    assert order(ranked)[0] == "cart"


def test_what_the_target_does_not_depend_on_is_no_suspect():
    ranked = rootcause.rank({"cart": 5, "index": 50, "db": 5}, GRAPH, target="cart")

    assert set(order(ranked)) == {"cart", "db"}


def test_of_two_equal_suspects_the_one_that_moves_with_the_symptom_comes_first():
    ranked = rootcause.rank(
        {"web": 9, "db": 9, "index": 9},
        GRAPH,
        target="web",
        correlations={"web": 1.0, "db": 0.1, "index": 0.9},
        observed={"web", "db", "index"},
    )

    assert order(ranked)[0] == "index"


def test_trouble_passes_unseen_through_what_nobody_observes_but_not_through_the_healthy():
    effects = {"web": 9, "db": 9}

    through_the_dark = rootcause.rank(effects, GRAPH, target="web", observed={"web", "db"})
    past_the_healthy = rootcause.rank(effects, GRAPH, target="web")

    assert {s.node: s.explained_by for s in through_the_dark} == {"db": "", "web": "db"}
    assert {s.node: s.explained_by for s in past_the_healthy} == {"db": "", "web": ""}


def test_alerts_alone_can_be_ranked():
    ranked = rootcause.rank({"web": 4, "search": 8, "index": 8}, GRAPH, target="web")

    assert order(ranked)[0] == "index"
    assert ranked[0].correlation is None


def test_circles_and_unknown_nodes_end():
    graph = {"a": ["b", "ghost"], "b": ["a"]}

    assert order(rootcause.rank({"a": 1, "b": 2}, graph, target="a")) == ["b", "a"]
    assert order(rootcause.rank({"x": 3}, {}, target="x")) == ["x"]
    assert rootcause.rank({}, graph, target="a") == ()


@given(effects_of, st.randoms(use_true_random=False))
def test_the_ranking_does_not_depend_on_the_order_of_its_inputs(effects, rng: random.Random):
    shuffled = list(effects.items())
    rng.shuffle(shuffled)
    graph = {node: rng.sample(GRAPH[node], len(GRAPH[node])) for node in rng.sample(NODES, 5)}

    assert rootcause.rank(dict(shuffled), graph, target="web") == rootcause.rank(
        effects, GRAPH, target="web"
    )


@given(effects_of, st.sampled_from([0.5, 4.0]))
def test_the_unit_of_effects_does_not_matter(effects, factor):
    scaled = {node: effect * factor for node, effect in effects.items()}

    one = rootcause.rank(effects, GRAPH, target="web")
    two = rootcause.rank(scaled, GRAPH, target="web")

    assert order(one) == order(two)
    assert all(0 <= suspect.score <= 1 for suspect in one)


@given(effects_of)
def test_renamed_nodes_are_ranked_alike(effects):
    def renamed(node: str) -> str:
        return f"{NODES.index(node)}-{node[::-1]}"

    graph = {renamed(node): [renamed(c) for c in callees] for node, callees in GRAPH.items()}
    two = rootcause.rank({renamed(n): e for n, e in effects.items()}, graph, target=renamed("web"))

    one = rootcause.rank(effects, GRAPH, target="web")
    assert {renamed(s.node): s.score for s in one} == {s.node: s.score for s in two}
