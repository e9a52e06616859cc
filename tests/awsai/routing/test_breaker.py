from __future__ import annotations

import socket
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from threading import Barrier
from time import monotonic

import pytest
import redis
from django.conf import settings

from awsai import breaker
from awsai.breaker import Breakers, Condition, Rules, State, Target
from awsai.ports import Trouble
from incidentops.embedded import free_port
from tests import live

MODEL = Target(service="bedrock-claude", model="maker.model", region="us-east-1")
OTHER = Target(service="bedrock-claude", model="maker.model", region="us-west-2")


@pytest.fixture
def prefix():
    """A name of its own for the keys, which are gone afterwards."""
    name = f"{settings.REDIS_PREFIX}-{uuid.uuid4().hex[:8]}"
    yield name
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        for key in client.scan_iter(f"{name}:*"):
            client.delete(key)


@pytest.fixture
def clients():
    made: list[redis.Redis] = []
    yield made
    for client in made:
        client.close()


@pytest.fixture
def make(prefix, clients):
    """Breakers over a connection of their own, as another process would have them."""

    def make(**rules: int) -> Breakers:
        client = redis.Redis.from_url(settings.REDIS_URL)
        clients.append(client)
        return Breakers(client, prefix=prefix, rules=Rules(**rules))

    return make


def report(
    breakers: Breakers, trouble: Trouble | None, times: int = 1, target: Target = MODEL
) -> Condition:
    for _ in range(times - 1):
        breakers.report(target, trouble)
    return breakers.report(target, trouble)


def state(breakers: Breakers, target: Target = MODEL) -> State:
    return breakers.look([target])[target].state


def wait_for(breakers: Breakers, wanted: State) -> None:
    until = monotonic() + 10
    while state(breakers) != wanted:
        assert monotonic() < until


def test_a_target_nobody_called_is_closed(make):
    condition = make().look([MODEL])[MODEL]
    assert (condition.state, condition.calls, condition.is_known) == (State.CLOSED, 0, True)
    assert make().known() == []


@pytest.mark.parametrize("trouble", [Trouble.TIMEOUT, Trouble.UNAVAILABLE, Trouble.BROKEN])
def test_five_failures_that_are_half_of_the_calls_open_it(make, trouble):
    breakers = make()
    report(breakers, None, 5)
    assert report(breakers, trouble, 4).state == State.CLOSED
    condition = report(breakers, trouble)
    assert (condition.state, condition.reason) == (State.OPEN, "failing")
    assert timedelta(seconds=29) < condition.retry_after <= timedelta(seconds=30)
    assert breakers.admit(MODEL).is_open


def test_five_failures_among_many_calls_do_not_open_it(make):
    breakers = make()
    report(breakers, None, 6)
    condition = report(breakers, Trouble.TIMEOUT, 5)
    assert (condition.state, condition.calls, condition.failures) == (State.CLOSED, 11, 5)


def test_failures_older_than_the_window_do_not_count(make):
    breakers = make(window_ms=40)
    report(breakers, Trouble.TIMEOUT, 4)
    until = monotonic() + 10
    while breakers.look([MODEL])[MODEL].failures:
        assert monotonic() < until
    assert report(breakers, Trouble.TIMEOUT).state == State.CLOSED


def test_three_refusals_in_a_row_open_it_for_ten_minutes(make):
    breakers = make()
    report(breakers, Trouble.DENIED, 2)
    report(breakers, None)
    assert report(breakers, Trouble.DENIED, 2).state == State.CLOSED
    condition = report(breakers, Trouble.DENIED)
    assert (condition.state, condition.reason) == (State.OPEN, "denied")
    assert timedelta(minutes=9) < condition.retry_after <= timedelta(minutes=10)


def test_another_region_is_another_breaker(make):
    breakers = make()
    report(breakers, Trouble.TIMEOUT, 5)
    assert state(breakers) == State.OPEN
    assert state(breakers, OTHER) == State.CLOSED


