"""From a commit to receivers and groups, and what a crash on the way costs: nothing."""

from __future__ import annotations

import json
import logging
import os
import threading
import uuid
from datetime import timedelta

import pytest
from channels.layers import get_channel_layer
from django.db import IntegrityError, connection, connections, transaction
from django.utils.timezone import now

from incidentops.realtime import (
    background,
    channel,
    control,
    events,
    frames,
    outbox,
    retention,
    storage,
    tasks,
)
from incidentops.realtime.models import OutboxEvent, TopicEntry, TopicHead
from incidentops.realtime.names import instant
from tests.incidentops.realtime.weather import Measured, Remarked, measure
from tests.narrowing import known

seen: list[tuple[str, Measured]] = []
broken: set[str] = set()


@events.receives(Measured)
def fragile(event: Measured) -> None:
    if "fragile" in broken:
        raise ConnectionError("the broker is away")
    seen.append(("fragile", event))


@events.receives(Measured)
def sturdy(event: Measured) -> None:
    seen.append(("sturdy", event))


@pytest.fixture(autouse=True)
def _fresh():
    seen.clear()
    broken.clear()


def positions(topic: str = "weather") -> list[tuple[int, str]]:
    rows = TopicEntry.objects.filter(topic=topic).order_by("position")
    return [(row.position, row.data["place"]) for row in rows]


def heard_by(name: str) -> list[str]:
    return [event.place for who, event in seen if who == name]


def make_due() -> None:
    OutboxEvent.objects.update(due_at=now() - timedelta(seconds=1))


@pytest.mark.django_db(transaction=True)
def test_an_event_cannot_be_published_outside_a_transaction():
    with pytest.raises(transaction.TransactionManagementError):
        outbox.publish(Measured(place="oslo", degrees=1))


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_event_leaves_no_row_and_calls_nobody():
    with transaction.atomic():
        outbox.publish(Measured(place="oslo", degrees=1))
        transaction.set_rollback(True)
    assert outbox.relay() == 0
    assert not OutboxEvent.objects.exists()
    assert seen == []


@pytest.mark.django_db
def test_a_committed_event_reaches_its_receivers_once_and_its_topics_in_order():
    for place in ("oslo", "rome", "bern"):
        measure(place, 1, region="alps" if place == "bern" else "")
    assert outbox.relay() == 3
    assert positions() == [(1, "oslo"), (2, "rome"), (3, "bern")]
    assert positions("region:alps") == [(1, "bern")]
    assert heard_by("sturdy") == ["oslo", "rome", "bern"]
    assert not OutboxEvent.objects.filter(handled_at=None).exists()
    assert outbox.relay() == 0
    measure("nice", 2)
    outbox.relay()
    assert positions()[-1] == (4, "nice")
    assert TopicHead.objects.get(topic="weather").position == 4


@pytest.mark.django_db
def test_an_event_of_no_topic_reaches_its_receivers_alone():
    with transaction.atomic():
        outbox.publish(Remarked(text="hello"))
    assert outbox.relay() == 1
    assert not TopicEntry.objects.exists()
    assert OutboxEvent.objects.get().handled_at


def listen_on(group: str) -> str:
    # What an earlier test has sent may still be on its way.
    channel.flush()

    async def join() -> str:
        layer = known(get_channel_layer())
        name = await layer.new_channel()
        await layer.group_add(group, name)
        return name

    return channel.call(join, timeout=5)


def next_message(name: str) -> dict:
    return channel.call(lambda: known(get_channel_layer()).receive(name), timeout=5)


@pytest.mark.django_db
def test_a_relayed_event_is_handed_to_its_group_with_its_position():
    listener = listen_on("topic.weather")
    measure("oslo", 1)
    measure("rome", 2)
    outbox.relay()
    message = next_message(listener)
    assert message["topic"] == "weather"
    assert message["first"] == 1
    assert message["epoch"] == TopicHead.objects.get(topic="weather").epoch
    assert len(message["events"]) == 2
    assert '"position":2' in message["events"][1]


@pytest.mark.django_db
def test_who_reads_an_event_later_is_sent_the_same_text():
    listener = listen_on("topic.weather")
    row = measure('Åre 山\n"x" \\ </script>', 1)
    outbox.relay()
    (text,) = next_message(listener)["events"]
    event = json.loads(text)
    assert event == {
        "position": 1,
        "type": "weather.measured",
        "at": instant(row.at),
        "version": 0,
        "data": {"place": row.data["place"], "degrees": 1},
    }
    ((position, later),) = storage._entries("weather", 0, 10)
    assert (position, json.loads(later)) == (1, event)


