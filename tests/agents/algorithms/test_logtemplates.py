from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.algorithms import logtemplates

LINES = st.lists(st.text(max_size=60), max_size=40)


def test_lines_of_one_statement_share_a_template():
    found = logtemplates.mine(
        [
            "connection from 10.0.0.1:5432 closed after 12 ms",
            "connection from 10.9.1.7:5432 closed after 340 ms",
            "session opened for user alice",
            "session opened for user bob",
            "disk is full",
        ]
    )

    assert [template.lines for template in found] == [(0, 1), (2, 3), (4,)]
    assert found[1].text == "session opened for user <*>"


def test_the_example_of_the_drain_paper_is_grouped_as_published():
    # He et al., ICWS 2017, section III: the raw HDFS messages of figure 1.
    found = logtemplates.mine(
        [
            "BLOCK* NameSystem.allocateBlock: /usr/root/sortrand/_temporary/_task_0002/part-00011. blk_904791815409399662",
            "Receiving block blk_904791815409399662 src: /10.251.43.210:55700 dest: /10.251.43.210:50010",
            "Receiving block blk_904791815409399662 src: /10.250.18.114:52231 dest: /10.250.18.114:50010",
            "PacketResponder 0 for block blk_904791815409399662 terminating",
            "Received block blk_904791815409399662 of size 67108864 from /10.250.18.114",
            "PacketResponder 1 for block blk_904791815409399662 terminating",
            "Received block blk_904791815409399662 of size 67108864 from /10.251.43.210",
        ]
    )

    assert [template.lines for template in found] == [(0,), (1, 2), (3, 5), (4, 6)]


def test_what_begins_at_an_instant_is_new_and_steady_chatter_is_not():
    messages = [f"tick {i}" for i in range(100)] + [f"boom in worker {i}" for i in range(12)]
    at = [float(i) for i in range(100)] + [80.0 + i for i in range(12)]

    found = logtemplates.emerged(logtemplates.mine(messages), at, since=80.0)

    assert [(one.before, one.after, one.is_new) for one in found] == [(0, 12, True)]


def test_a_template_that_bursts_is_found_with_its_counts():
    at = [*range(0, 80, 4), *[80 + i / 10 for i in range(150)]]
    messages = ["retrying call"] * len(at)
    steady = [float(i) for i in range(100)]

    found = logtemplates.emerged(
        logtemplates.mine([*messages, *["tick"] * 100]), [*at, *steady], since=80.0
    )

    assert [(one.before, one.after) for one in found] == [(20, 150)]


def test_without_a_before_or_an_after_nothing_can_have_emerged():
    templates = logtemplates.mine(["a", "a"])

    assert logtemplates.emerged(templates, [5.0, 6.0], since=4.0) == ()
    assert logtemplates.emerged(templates, [5.0, 6.0], since=7.0) == ()
    assert logtemplates.emerged((), [], since=7.0) == ()


@given(LINES)
def test_every_line_is_in_exactly_one_template(lines):
    found = logtemplates.mine(lines)

    assert sorted(line for template in found for line in template.lines) == list(range(len(lines)))


@given(LINES, st.lists(st.text(max_size=60), max_size=10))
def test_mining_is_streaming_later_lines_do_not_split_earlier_groups(lines, later):
    before = logtemplates.mine(lines)
    after = logtemplates.mine([*lines, *later])

    cut = [tuple(i for i in template.lines if i < len(lines)) for template in after]
    assert [lines_ for lines_ in cut if lines_] == [template.lines for template in before]
