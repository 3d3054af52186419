"""Adding many rows at once: Django's ``bulk_create`` spends as long on a row as an Ed25519 signature takes."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from django.db import connection, models
from django.db.models import BinaryField

_CONVERTED = {UUID, datetime, bytes}


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
    columns = [_column(values) for values in zip(*rows, strict=True)]
    quote = connection.ops.quote_name
    listed = ", ".join([quote(str(fields[name].column)) for name in names])
    places = ", ".join(["%s"] * len(names))
    with connection.cursor() as cursor:
        # Names come from the model, values go as parameters.
        cursor.executemany(
            f"INSERT INTO {quote(meta.db_table)} ({listed}) VALUES ({places})",  # noqa: S608 - as said above
            list(zip(*columns, strict=True)),
        )


def _column(values: Sequence[object]) -> list[object]:
    """Return the values as the database driver takes them.

    By their types, as the fields of the ledger's models would (``UUIDField``, ``DateTimeField``, ``BinaryField``);
    what repeats row after row is converted once.
    """
    if not _CONVERTED & set(map(type, values)):
        return list(values)
    binary = BinaryField().get_db_prep_value
    native = connection.features.has_native_uuid_field
    last: object = None
    written: object = None
    column: list[object] = []
    for value in values:
        if value is not last:
            last = written = value
            kind = type(value)
            if kind is UUID and not native:
                written = cast("UUID", value).hex
            elif kind is datetime:
                written = connection.ops.adapt_datetimefield_value(cast("datetime", value))
            elif kind is bytes:
                written = binary(value, connection)
        column.append(written)
    return column