@pytest.mark.parametrize("text", ["plain", "山 é", "\ud83d alone", "é \udc00"])
def test_every_text_of_json_can_be_sent(text):
    sent = frames.dumps({"text": text})
    assert json.loads(sent.encode()) == {"text": text}


@pytest.mark.django_db(transaction=True)
def test_a_revocation_waits_for_the_commit():
    listener = listen_on(control.GROUP)
    with transaction.atomic():
        control.revoke("user:1")
        transaction.set_rollback(True)
    with transaction.atomic():
        control.revoke("user:2")
    assert next_message(listener) == {"type": "revoke", "subject": "user:2"}


@pytest.mark.django_db
def test_a_crash_before_the_relay_is_made_up_by_the_sweep():
    measure("oslo", 1)
    tasks.sweep()
    assert positions() == [(1, "oslo")]
    assert heard_by("sturdy") == ["oslo"]


@pytest.mark.django_db
def test_a_crash_between_positions_and_receivers_is_made_up_by_the_sweep():
    measure("oslo", 1)
    outbox.place()
    tasks.sweep()
    assert seen == [], "the process that placed it may still be at work"
    make_due()
    tasks.sweep()
    assert heard_by("sturdy") == ["oslo"]
    tasks.sweep()
    assert heard_by("sturdy") == ["oslo"]
    assert positions() == [(1, "oslo")]


@pytest.mark.django_db
def test_a_crash_of_the_redelivery_is_made_up_by_a_later_one():
    measure("oslo", 1)
    outbox.place()
    make_due()
    outbox.claim_unhandled()
    assert outbox.redeliver() == 0
    make_due()
    assert outbox.redeliver() == 1
    assert heard_by("sturdy") == ["oslo"]


@pytest.mark.django_db(transaction=True)
def test_a_crash_while_positions_are_drawn_leaves_no_half():
    measure("oslo", 1)
    outbox.relay()
    row = measure("rome", 1)
    blocker = TopicEntry.objects.create(topic="weather", position=2, event=row, data={})
    with pytest.raises(IntegrityError):
        outbox.relay()
    assert OutboxEvent.objects.filter(positioned_at=None).count() == 1
    assert TopicHead.objects.get(topic="weather").position == 1
    blocker.delete()
    outbox.relay()
    assert positions() == [(1, "oslo"), (2, "rome")]


@pytest.mark.django_db
def test_a_failing_receiver_stops_no_other_and_is_called_again_later(caplog):
    broken.add("fragile")
    measure("oslo", 1)
    measure("rome", 1)
    with caplog.at_level(logging.ERROR):
        outbox.relay()
    assert heard_by("sturdy") == ["oslo", "rome"]
    assert len([record for record in caplog.records if "fragile" in record.message]) == 2
    outbox.redeliver()
    assert heard_by("fragile") == []
    broken.clear()
    make_due()
    outbox.redeliver()
    assert heard_by("fragile") == ["oslo", "rome"]
    assert not OutboxEvent.objects.filter(handled_at=None).exists()


@pytest.mark.django_db
def test_what_keeps_failing_is_tried_ever_more_rarely():
    waits = [outbox.back_off(attempts) for attempts in range(1, 30)]
    assert waits == sorted(waits)
    assert waits[0] == outbox.FIRST_REDELIVERY
    assert waits[-1] == outbox.SLOWEST_REDELIVERY


@pytest.mark.django_db
def test_rows_that_this_code_does_not_know_do_not_hold_up_the_rest():
    old = {"version": 1, "at": now()}
    OutboxEvent.objects.create(type="of.old", data={}, **old)
    OutboxEvent.objects.create(type=Measured.type, data={"renamed": 1}, **old)
    measure("faulty", 1)
    measure("oslo", 1)
    assert outbox.relay() == 4
    assert positions() == [(1, "oslo")]
    assert heard_by("sturdy") == ["faulty", "oslo"]


@pytest.mark.django_db
def test_a_head_that_was_lost_goes_on_beyond_its_entries_in_a_new_epoch():
    measure("oslo", 1)
    outbox.relay()
    epoch = TopicHead.objects.get().epoch
    TopicHead.objects.all().delete()
    measure("rome", 1)
    outbox.relay()
    assert positions() == [(1, "oslo"), (2, "rome")]
    assert TopicHead.objects.get().epoch != epoch


