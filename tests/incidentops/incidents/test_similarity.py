from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from incidentops.incidents.similarity import Bm25

TEXTS = st.lists(st.sampled_from(["pool", "leak", "disk", "full", "7"]), max_size=8).map(" ".join)
# To each of a few places either a text or nothing, one after the other.
HISTORIES = st.lists(st.tuples(st.integers(0, 5), TEXTS | st.none()), max_size=20)


@given(HISTORIES, TEXTS)
def test_a_corpus_that_was_changed_ranks_as_one_made_anew(history, query):
    changed, held = Bm25(), dict[int, str]()
    for place, text in history:
        if place in held:
            changed.remove(place, held.pop(place))
        if text is not None:
            changed.add(place, text)
            held[place] = text
    fresh = Bm25()
    for place, text in sorted(held.items()):
        fresh.add(place, text)
    assert changed.most_similar(query) == fresh.most_similar(query)
