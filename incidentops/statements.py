"""Rows of a model by statements that are put together once, not each time they run.

For what is read and written around every call and with every event: the ORM takes longer to put such
a statement together than the database to run it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from django.db import connection, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

# SQLite takes a bounded number of values, and each number of rows is a statement to keep.
_ROWS_AT_ONCE = 50

M = TypeVar("M", bound=models.Model)


def places(count: int) -> str:
    """Where that many values go in a statement, divided by commas."""
    return ", ".join(["%s"] * count)


# --- Reading -----------------------------------------------------------------------------------


def select(kind: type[M], statement: str, values: Sequence[Any]) -> list[M]:
    """As `kind.objects.raw`: the rows of a statement, which selects columns of the model alone.

    Fields that it does not select are read when they are asked for; the key must be among the others.
    """
    database = connections[connection.alias]
    with database.cursor() as cursor:
        cursor.execute(statement, values)
        rows = cursor.fetchall()
        reader = _reader(kind, tuple([column[0] for column in cursor.description]), database.vendor)
    return [reader.row_of(found, database) for found in rows]


class _Reader:
    """Makes rows of what the database gives for these columns."""

    def __init__(self, kind: type[models.Model], columns: Sequence[str]) -> None:
        every: list[Any] = list(kind._meta.concrete_fields)
        self._kind = kind
        # In the order in which a model takes its values.
        self._fields = [field for field in every if field.column in columns]
        self._names = [field.attname for field in self._fields]
        self._from = [columns.index(field.column) for field in self._fields]
        self._conversions = [
            (place, conversions, expression)
            for place, field in enumerate(self._fields)
            for expression in [field.get_col(kind._meta.db_table)]
            if (conversions := _conversions(expression))
        ]

    def row_of(self, found: Sequence[Any], database: BaseDatabaseWrapper) -> Any:
        values = [found[place] for place in self._from]
        for place, conversions, expression in self._conversions:
            for convert in conversions:
                values[place] = convert(values[place], expression, database)
        return self._kind.from_db(database.alias, self._names, values)


def _conversions(expression: Any) -> list[Callable[[Any, Any, BaseDatabaseWrapper], Any]]:
    found: list[Callable[[Any, Any, BaseDatabaseWrapper], Any]] = [
        *connection.ops.get_db_converters(expression),
        *expression.get_db_converters(connection),
    ]
    return found


@lru_cache(maxsize=256)
def _reader(kind: type[models.Model], columns: tuple[str, ...], vendor: str) -> _Reader:
    del vendor  # conversions differ by it
    return _Reader(kind, columns)


# --- Writing -----------------------------------------------------------------------------------


def insert(rows: list[M]) -> list[M]:
    """As `bulk_create`: every column is written, and keys that the database draws are set.

    Columns hold values, not expressions, and a key is either the model's own or always drawn.
    """
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        _insert(rows[start : start + _ROWS_AT_ONCE])
    return rows


def _insert(rows: list[M]) -> None:
    database = connections[connection.alias]
    columns, statement = _statement(type(rows[0]), len(rows), database.vendor)
    values = [column.value_of(row, database) for row in rows for column in columns]
    with database.cursor() as cursor:
        cursor.execute(statement, values)
        keys = cursor.fetchall()
    for row, (key,) in zip(rows, keys, strict=True):
        row.pk = key if row.pk is None else row.pk
        row._state.adding, row._state.db = False, database.alias


# What the database takes as it is, if it is of exactly this type.
_PLAIN: dict[type[models.Field[Any, Any]], type] = {
    models.CharField: str,
    models.TextField: str,
    models.BooleanField: bool,
    models.IntegerField: int,
    models.BigIntegerField: int,
    models.PositiveIntegerField: int,
    models.PositiveSmallIntegerField: int,
    models.PositiveBigIntegerField: int,
}


class _Column:
    def __init__(self, field: Any) -> None:
        self._field, self._name = field, field.attname
        self._plain = _PLAIN.get(type(field))

    def value_of(self, row: models.Model, database: BaseDatabaseWrapper) -> Any:
        """As the field would have it, without asking the field where it would change nothing."""
        if self._plain is not None:
            value = getattr(row, self._name)
            if value is None or type(value) is self._plain:
                return value
        return self._field.get_db_prep_save(self._field.pre_save(row, add=True), database)


@lru_cache(maxsize=256)
def _statement(kind: type[models.Model], count: int, vendor: str) -> tuple[list[_Column], str]:
    """The columns and the statement, in the words of this kind of database."""
    quote = connection.ops.quote_name
    every: list[Any] = list(kind._meta.concrete_fields)
    fields = [field for field in every if not isinstance(field, models.AutoField)]
    names = ", ".join(quote(field.column) for field in fields)
    rows = ", ".join([f"({places(len(fields))})"] * count)
    (key,) = (quote(field.column) for field in every if field.primary_key)
    into = quote(kind._meta.db_table)
    statement = f"INSERT INTO {into} ({names}) VALUES {rows} RETURNING {key}"  # noqa: S608  # our own names
    return [_Column(field) for field in fields], statement
