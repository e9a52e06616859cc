from __future__ import annotations

from tests.bench import publishing


def test_publishing_is_far_cheaper_than_a_connection_per_call():
    """The bar of the benchmark is 20 times; a crowded machine must not fail the suite."""
    assert publishing.measure()["ratio"] > 5
