from __future__ import annotations

from datetime import timedelta
from threading import Event, Thread

import pytest

from awsai.freshness import kept_fresh


@pytest.fixture(autouse=True)
def fresh_for(settings):
    """How old what was read may become."""
    settings.AWSAI_FRESH = timedelta(hours=1)
    return settings


def test_what_was_read_serves_each_argument_until_it_is_old(fresh_for):
    read = []

    def count(name):
        read.append(name)
        return len(read)

    lately = kept_fresh(count)
    assert [lately("a"), lately("b"), lately("a"), lately("b")] == [1, 2, 1, 2]
    fresh_for.AWSAI_FRESH = timedelta(0)
    assert [lately("a"), lately("a")] == [3, 4]


def test_one_thread_reads_anew_while_the_others_go_by_what_was_read_before(fresh_for):
    may_end, began, versions = Event(), Event(), iter(range(10))

    def slow() -> int:
        version = next(versions)
        if version == 1:
            began.set()
            assert may_end.wait(10)
        return version

    lately = kept_fresh(slow)
    assert lately() == 0
    fresh_for.AWSAI_FRESH = timedelta(0)
    reader = Thread(target=lately)
    reader.start()
    assert began.wait(10)
    fresh_for.AWSAI_FRESH = timedelta(hours=1)
    assert [lately(), lately()] == [0, 0]
    may_end.set()
    reader.join()
    assert lately() == 1


def test_what_could_not_be_read_is_an_error_for_who_read_it(fresh_for):
    answers: list[object] = ["once", OSError("away"), "again"]

    def unsteady() -> object:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    lately = kept_fresh(unsteady)
    assert lately() == "once"
    fresh_for.AWSAI_FRESH = timedelta(0)
    with pytest.raises(OSError, match="away"):
        lately()
    assert lately() == "again"
