from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, transaction

from awsai.models import AwsCallIntent
from incidentops.realtime.models import OutboxEvent
from incidentops.statements import insert, places, select

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 22, 8, tzinfo=UTC)


def event(number: int, **fields: object) -> OutboxEvent:
    return OutboxEvent(
        type="test", version=number, data={"n": number, "é": [1.5, None]}, at=AT, **fields
    )


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 120])
def test_rows_are_stored_in_order_with_the_keys_the_database_drew(count: int) -> None:
    rows = insert([event(number) for number in range(count)])
    assert len({row.pk for row in rows}) == count
    assert not any(row._state.adding for row in rows)
    stored = list(OutboxEvent.objects.order_by("pk"))
    assert [row.pk for row in stored] == [row.pk for row in rows]
    for number, row in enumerate(stored):
        assert (row.type, row.version, row.at) == ("test", number, AT)
        assert row.data == {"n": number, "é": [1.5, None]}
        assert (row.attempts, row.handled_at) == (0, None)


def test_a_key_of_ones_own_is_kept() -> None:
    key = uuid.uuid4()
    (row,) = insert(
        [AwsCallIntent(id=key, service="s", operation="o", provider="local", started_at=AT)]
    )
    assert row.pk == key
    stored = AwsCallIntent.objects.get()
    assert (stored.pk, stored.service, stored.is_settled) == (key, "s", False)


def test_what_the_database_refuses_is_an_error_and_stores_nothing() -> None:
    key = uuid.uuid4()
    twice = [
        AwsCallIntent(id=key, service="s", operation="o", provider="local", started_at=AT)
        for _ in range(2)
    ]
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(twice)
    assert not AwsCallIntent.objects.exists()
    assert all(row._state.adding for row in twice)


def test_rows_are_read_as_the_model_has_them() -> None:
    insert([event(number) for number in range(3)])
    rows = select(
        OutboxEvent,
        f"SELECT at, data, id, version FROM realtime_outboxevent WHERE version IN ({places(2)})"  # our own words
        " ORDER BY version DESC",
        [0, 2],
    )
    expected = list(OutboxEvent.objects.exclude(version=1).order_by("-version"))
    assert rows == expected
    assert [(row.at, row.data, row.version) for row in rows] == [
        (AT, {"n": number, "é": [1.5, None]}, number) for number in (2, 0)
    ]
    assert not any(row._state.adding for row in rows)


def test_what_was_not_selected_is_read_when_it_is_asked_for() -> None:
    insert([event(1)])
    (row,) = select(OutboxEvent, "SELECT id FROM realtime_outboxevent", [])
    assert row.get_deferred_fields() >= {"type", "data", "at"}
    assert (row.type, row.at, row.handled_at) == ("test", AT, None)


def test_nothing_found_is_no_rows() -> None:
    assert select(OutboxEvent, "SELECT * FROM realtime_outboxevent WHERE id = %s", [-1]) == []