@pytest.mark.django_db
def test_a_redis_that_is_away_costs_the_publisher_nothing(settings):
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": ["redis://127.0.0.1:1/0"]},
        }
    }
    measure("oslo", 1)
    assert outbox.relay() == 1
    channel.flush()
    assert positions() == [(1, "oslo")]
    assert heard_by("sturdy") == ["oslo"]


@pytest.mark.django_db
def test_old_events_are_forgotten_and_positions_go_on():
    for number in range(4):
        measure(f"place {number}", number)
    outbox.relay()
    long_ago = now() - retention.KEPT_FOR - timedelta(minutes=1)
    old = OutboxEvent.objects.order_by("id")[:2]
    OutboxEvent.objects.filter(pk__in=[row.pk for row in old]).update(at=long_ago)
    assert retention.prune() == 2
    assert [position for position, _ in positions()] == [3, 4]
    measure("next", 1)
    outbox.relay()
    assert positions()[-1] == (5, "next")


@pytest.mark.django_db
def test_an_event_whose_receivers_still_wait_is_kept():
    measure("oslo", 1)
    outbox.place()
    OutboxEvent.objects.update(at=now() - retention.KEPT_FOR * 2)
    assert retention.prune() == 0


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_concurrent_publishers_and_relays_give_dense_positions_in_commit_order():
    """A transaction that begins after another's commit comes after it, whatever the row ids say."""
    writers, each = 6, 25
    done = threading.Event()
    commits: list[str] = []
    one_by_one = threading.Lock()

    def write(writer: int) -> None:
        try:
            for number in range(each):
                place = f"{writer}-{number}"
                with transaction.atomic():
                    outbox.publish(Measured(place=place, degrees=number))
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT pg_sleep(%s)", [(writer * number % 7) / 1000])
                    if writer < 2:
                        # These two commit one after the other, each in a known order.
                        one_by_one.acquire()
                if writer < 2:
                    commits.append(place)
                    one_by_one.release()
        finally:
            connections.close_all()

    def keep_relaying() -> None:
        try:
            while not done.is_set():
                outbox.relay()
        finally:
            connections.close_all()

    relays = [threading.Thread(target=keep_relaying) for _ in range(3)]
    threads = [threading.Thread(target=write, args=[writer]) for writer in range(writers)]
    for thread in [*relays, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    for thread in relays:
        thread.join()
    outbox.relay()
    found = positions()
    assert [position for position, _ in found] == list(range(1, writers * each + 1))
    places = [place for _, place in found]
    for writer in range(writers):
        own = [place for place in places if place.startswith(f"{writer}-")]
        assert own == [f"{writer}-{number}" for number in range(each)]
    assert sorted(heard_by("sturdy")) == sorted(places)
    assert len(commits) == 2 * each


def test_many_wakes_while_it_works_make_one_more_run(settings):
    settings.RELAY_IN_BACKGROUND = True
    runs, go_on, started = [], threading.Event(), threading.Event()

    def work() -> None:
        runs.append(1)
        started.set()
        go_on.wait(5)

    worker = background.Worker("test", work)
    worker.wake()
    assert started.wait(5)
    started.clear()
    for _ in range(100):
        worker.wake()
    go_on.set()
    assert started.wait(5)
    assert len(runs) == 2


def test_a_failed_run_does_not_end_the_thread(settings, caplog):
    settings.RELAY_IN_BACKGROUND = True
    runs = threading.Semaphore(0)

    def work() -> None:
        runs.release()
        raise OSError("the database is away")

    worker = background.Worker("test", work)
    for _ in range(2):
        worker.wake()
        assert runs.acquire(timeout=5)


def _in_a_forked_child(work) -> bytes:
    """What `work(write)` writes in a forked child of this process."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        work(lambda text: os.write(writable, text))
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def test_a_forked_child_wakes_its_own_thread(settings):
    settings.RELAY_IN_BACKGROUND = True
    ran = threading.Event()
    worker = background.Worker("test", ran.set)
    worker.wake()
    assert ran.wait(5)

    def wake_again(write) -> None:
        ran.clear()
        worker.wake()
        write(b"ran" if ran.wait(5) else b"silent")

    assert _in_a_forked_child(wake_again) == b"ran"


def test_a_forked_child_sends_through_its_own_loop():
    group = f"fork.{uuid.uuid4().hex}"
    listener = listen_on(group)

    def send(write) -> None:
        channel.group_send(group, {"type": "from the child"})
        channel.flush()
        write(b"sent")

    assert _in_a_forked_child(send) == b"sent"
    assert next_message(listener) == {"type": "from the child"}
