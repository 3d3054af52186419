"""The rows of sessions as the desk reads and writes them, with plain SQL: a statement or two for all of a turn.

Pools are locked before rows. A turn waits for no row: those that another act holds are reported as held, and the
requests that need them are put off.
"""

import functools
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from keyseat_issuer.ledger.models import SessionEnding
from keyseat_issuer.ledger.tools.plain_sql import (
    fetch,
    insert,
    instant_in,
    instant_out,
    lock_clause,
    places,
    run,
    uuid_in,
    uuid_out,
    uuids_out,
)


class LeaseRow(NamedTuple):
    """A session with what a lease tells of its organisation and subscription, as ``models.Lease`` describes it.

    ``ending`` is empty and ``ended_at`` ``None`` while it lives. The pool's figures are as they were when it was read.
    """

    pk: UUID
    pool_id: UUID
    organization_id: UUID
    api_key_id: UUID | None
    product: str
    holder: str
    email: str
    machine_id: str
    seats: int
    expires_at: datetime
    ended_at: datetime | None
    ending: str
    idempotency: str | None
    request_sha256: str
    organization_name: str
    subscription_ends_at: datetime
    started_at: datetime
    pool_quota: int
    pool_used: int
    pool_lingering: int


class EndingRow(NamedTuple):
    """What ending a session needs to know of it: read without the joins, which PostgreSQL plans anew each time."""

    pk: UUID
    pool_id: UUID
    organization_id: UUID
    api_key_id: UUID | None
    product: str
    holder: str
    email: str
    machine_id: str
    seats: int
    expires_at: datetime
    ended_at: datetime | None


_FIRST = ("id", *EndingRow._fields[1:])
"""The columns that both begin with."""

_ENDING = f"SELECT {', '.join(_FIRST)} FROM ledger_lease WHERE "  # noqa: S608 - columns

_SELECT = f"""
SELECT {", ".join([f"lease.{column}" for column in _FIRST])}, lease.ending, lease.idempotency,
       lease.request_sha256, organization.name, subscription.ends_at, lease.started_at,
       pool.quota, pool.used, pool.lingering
  FROM ledger_lease lease
  JOIN ledger_organization organization ON organization.id = lease.organization_id
  JOIN ledger_pool pool ON pool.id = lease.pool_id
  JOIN ledger_subscription subscription ON subscription.id = pool.subscription_id
 WHERE """  # noqa: S608 - columns

_COLUMNS = (
    "id",
    "pool_id",
    "organization_id",
    "api_key_id",
    "product",
    "holder",
    "email",
    "machine_id",
    "seats",
    "started_at",
    "renewed_at",
    "expires_at",
    "ended_at",
    "ending",
    "idempotency",
    "request_sha256",
)


class HeldError(Exception):
    """Another act holds the rows of these sessions at this moment: the request is asked again later."""

    def __init__(self, of: Collection[UUID]) -> None:
        super().__init__()
        self.of = frozenset(of)


def lock_rows(ids: Collection[UUID]) -> tuple[list[LeaseRow], set[UUID]]:
    """Lock sessions until the transaction ends.

    Returns:
        Those that are locked now, and the ids of those that another act holds.
    """
    if not ids:
        return [], set()
    rows = _read(f"lease.id IN ({places(len(ids))})", uuids_out(ids), lock_clause("lease", skip_locked=True))
    return rows, _held(set(ids) - {row.pk for row in rows})


def lock_to_end(ids: Collection[UUID]) -> tuple[list[EndingRow], set[UUID]]:
    """Lock sessions that are to end, as ``lock_rows`` does."""
    if not ids:
        return [], set()
    # As in ``store``.
    uuid, instant = functools.cache(uuid_in), functools.cache(instant_in)
    end = f"id IN ({places(len(ids))}) ORDER BY id{lock_clause('ledger_lease', skip_locked=True)}"
    rows = [EndingRow._make(_first(row, uuid, instant)) for row in fetch(_ENDING + end, uuids_out(ids))]
    return rows, _held(set(ids) - {row.pk for row in rows})


def _held(missing: set[UUID]) -> set[UUID]:
    """Return which of the sessions that were not to be had are there all the same."""
    if not missing or connection.vendor != "postgresql":
        return set()
    statement = f"SELECT id FROM ledger_lease WHERE id IN ({places(len(missing))})"  # noqa: S608 - marks
    return {uuid_in(pk) for (pk,) in fetch(statement, uuids_out(missing))}


def started_under(keys: Collection[str]) -> list[LeaseRow]:
    """Return the sessions that were started under these idempotency keys. Call it with their pools locked."""
    if not keys:
        return []
    # Mostly there is none. This finds it out without the joins, which take PostgreSQL longer to plan than to run.
    statement = f"SELECT id FROM ledger_lease WHERE idempotency IN ({places(len(keys))})"  # noqa: S608 - marks
    ids = [uuid_in(pk) for (pk,) in fetch(statement, list(keys))]
    return _read(f"lease.id IN ({places(len(ids))})", uuids_out(ids)) if ids else []


