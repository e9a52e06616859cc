from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, transaction

from awsai.models import AwsCallIntent
from incidentops.inserts import insert
from incidentops.realtime.models import OutboxEvent

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
