"""Plain SQL for the statements of the hot path: values in and out as each database keeps them.

Building a query through Django costs ten times what running it does; where one runs for every renewal, it is written
out. The text of a statement is fixed; values are always parameters.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection


def fetch(statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run a SELECT and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def run(statement: str, values: Sequence[Any] = ()) -> int:
    """Run a statement that changes rows and return how many."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)


def run_many(statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run a statement once for each row of values."""
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)


def lock_clause(table: str, *, no_key: bool = False) -> str:
    """Return what locks the rows of ``table`` in a SELECT; nothing on SQLite, where a transaction locks the file.

    With ``no_key``, rows that refer to the locked ones may be written meanwhile.
    """
    if connection.vendor != "postgresql":
        return ""
    return f" FOR {'NO KEY ' if no_key else ''}UPDATE OF {table}"


def places(count: int) -> str:
    """Return so many parameter marks."""
    return ", ".join(["%s"] * count)


def instant_in(value: object) -> datetime:
    """Read an instant: SQLite keeps text in UTC, PostgreSQL gives a ``datetime``."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return datetime.fromisoformat(str(value)).replace(tzinfo=UTC)


def instant_out(value: datetime) -> object:
    """Write an instant."""
    adapted: object = connection.ops.adapt_datetimefield_value(value)
    return adapted


def uuid_in(value: object) -> UUID:
    """Read a UUID: SQLite keeps 32 hex digits, PostgreSQL gives a ``UUID``."""
    return value if isinstance(value, UUID) else UUID(str(value))


def uuid_out(value: UUID) -> object:
    """Write a UUID."""
    return value if connection.vendor == "postgresql" else value.hex


def uuids_out(values: Iterable[UUID]) -> list[object]:
    """Write UUIDs."""
    if connection.vendor == "postgresql":
        return list(values)
    return [value.hex for value in values]
