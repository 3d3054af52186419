"""Lists read page by page: a cursor names the last row that was shown, so that rows that come and go move no others.

A cursor is opaque to callers: Base64 of a JSON list, the list's name and the row's keys. It is no secret and not
signed: a changed one leads to another place of the same list, in the same organisation.
"""

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from keyseat_issuer.ledger.tools.plain_sql import fetch
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError

R = TypeVar("R")

_MAX_TEXT = 800
"""A folded name can be three times as long as the name."""
_MAX_NUMBER = 2**62


class Page(NamedTuple, Generic[R]):
    """Rows, and the cursor of the next page; ``None`` on the last one."""

    rows: list[R]
    next: str | None


class Stretch(NamedTuple, Generic[R]):
    """Rows with the cursors of what is in front of them and behind them; ``None`` where that is nothing."""

    rows: list[R]
    before: str | None
    after: str | None


class Key(NamedTuple):
    """A field that rows are ordered by, downwards where ``down``; ``read`` takes its value from a cursor."""

    field: str
    read: Callable[[Any], object]
    down: bool = False

    @property
    def order(self) -> str:
        """The field as Django orders by it."""
        return f"-{self.field}" if self.down else self.field

    def value(self, row: object) -> object:
        """Return the field's value of a row."""
        for name in self.field.split("__"):
            row = getattr(row, name)
        return row


class Source(NamedTuple, Generic[R]):
    """Rows of one kind in a list: the keys together must be unique. ``make`` turns a row into an entry.

    ``others``: further rows of the kind, listed among the others, each query by itself in the order of an index.
    """

    name: str
    rows: "QuerySet[Any]"
    keys: tuple[Key, ...]
    make: Callable[[Any], R]
    others: "tuple[QuerySet[Any], ...]" = ()

    @property
    def ordered(self) -> "QuerySet[Any]":
        """The rows in the order of the list."""
        return self.rows.order_by(*[key.order for key in self.keys])

    def first(self, count: int, behind: Q) -> list[Any]:
        """Return the first ``limit`` rows after a place."""
        order = [key.order for key in self.keys]
        read = [list(rows.filter(behind).order_by(*order)[:count]) for rows in (self.rows, *self.others)]
        if len(read) == 1:
            return read[0]
        found = [row for rows in read for row in rows]
        for key in reversed(self.keys):  # sorting keeps the order of what is equal
            found.sort(key=key.value, reverse=key.down)
        return found[:count]


def text(value: object) -> str:
    """Read text from a cursor."""
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        raise ValueError
    return value


def number(value: object) -> int:
    """Read a number from a cursor."""
    if type(value) is not int or not -_MAX_NUMBER < value < _MAX_NUMBER:
        raise ValueError
    return value


def instant(value: object) -> datetime:
    """Read an instant from a cursor."""
    found = datetime.fromisoformat(text(value))
    if found.utcoffset() != timedelta(0):  # as they are written; others may be out of the calendar in UTC
        raise ValueError
    return found


def uuid(value: object) -> UUID:
    """Read an id from a cursor."""
    return UUID(text(value))


def read(sources: Sequence[Source[R]], limit: int, cursor: str | None) -> Page[R]:
    """Return a page of a list that consists of these kinds of rows, one after the other.

    Raises:
        KeyseatError: ``INVALID_INPUT`` for a text that is no cursor of this list.
    """
    start, after = _place(sources, cursor)
    found: list[tuple[Source[R], Any]] = []
    for source in sources[start:]:
        behind = _behind(source.keys, after) if after else Q()
        # One more than asked for, to know whether there is a next page.
        found += [(source, row) for row in source.first(limit + 1 - len(found), behind)]
        after = ()
        if len(found) > limit:
            break
    shown = found[:limit]
    ended = len(found) <= limit
    return Page([source.make(row) for source, row in shown], None if ended else _cursor(*shown[-1]))


def around(source: Source[R], limit: int, cursor: str | None = None, *, back: bool = False) -> Stretch[R]:
    """Return the rows behind a cursor, or with ``back`` those in front of it; without one the first or the last ones.

    Raises:
        KeyseatError: ``INVALID_INPUT`` for a text that is no cursor of this list.
    """
    keys = tuple([key._replace(down=key.down != back) for key in source.keys])
    after = () if cursor is None else read_cursor(source.name, keys, cursor)
    found = source._replace(keys=keys).first(limit + 1, _behind(keys, after) if after else Q())
    return _stretch(found, limit, cursor, back=back, write=lambda row: _cursor(source, row), make=source.make)


