"""Plain SQL for the statements of the hot path: values in and out as each database keeps them.

Building a query through Django costs ten times what running it does; where one runs for every renewal, it is written
out. The text of a statement is fixed; values are always parameters.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection


def fetch(statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run a SELECT and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def run(statement: str, values: Sequence[Any] = ()) -> None:
    """Run a statement that changes rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def still_here() -> None:
    """Let PostgreSQL know that this transaction goes on: one that stands still for long is ended."""
    if connection.vendor == "postgresql" and connection.in_atomic_block:
        run("SELECT 1")


def insert(table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows of values, in the order of ``columns``."""
    if not rows:
        return
    listed = ", ".join(columns)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # One statement with one value: PostgreSQL plans every statement anew, and psycopg handles every value in
            # Python. Row by row, a turn of 8 acquisitions and 8 releases takes 7 % longer.
            written = json.dumps([dict(zip(columns, row, strict=True)) for row in rows], default=str)
            cursor.execute(
                f"INSERT INTO {table} ({listed}) SELECT {listed} FROM json_populate_recordset(NULL::{table}, %s)",  # noqa: S608 - names are the code's own
                (written,),
            )
        else:
            cursor.executemany(f"INSERT INTO {table} ({listed}) VALUES ({places(len(columns))})", rows)  # noqa: S608 - as above


@contextlib.contextmanager
def sent_ahead() -> Iterator[None]:
    """Inside a transaction, send PostgreSQL statements without waiting for each answer, until one is fetched.

    What the database refuses is raised by a later statement, or at the end of the block. A turn of renewals
    waits five times instead of eleven: a tenth more of them a second.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


def lock_clause(table: str, *, no_key: bool = False, skip_locked: bool = False) -> str:
    """Return what locks the rows of ``table`` in a SELECT; nothing on SQLite, where a transaction locks the file.

    With ``no_key``, rows that refer to the locked ones may be written meanwhile. With ``skip_locked``, rows that
    another transaction holds are left out instead of waited for.
    """
    if connection.vendor != "postgresql":
        return ""
    return f" FOR {'NO KEY ' if no_key else ''}UPDATE OF {table}{' SKIP LOCKED' if skip_locked else ''}"


def places(count: int) -> str:
    """Return ``count`` parameter marks."""
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
