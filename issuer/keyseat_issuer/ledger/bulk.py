"""Adding many rows at once: Django's ``bulk_create`` spends as long on a row as an Ed25519 signature takes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, models

_PLAIN = frozenset({str, int, type(None)})
_REPEATED = frozenset({UUID, datetime})


def insert_values(model: type[models.Model], names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Insert rows given as values, in one ``executemany``, without an object for each. Call inside a transaction.

    The ledger's tables have neither signals nor defaults in the database, which would play no part here.

    Args:
        model: of which table.
        names: all its concrete fields, as attributes (``pool_id``).
        rows: the values, in the order of ``names``.
    """
    if not rows:
        return
    meta = model._meta  # noqa: SLF001 - Django's documented Model._meta API
    fields = {field.attname: field for field in meta.concrete_fields}
    if set(names) != set(fields):
        msg = f"a row of {model.__name__} has the fields {', '.join(fields)}"
        raise ValueError(msg)
    columns = [_column(fields[name], values) for name, values in zip(names, zip(*rows, strict=True), strict=True)]
    quote = connection.ops.quote_name
    listed = ", ".join([quote(str(fields[name].column)) for name in names])
    places = ", ".join(["%s"] * len(names))
    with connection.cursor() as cursor:
        # Names come from the model, values go as parameters.
        cursor.executemany(
            f"INSERT INTO {quote(meta.db_table)} ({listed}) VALUES ({places})",  # noqa: S608 - as said above
            list(zip(*columns, strict=True)),
        )


def insert_rows(rows: Sequence[models.Model]) -> None:
    """Insert unsaved instances of one model, as ``bulk_create`` would. Call inside a transaction."""
    if not rows:
        return
    model = type(rows[0])
    names = [field.attname for field in model._meta.concrete_fields]  # noqa: SLF001 - as above
    insert_values(model, names, [[getattr(row, name) for name in names] for row in rows])
    for row in rows:
        row._state.adding, row._state.db = False, connection.alias  # noqa: SLF001 - as Django does after an insert


def _column(field: "models.Field[Any, Any]", values: Sequence[object]) -> list[object]:
    """Return the values as the database driver takes them; equal keys and instants are converted once."""
    converted: dict[object, object] = {}
    column: list[object] = []
    for value in values:
        kind = type(value)
        if kind in _PLAIN:
            column.append(value)
        elif kind in _REPEATED:
            if value not in converted:
                converted[value] = field.get_db_prep_save(value, connection)
            column.append(converted[value])
        else:
            column.append(field.get_db_prep_save(value, connection))
    return column