class Values(NamedTuple):
    """A list of the different values in some columns of text, each given with rows in the order of an index."""

    name: str
    columns: "tuple[tuple[QuerySet[Any], str], ...]"

    def around(self, limit: int, cursor: str | None = None, *, back: bool = False) -> Stretch[str]:
        """Return values as ``around`` does rows."""
        read, sign = (Key("value", text),), "lt" if back else "gt"
        after = () if cursor is None else read_cursor(self.name, read, cursor)
        found: set[str] = set()
        for rows, column in self.columns:
            beyond = rows.filter(**{f"{column}__{sign}": after[0]}) if after else rows
            ordered = beyond.order_by(f"-{column}" if back else column).values_list(column, flat=True)
            found.update(ordered.distinct()[: limit + 1])
        listed = _in_order(found)
        if back:
            listed.reverse()
        return _stretch(
            listed[: limit + 1],
            limit,
            cursor,
            back=back,
            write=lambda value: write_cursor(self.name, [value]),
            make=lambda value: value,
        )

    def count(self, most: int) -> int:
        """Return how many values there are, at most ``most``."""
        found: set[str] = set()
        for rows, column in self.columns:
            found.update(rows.order_by(column).values_list(column, flat=True).distinct()[:most])
        return min(len(found), most)


def read_cursor(name: str, keys: Sequence[Key], cursor: str) -> tuple[object, ...]:
    """Return the keys in a cursor of the list ``name``.

    Raises:
        KeyseatError: ``INVALID_INPUT``.
    """
    try:
        content = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if type(content) is list and content[:1] == [name]:
            return tuple([key.read(value) for key, value in zip(keys, content[1:], strict=True)])
    except (ValueError, RecursionError):
        pass
    raise KeyseatError(
        ReasonCode.INVALID_INPUT,
        "this is no cursor of this list",
        details={"field": "cursor"},
        next_step="Send `next` of the page before as it is, or begin without a cursor.",
    )


def write_cursor(name: str, values: Sequence[object]) -> str:
    """Return the cursor of the row with these keys."""
    plain = [value if isinstance(value, int) else _as_text(value) for value in values]
    content = json.dumps([name, *plain], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _place(sources: Sequence[Source[R]], cursor: str | None) -> tuple[int, tuple[object, ...]]:
    if cursor is None:
        return 0, ()
    *others, last = enumerate(sources)
    for index, source in others:
        try:
            return index, read_cursor(source.name, source.keys, cursor)
        except KeyseatError:
            continue  # it may be of the next kind
    return last[0], read_cursor(last[1].name, last[1].keys, cursor)


def _behind(keys: Sequence[Key], after: Sequence[object]) -> Q:
    """Return the condition for rows behind the one with these values, whatever the direction of each key."""
    first, value = keys[0], after[0]
    # Implied by the rest, which no database looks up in an index.
    bound = Q(**{f"{first.field}__{'lte' if first.down else 'gte'}": value})
    behind, equal = Q(), Q()
    for key, value in zip(keys, after, strict=True):
        behind |= equal & Q(**{f"{key.field}__{'lt' if key.down else 'gt'}": value})
        equal &= Q(**{key.field: value})
    return bound & behind


def _cursor(source: Source[Any], row: object) -> str:
    return write_cursor(source.name, [key.value(row) for key in source.keys])


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _stretch(
    found: list[Any],
    limit: int,
    cursor: str | None,
    *,
    back: bool,
    write: Callable[[Any], str],
    make: Callable[[Any], R],
) -> Stretch[R]:
    more, shown = len(found) > limit, found[:limit]
    if not shown:
        return Stretch([], None, None)
    if back:
        shown.reverse()
    before, after = (more, cursor is not None) if back else (cursor is not None, more)
    return Stretch(
        [make(row) for row in shown], write(shown[0]) if before else None, write(shown[-1]) if after else None
    )


def _in_order(values: Iterable[str]) -> list[str]:
    """Return texts in the database's order, which its indexes have and Python does not know."""
    if connection.vendor != "postgresql":
        return sorted(values)  # by code points, as SQLite does
    return [value for (value,) in fetch("SELECT value FROM unnest(%s::text[]) value ORDER BY value", (list(values),))]
