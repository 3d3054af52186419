"""Reading the ledger's rows for the audit check, each by itself where somebody has spoilt some.

SQLite keeps any value in any column. A value of the wrong kind must not stop the check at the very place that it is
there to name.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar
from uuid import UUID

from django.db import DatabaseError, connection

from keyseat_issuer.ledger.audit.log import Row
from keyseat_issuer.ledger.models import OfflineLicense
from keyseat_issuer.ledger.tools.plain_sql import fetch, instant_in, uuid_in, uuid_out

T = TypeVar("T")

WRONG_KIND = (ValueError, TypeError, AttributeError, LookupError)
"""What reading a value of the wrong kind raises, in Django's converters and in ours."""

_EVENTS = 2000
_LICENSES = 500
"""Older SQLite takes at most 999 values a statement."""
_EVENT = "SELECT seq, at, actor, action, organization_id, subject, details, previous, digest FROM ledger_auditevent"


class Finding(NamedTuple):
    """Something that does not agree: ``place`` (``audit row 7``, ``licence …``, ``pool …``) and what is wrong there."""

    place: str
    what: str


Acts = Mapping[str, Callable[[Row, dict[str, object]], str | None]]
"""What a replay does at a row of each action, with the row's details; it returns what is wrong with the row."""


def followed(row: Row, acts: Acts, about: str = "") -> Iterator[Finding]:
    """Follow one row of a replay; yield what is wrong with it. ``about`` says whose replay it is, where it matters."""
    act = acts.get(row.action)
    if act is None:
        return
    try:
        what = act(row, json.loads(row.details))
    except (*WRONG_KIND, RecursionError):
        what = f"it does not say what its act{about} needs: changed"
    if what is not None:
        yield Finding(f"audit row {row.seq}", what)


class Spoilt(NamedTuple):
    """A row that cannot be read: its key as the database has it."""

    key: object


def event(seq: int) -> Row | Spoilt | None:
    """Return an audit row by its number."""
    found = _events_after(seq - 1, 1)
    if not found:
        return None
    key = found[0].key if isinstance(found[0], Spoilt) else found[0].seq
    return found[0] if key == seq else None


def events(after: object = None) -> Iterator[Row | Spoilt]:
    """Yield the audit rows in the order of their numbers, behind one of them or all."""
    while True:
        chunk = _events_after(after)
        yield from chunk
        if len(chunk) < _EVENTS:
            return
        last = chunk[-1]
        after = last.key if isinstance(last, Spoilt) else last.seq


def _events_after(after: object, most: int = _EVENTS) -> list[Row | Spoilt]:
    where, given = ("", []) if after is None else (" WHERE seq > %s", [after])
    end = f"{where} ORDER BY seq LIMIT {most}"

    def together() -> list[Row]:
        return [_event(values) for values in fetch(_EVENT + end, given)]

    def keys() -> list[object]:
        return [key for (key,) in fetch("SELECT seq FROM ledger_auditevent" + end, given)]  # noqa: S608 - fixed words

    return _read(together, keys, lambda key: _event(fetch(_EVENT + " WHERE seq = %s", [key])[0]))


def _event(values: Sequence[object]) -> Row:
    seq, at, actor, action, organization, subject, details, previous, digest = values
    texts = (actor, action, subject, details, previous, digest)
    if type(seq) is not int or any(type(text) is not str for text in texts):
        msg = "a value of the wrong kind"
        raise TypeError(msg)
    actor, action, subject, details, previous, digest = map(str, texts)
    organization_id = None if organization is None else uuid_in(organization)
    return Row(seq, instant_in(at), actor, action, organization_id, subject, details, previous, digest)


def license_keys(since: UUID | None = None) -> list[object]:
    """Return the ids of licences as the database has them, in order: of all, or of those made since an id was."""
    where, given = ("", []) if since is None else (" WHERE license_id >= %s", [uuid_out(since)])
    return [key for (key,) in fetch(f"SELECT license_id FROM ledger_offlinelicense{where} ORDER BY license_id", given)]  # noqa: S608 - fixed words


def licenses(keys: Sequence[object]) -> Iterator[OfflineLicense | Spoilt]:
    """Yield the licences with these ids, with pool and allocation; what is not there is left out."""
    for start in range(0, len(keys), _LICENSES):
        yield from _licenses_of(list(keys[start : start + _LICENSES]))


def _licenses_of(keys: list[object]) -> list[OfflineLicense | Spoilt]:
    return _read(lambda: _licenses(keys), lambda: keys, lambda key: _licenses([key])[0])


def _licenses(keys: list[object]) -> list[OfflineLicense]:
    ids = [uuid_in(key) for key in keys]
    rows = OfflineLicense.objects.select_related("allocation", "pool").filter(license_id__in=ids)
    found = {row.license_id: row for row in rows}
    if any(isinstance(row.file, str) for row in found.values()):
        msg = "a file that is text"
        raise TypeError(msg)
    return [found[ident] for ident in ids if ident in found]


def _read(
    together: Callable[[], list[T]], keys: Callable[[], list[object]], one: Callable[[object], T]
) -> list[T | Spoilt]:
    """Return the rows read together or, where one of them cannot be, each by itself."""
    try:
        return list(together())
    except WRONG_KIND:
        pass
    except DatabaseError:
        # On SQLite, text that is no UTF-8. Elsewhere the database itself is in trouble, and would say so again.
        if connection.vendor != "sqlite":
            raise
    found: list[T | Spoilt] = []
    for key in keys():
        try:
            found.append(one(key))
        except (*WRONG_KIND, DatabaseError):
            found.append(Spoilt(key))
    return found
