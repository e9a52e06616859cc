from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from incidentops.access import append_only, audit, chain
from incidentops.access.models import AuditEntry, AuditHead
from tests.narrowing import known

TABLE = "access_auditentry"
ON_SQLITE = connection.vendor == "sqlite"


def record(count: int) -> None:
    for number in range(1, count + 1):
        audit.record("thing.change", actor="ada", target=f"thing:{number}", detail={"n": number})


def sql(statement: str, *parameters: int) -> None:
    """What somebody with the database's own rights does, triggers out of the way."""
    with connection.cursor() as cursor:
        if not ON_SQLITE:
            cursor.execute(f"ALTER TABLE {TABLE} DISABLE TRIGGER USER")
        for name in append_only.triggers_of(connection, TABLE) if ON_SQLITE else ():
            cursor.execute(f"DROP TRIGGER {name}")
        cursor.execute(statement, parameters)


def shift(first: int, by: int) -> None:
    """Renumber all rows from `first` on, highest first where that keeps them unique."""
    rows = AuditEntry.objects.filter(sequence__gte=first).values_list("sequence", flat=True)
    for sequence in sorted(rows, reverse=by > 0):
        sql(f"UPDATE {TABLE} SET sequence = %s WHERE sequence = %s", sequence + by, sequence)


@pytest.mark.django_db
def test_an_untouched_chain_is_sound():
    record(12)
    verdict = chain.verify(AuditEntry)
    assert verdict.is_sound
    assert verdict.count == 12
    assert verdict.hash == AuditHead.objects.get().hash


@pytest.mark.django_db
def test_an_empty_chain_is_sound():
    assert chain.verify(AuditEntry).is_sound


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE access_auditentry SET actor = 'eve' WHERE sequence = 5",
        "UPDATE access_auditentry SET previous_hash = hash WHERE sequence = 5",
        "UPDATE access_auditentry SET hash = previous_hash WHERE sequence = 5",
        "UPDATE access_auditentry SET detail = '{\"n\": 6}' WHERE sequence = 5",
        "DELETE FROM access_auditentry WHERE sequence = 5",
        "DELETE FROM access_auditentry WHERE sequence >= 5",
    ],
)
def test_an_edited_or_deleted_row_is_named(change):
    record(12)
    sql(change)
    assert known(chain.verify(AuditEntry).fault).sequence == 5


@pytest.mark.django_db
def test_deleting_everything_is_found():
    record(3)
    sql(f"DELETE FROM {TABLE}")
    assert known(chain.verify(AuditEntry).fault).sequence == 1


@pytest.mark.django_db
def test_an_inserted_row_is_named():
    record(6)
    shift(4, +1)
    forged = AuditEntry(
        sequence=4,
        at=known(AuditEntry.objects.first()).at,
        actor="eve",
        action="thing.change",
        target="thing:0",
        detail={},
        previous_hash=AuditEntry.objects.get(sequence=3).hash,
    )
    forged.hash = forged.digest()
    forged.save()
    assert known(chain.verify(AuditEntry).fault).sequence in (4, 5)


@pytest.mark.django_db
def test_a_deleted_row_is_named_though_the_rest_was_renumbered():
    record(6)
    sql(f"DELETE FROM {TABLE} WHERE sequence = 3")
    shift(4, -1)
    assert known(chain.verify(AuditEntry).fault).sequence == 3


@pytest.mark.django_db
def test_two_swapped_rows_are_named():
    record(6)
    for old, new in ((3, 100), (4, 3), (100, 4)):
        sql(f"UPDATE {TABLE} SET sequence = %s WHERE sequence = %s", new, old)
    assert known(chain.verify(AuditEntry).fault).sequence == 3


@pytest.mark.django_db
def test_a_row_after_the_end_is_named():
    record(3)
    AuditHead.objects.update(sequence=2, hash=AuditEntry.objects.get(sequence=2).hash)
    assert known(chain.verify(AuditEntry).fault).sequence == 3


@pytest.mark.django_db
def test_a_missing_end_is_found_and_nothing_can_be_appended():
    record(3)
    AuditHead.objects.all().delete()
    assert known(chain.verify(AuditEntry).fault).sequence == 1
    with pytest.raises(chain.BrokenChain):
        record(1)


@pytest.mark.django_db
def test_a_chain_forged_as_a_whole_is_found_from_a_noted_end():
    record(4)
    noted = (3, AuditEntry.objects.get(sequence=3).hash)
    assert chain.verify(AuditEntry, expected=noted).is_sound
    sql(f"DELETE FROM {TABLE}")
    AuditHead.objects.all().delete()
    record(2)
    assert chain.verify(AuditEntry).is_sound
    assert known(chain.verify(AuditEntry, expected=noted).fault).sequence == 3
    record(2)
    assert known(chain.verify(AuditEntry, expected=noted).fault).sequence == 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    "verb", ["UPDATE access_auditentry SET actor = 'eve'", "DELETE FROM access_auditentry"]
)
def test_the_database_refuses_to_rewrite_history(verb):
    record(1)
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        connection.cursor().execute(verb)
    assert AuditEntry.objects.get().actor == "ada"


@pytest.mark.postgres
@pytest.mark.skipif(ON_SQLITE, reason="SQLite has no TRUNCATE")
@pytest.mark.django_db
def test_the_database_refuses_to_truncate():
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        connection.cursor().execute(f"TRUNCATE {TABLE}")


@pytest.mark.django_db
def test_triggers_come_back_with_the_next_migrate():
    sql("SELECT 1")
    assert not append_only.is_protected(connection, TABLE)
    if not ON_SQLITE:
        connection.cursor().execute(f"ALTER TABLE {TABLE} ENABLE TRIGGER USER")
    append_only.protect(connection, TABLE)
    assert append_only.is_protected(connection, TABLE)


@pytest.mark.django_db(transaction=True)
def test_concurrent_entries_make_one_line_without_gaps():
    def work(number: int) -> None:
        try:
            for turn in range(5):
                with transaction.atomic():
                    audit.record("thing.change", actor=f"thread {number}", target=f"thing:{turn}")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    verdict = chain.verify(AuditEntry)
    assert verdict.is_sound
    assert verdict.count == 40


@pytest.mark.django_db(transaction=True)
def test_an_entry_goes_with_the_transaction_it_belongs_to():
    record(1)
    with transaction.atomic():
        audit.record("thing.change", actor="ada", target="thing:2")
        transaction.set_rollback(True)
    record(1)
    assert chain.verify(AuditEntry).count == 2
    assert chain.verify(AuditEntry).is_sound


numbers = st.one_of(
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e16, 1e22, -0.0, 5e-324, 1.7e308]),
)
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=8,
)


@pytest.mark.django_db
@settings(
    max_examples=60,
    deadline=timedelta(seconds=2),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.dictionaries(text, values, max_size=4))
def test_what_was_written_is_sound_when_read_back(detail):
    audit.record("thing.change", actor="ada", target="thing:1", detail=detail)
    last = AuditEntry.objects.latest("sequence")
    assert last.digest() == last.hash, json.dumps(detail)


@pytest.mark.django_db
def test_the_command_counts_a_sound_chain_and_names_a_bad_row(capsys):
    record(3)
    call_command("verify_audit")
    shown = capsys.readouterr().out
    assert shown.startswith("3 rows are sound")
    call_command("verify_audit", expect=shown.split()[-1])
    sql("UPDATE access_auditentry SET actor = 'eve' WHERE sequence = 2")
    with pytest.raises(CommandError, match="row 2: changed after it was written") as error:
        call_command("verify_audit")
    assert error.value.returncode == 1
