"""What changes how much of a product is live: instants at which sessions, offline licences and leases begin or end.

Read in the order of indexes, in one statement for a period, and in parts of which none has very many of them.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from keyseat_issuer.ledger.tools.plain_sql import fetch, instant_in, instant_out, uuid_out

AT_ONCE = 20_000
"""Instants of one kind that are read at once, as far as they are not all the same one."""
_TICK = timedelta(seconds=1)
_SHORT = timedelta(hours=1)
"""A period that is read as a whole: what is in it has just happened."""

_POOLS = (
    "SELECT pool.id FROM ledger_pool pool JOIN ledger_subscription bought ON bought.id = pool.subscription_id"
    " WHERE bought.organization_id = %s AND pool.product = %s"
)
_OF_LEASES = " FROM ledger_lease WHERE organization_id = %s AND product = %s"
_OF_LICENSES = (
    " FROM ledger_offlinelicense made JOIN ledger_allocation seat ON seat.id = made.allocation_id"
    " WHERE made.organization_id = %s AND made.product = %s"
)
# A session that is dated to have ended before it began, as after a correction of the ledger's time, counts nothing.
_BEGUN = f"SELECT started_at AS at, 1 AS online, 0 AS offline, 0 AS lingering{_OF_LEASES}"
_ENDED = f"SELECT ended_at, -1, 0, CASE WHEN lingers_until > ended_at THEN 1 ELSE 0 END{_OF_LEASES}"
_RUN_OUT = f"SELECT expires_at, -1, 0, 0 FROM ledger_lease WHERE pool_id IN ({_POOLS})"  # noqa: S608 - fixed words
_CHANGES = f"""
SELECT at, SUM(online) AS online, SUM(offline) AS offline, SUM(lingering) AS lingering, COUNT(*) AS rows_ FROM (
    {_BEGUN} AND started_at >= %s AND started_at < %s AND (ended_at IS NULL OR ended_at > started_at)
    UNION ALL
    {_ENDED} AND ended_at >= %s AND ended_at < %s AND ended_at > started_at
    UNION ALL
    {_RUN_OUT} AND ended_at IS NULL AND expires_at >= %s AND expires_at < %s
    UNION ALL
    SELECT lingers_until, 0, 0, -1{_OF_LEASES} AND lingers_until >= %s AND lingers_until < %s
       AND lingers_until > ended_at AND ended_at > started_at
    UNION ALL
    SELECT made.issued_at, 0, seat.count, 0{_OF_LICENSES} AND made.issued_at >= %s AND made.issued_at < %s
    UNION ALL
    SELECT made.expires_at, 0, -seat.count, 0{_OF_LICENSES} AND made.expires_at >= %s AND made.expires_at < %s
) events GROUP BY at
"""  # noqa: S608 - fixed words
# What is live at each instant, less what was before the first one, and of each day the most.
_DAYS = f"""
SELECT MIN(at), MAX(online_), MAX(offline_), MAX(online_ + offline_), MAX(lingering_),
       SUM(online), SUM(offline), SUM(lingering), SUM(rows_)
  FROM (SELECT at, online, offline, lingering, rows_, SUM(online) OVER sofar AS online_,
               SUM(offline) OVER sofar AS offline_, SUM(lingering) OVER sofar AS lingering_
          FROM ({_CHANGES}) changes WINDOW sofar AS (ORDER BY at)) levels
 GROUP BY {{day}} ORDER BY 1
"""  # noqa: S608 - fixed words
_UTC_DAY = {"postgresql": "CAST(at AT TIME ZONE 'UTC' AS DATE)", "sqlite": "substr(at, 1, 10)"}


class Place(NamedTuple):
    """What is counted: one product of one organisation."""

    organization_id: UUID
    product: str


class Levels(NamedTuple):
    """How many sessions, offline seats and lingering leases are live, or how many more or fewer."""

    online: int = 0
    offline: int = 0
    lingering: int = 0


class Most(NamedTuple):
    """The most of a day; ``together``: sessions and offline seats at one instant."""

    online: int = 0
    offline: int = 0
    together: int = 0
    lingering: int = 0


class Day(NamedTuple):
    """A day on which something changes: the first instant at which it does, and what all of its changes come to.

    ``most`` is less what was live in front of the part that the day is read in; ``rows`` is how many were read.
    """

    first: datetime
    most: Most
    change: Levels
    rows: int


class Part(NamedTuple):
    """The days up to an instant on which something changes. ``cost``: how many rows were read for them, about."""

    until: datetime
    days: list[Day]
    cost: int


def changes(place: Place, since: datetime, until: datetime) -> list[tuple[datetime, Levels]]:
    """Return the instants in ``[since, until)`` at which something changes, in order, with how much."""
    rows = fetch(f"{_CHANGES} ORDER BY at", _given(place, since, until))
    return [(instant_in(at), Levels(*map(int, counts))) for at, *counts, _rows in rows]


def days(place: Place, since: datetime, until: datetime) -> list[Day]:
    """Return the same day by day."""
    statement = _DAYS.format(day=_UTC_DAY[connection.vendor])
    found = []
    for at, *figures in fetch(statement, _given(place, since, until)):
        numbers = [int(figure) for figure in figures]
        found.append(Day(instant_in(at), Most(*numbers[:4]), Levels(*numbers[4:7]), numbers[7]))
    return found


def _given(place: Place, since: datetime, until: datetime) -> tuple[object, ...]:
    return (uuid_out(place.organization_id), place.product, instant_out(since), instant_out(until)) * 6


def parts(place: Place, since: datetime, until: datetime) -> Iterator[Part]:
    """Yield one part of the period after the other."""
    while since < until:
        end = until if until - since <= _SHORT else min(until, _end_of_part(place, since))
        found = days(place, since, end)
        # A part that ends before the period is full, be it of other products.
        yield Part(end, found, max(AT_ONCE if end < until else 0, sum(each.rows for each in found)))
        since = end


def first(place: Place) -> datetime | None:
    """Return when anything of a product began first."""
    whose = (uuid_out(place.organization_id), place.product)
    found = [
        *fetch("SELECT MIN(started_at) FROM ledger_lease WHERE organization_id = %s", whose[:1]),
        *fetch("SELECT MIN(issued_at) FROM ledger_offlinelicense WHERE organization_id = %s AND product = %s", whose),
    ]
    return min([instant_in(at) for (at,) in found if at is not None], default=None)


def _end_of_part(place: Place, since: datetime) -> datetime:
    whose, begin = uuid_out(place.organization_id), instant_out(since)
    found = [
        row
        for column in ("started_at", "ended_at", "lingers_until")
        for row in fetch(
            f"SELECT {column} FROM ledger_lease WHERE organization_id = %s AND {column} >= %s"  # noqa: S608 - columns
            f" ORDER BY {column} LIMIT 1 OFFSET {AT_ONCE}",
            (whose, begin),
        )
    ]
    for (pool,) in fetch(_POOLS, (whose, place.product)):
        found += fetch(
            "SELECT expires_at FROM ledger_lease WHERE pool_id = %s AND ended_at IS NULL AND expires_at >= %s"  # noqa: S608 - a number
            f" ORDER BY expires_at LIMIT 1 OFFSET {AT_ONCE}",
            (pool, begin),
        )
    soonest = min([instant_in(at) for (at,) in found], default=datetime.max.replace(tzinfo=since.tzinfo))
    return max(soonest, since + _TICK)