@pytest.mark.parametrize("trouble", [Trouble.REFUSED, Trouble.BLOCKED])
def test_trouble_of_our_own_making_opens_nothing(make, trouble):
    breakers = make()
    assert report(breakers, trouble, 20).state == State.CLOSED


def test_at_half_open_one_call_of_many_may_try(make):
    breakers = make(open_ms=30)
    report(breakers, Trouble.TIMEOUT, 5)
    wait_for(breakers, State.HALF_OPEN)
    callers = [make(open_ms=30) for _ in range(6)]
    barrier = Barrier(len(callers))

    def ask(caller: Breakers) -> bool:
        barrier.wait()
        return not caller.admit(MODEL).is_open

    with ThreadPoolExecutor(len(callers)) as pool:
        assert sum(pool.map(ask, callers)) == 1
    assert breakers.look([MODEL])[MODEL].reason == "probing"


def test_a_probe_that_succeeds_closes_it(make):
    breakers = make(open_ms=30)
    report(breakers, Trouble.TIMEOUT, 5)
    wait_for(breakers, State.HALF_OPEN)
    assert not breakers.admit(MODEL).is_open
    assert report(breakers, None).state == State.CLOSED
    assert report(breakers, Trouble.TIMEOUT).state == State.CLOSED


@pytest.mark.parametrize(
    ("trouble", "reason"), [(Trouble.TIMEOUT, "failing"), (Trouble.DENIED, "denied")]
)
def test_a_probe_that_fails_opens_it_again_at_once(make, trouble, reason):
    breakers = make(open_ms=30)
    report(breakers, Trouble.TIMEOUT, 5)
    wait_for(breakers, State.HALF_OPEN)
    breakers.admit(MODEL)
    condition = report(breakers, trouble)
    assert (condition.state, condition.reason) == (State.OPEN, reason)


def test_a_probe_that_never_reached_the_service_lets_the_next_one_try(make):
    breakers = make(open_ms=30)
    report(breakers, Trouble.TIMEOUT, 5)
    wait_for(breakers, State.HALF_OPEN)
    breakers.admit(MODEL)
    assert breakers.admit(MODEL).is_open
    report(breakers, Trouble.BLOCKED)
    assert not breakers.admit(MODEL).is_open


def test_a_probe_that_was_killed_keeps_others_away_for_a_time_only(make):
    breakers = make(open_ms=30, probe_ms=30)
    report(breakers, Trouble.TIMEOUT, 5)
    wait_for(breakers, State.HALF_OPEN)
    assert not breakers.admit(MODEL).is_open
    wait_for(breakers, State.HALF_OPEN)
    assert not breakers.admit(MODEL).is_open


def test_a_call_that_began_before_it_opened_does_not_close_it(make):
    breakers = make()
    report(breakers, Trouble.TIMEOUT, 5)
    assert report(breakers, None).state == State.OPEN


def test_throttling_pauses_and_opens_nothing(make):
    breakers = make()
    condition = report(breakers, Trouble.THROTTLED)
    assert (condition.state, condition.reason) == (State.LIMITED, "throttled")
    assert condition.is_open
    assert timedelta(0) < condition.retry_after <= timedelta(milliseconds=500)
    assert condition.failures == 0


def test_pauses_double_up_to_a_bound_and_start_anew_after_a_success(make):
    breakers = make(pause_ms=20, max_pause_ms=60)

    def pause() -> float:
        wait_for(breakers, State.CLOSED)
        return report(breakers, Trouble.THROTTLED).retry_after.total_seconds()

    assert [pause() for _ in range(4)] == [0.02, 0.04, 0.06, 0.06]
    report(breakers, None)
    assert pause() == 0.02


def test_the_refusals_of_one_burst_are_one_pause(make):
    breakers = make()
    assert report(breakers, Trouble.THROTTLED, 10).retry_after <= timedelta(milliseconds=500)