def lock_running(
    holder: str, product: str, pools: Collection[UUID], *, organization: UUID | None = None, machine_id: str = ""
) -> list[LeaseRow]:
    """Lock a holder's sessions that have not ended, in these locked pools; of one organisation or on one machine only.

    Raises:
        HeldError: another act holds one of them.
    """
    if not pools:
        return []
    condition = "lease.holder = %s AND lease.product = %s AND lease.ended_at IS NULL"
    values: list[object] = [holder, product]
    if organization is not None:
        condition += " AND lease.organization_id = %s"
        values.append(uuid_out(organization))
    if machine_id:
        condition += " AND lease.machine_id = %s"
        values.append(machine_id)
    # Found first, and locked by their ids: rows left out because somebody holds them would look like none.
    found = _read(f"{condition} AND lease.pool_id IN ({places(len(pools))})", [*values, *uuids_out(pools)])
    rows, held = lock_rows({row.pk for row in found})
    if held:
        raise HeldError(held)
    return [row for row in rows if row.ended_at is None]


def pools_of_live(ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Return the pool of each of these sessions that has not ended, by the session; locks nothing."""
    if not ids:
        return {}
    # Asked for live rows only, PostgreSQL without fresh statistics reads an index of all live rows instead of the key.
    statement = f"SELECT id, pool_id, ended_at IS NULL FROM ledger_lease WHERE id IN ({places(len(ids))})"  # noqa: S608 - marks
    return {uuid_in(pk): uuid_in(pool) for pk, pool, live in fetch(statement, uuids_out(ids)) if live}


def pools_of_machine(holder: str, product: str, machine_id: str) -> set[UUID]:
    """Return the pools in which a holder has sessions on a machine that have not ended; locks nothing."""
    statement = (
        "SELECT DISTINCT pool_id FROM ledger_lease"
        " WHERE holder = %s AND product = %s AND machine_id = %s AND ended_at IS NULL"
    )
    return {uuid_in(pk) for (pk,) in fetch(statement, (holder, product, machine_id))}


def store(rows: Sequence[LeaseRow], now: datetime) -> None:
    """Store sessions that start now."""
    # Pools, organisations, keys and instants are the same row after row.
    uuid, instant = functools.cache(uuid_out), functools.cache(instant_out)
    insert(
        "ledger_lease",
        _COLUMNS,
        [
            (
                uuid_out(row.pk),
                uuid(row.pool_id),
                uuid(row.organization_id),
                None if row.api_key_id is None else uuid(row.api_key_id),
                row.product,
                row.holder,
                row.email,
                row.machine_id,
                row.seats,
                instant(now),
                instant(now),
                instant(row.expires_at),
                None if row.ended_at is None else instant(row.ended_at),
                row.ending,
                row.idempotency,
                row.request_sha256,
            )
            for row in rows
        ],
    )


def extend(ids: Collection[UUID], now: datetime, expires_at: datetime) -> None:
    """Write the new end of locked, live sessions."""
    run(
        f"UPDATE ledger_lease SET renewed_at = %s, expires_at = %s WHERE id IN ({places(len(ids))})",  # noqa: S608 - marks
        [instant_out(now), instant_out(expires_at), *uuids_out(ids)],
    )


def end(ids: Collection[UUID], ending: SessionEnding, now: datetime) -> None:
    """End locked, live sessions; their leases linger (the caller counts)."""
    run(
        "UPDATE ledger_lease SET ended_at = %s, ending = %s, lingering = %s, lingers_until = expires_at"  # noqa: S608 - marks
        f" WHERE id IN ({places(len(ids))})",
        [instant_out(now), str(ending), True, *uuids_out(ids)],
    )


def expire(ids: Collection[UUID]) -> None:
    """End locked sessions whose lease ran out, at that instant."""
    run(
        f"UPDATE ledger_lease SET ended_at = expires_at, ending = %s WHERE id IN ({places(len(ids))})",  # noqa: S608 - marks
        [str(SessionEnding.EXPIRED), *uuids_out(ids)],
    )


def _read(condition: str, values: Sequence[object], end: str = "") -> list[LeaseRow]:
    # As in ``store``.
    uuid, instant = functools.cache(uuid_in), functools.cache(instant_in)
    return [
        LeaseRow._make(
            (
                *_first(row, uuid, instant),
                *row[11:15],
                instant(row[15]),
                instant(row[16]),
                *row[17:],
            )
        )
        for row in fetch(f"{_SELECT}{condition} ORDER BY lease.id{end}", values)
    ]


def _first(
    row: Sequence[Any], uuid: Callable[[Any], UUID], instant: Callable[[Any], datetime]
) -> tuple[UUID | datetime | str | int | None, ...]:
    """Return the values of ``_FIRST``."""
    return (
        uuid_in(row[0]),
        uuid(row[1]),
        uuid(row[2]),
        None if row[3] is None else uuid(row[3]),
        *row[4:9],
        instant(row[9]),
        None if row[10] is None else instant(row[10]),
    )