def _fail_in_another_process(url: str, prefix: str) -> None:
    with redis.Redis.from_url(url) as client:
        report(Breakers(client, prefix=prefix), Trouble.UNAVAILABLE, 5)


def test_all_processes_see_one_breaker(make, prefix):
    breakers = make()
    other = get_context("spawn").Process(
        target=_fail_in_another_process, args=(settings.REDIS_URL, prefix)
    )
    other.start()
    other.join(30)
    assert other.exitcode == 0
    assert breakers.admit(MODEL).is_open


def test_health_sees_every_breaker_that_was_reported_to(make):
    breakers = make()
    report(breakers, Trouble.TIMEOUT, 5)
    report(breakers, None, target=OTHER)
    assert [(one.target, one.state) for one in make().known()] == [
        (MODEL, State.OPEN),
        (OTHER, State.CLOSED),
    ]


def test_without_redis_every_breaker_is_closed_and_says_that_it_does_not_know(prefix):
    with redis.Redis(port=free_port(), **breaker.patience(breaker.TIMEOUT)) as client:
        breakers = Breakers(client, prefix=prefix)
        condition = report(breakers, Trouble.TIMEOUT, 10)
        assert (condition.state, condition.is_known) == (State.CLOSED, False)
        assert not breakers.admit(MODEL).is_open
        assert breakers.known() == []


def test_a_redis_that_does_not_answer_delays_a_call_by_its_time_out_once():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = redis.Redis(
            port=silent.getsockname()[1], **breaker.patience(timedelta(milliseconds=100))
        )
        breakers = Breakers(client, prefix="silent")
        began = monotonic()
        condition = breakers.admit(MODEL)
        # The server takes the connection and never answers: one time-out, not one for each step.
        assert monotonic() - began < 0.4
        assert not condition.is_known
        began = monotonic()
        breakers.look([MODEL, OTHER])
        assert monotonic() - began < 0.1
        client.close()


def test_the_installation_has_its_breakers_in_its_redis():
    target = Target(service="a test", model=uuid.uuid4().hex)
    assert breaker.breakers().report(target, None).calls == 1


# --- What was heard lately


@pytest.fixture
def hasty(prefix, clients, settings):
    """Breakers that go by what they last heard for as long as a test takes."""
    settings.RELAY_IN_BACKGROUND = True
    client = redis.Redis.from_url(settings.REDIS_URL)
    clients.append(client)
    return Breakers(client, prefix=prefix, lately=timedelta(minutes=1))


def test_successes_of_a_closed_target_are_told_in_the_end(make, hasty):
    assert not hasty.admit(MODEL).is_open
    report(hasty, None, 7)
    live.wait_for(lambda: make().look([MODEL])[MODEL].calls == 7)


def test_what_went_well_counts_before_the_failure_that_follows(make, hasty, settings):
    settings.RELAY_IN_BACKGROUND = False
    hasty.admit(MODEL)
    report(hasty, None, 6)
    assert make().look([MODEL])[MODEL].calls == 0
    hasty.report(MODEL, Trouble.TIMEOUT)
    condition = report(make(), Trouble.TIMEOUT, 4)
    assert (condition.state, condition.calls, condition.failures) == (State.CLOSED, 11, 5)


def test_a_failure_makes_it_ask_again(make, hasty):
    hasty.admit(MODEL)
    report(make(), Trouble.TIMEOUT, 5)
    assert not hasty.admit(MODEL).is_open
    hasty.report(MODEL, Trouble.TIMEOUT)
    assert hasty.admit(MODEL).is_open


def test_a_probe_is_told_of_at_once(make, hasty):
    report(make(open_ms=1), Trouble.TIMEOUT, 5)
    wait_for(make(), State.HALF_OPEN)
    assert not hasty.admit(MODEL).is_open
    assert hasty.report(MODEL, None).state == State.CLOSED
    assert state(make()) == State.CLOSED
