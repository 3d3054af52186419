"""Pools of seats: every operation on a quota locks the pool's row, takes back what has expired, and counts in it.

Counting rows instead would be slow and, on PostgreSQL, wrong: two transactions that count at the same
time both see the last free seat. The counter under a row lock is right on both databases.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Count, F, Min, Q, Sum

from keyseat_issuer.ledger.models import Allocation, AllocationKind, Ending, Lease, Pool, SeatKind
from keyseat_issuer.ledger.pools import overlap
from keyseat_issuer.ledger.pools.endings import reclaim_sessions
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_issuer.ledger.tools.plain_sql import fetch, lock_clause, places, run, uuid_in, uuid_out, uuids_out
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant

_CHUNK = 500
_COLUMNS = ("id", "subscription_id", "product", "seats", "quota", "used", "assigned", "lingering")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM ledger_pool WHERE id IN ({{}}) ORDER BY id"  # noqa: S608 - marks
_NOTHING: Mapping[str, Any] = {"over": 0, "bound": 0, "soonest": None}


class Availability(NamedTuple):
    """A pool at an instant: expired seats count as free. ``next_expiry``: when the next offline seat comes back.

    ``lingering``: leases that run on although their sessions have ended.
    """

    quota: int
    used: int
    available: int
    assigned: int
    offline: int
    next_expiry: datetime | None
    lingering: int = 0


def lock_pool(pool_id: UUID | str) -> Pool:
    """Lock one pool's row until the transaction ends, and return it. Call inside a transaction.

    Raises:
        KeyseatError: ``NOT_FOUND``.
    """
    return lock_pools([pool_id])[0]


def lock_pools(pool_ids: Collection[UUID | str]) -> list[Pool]:
    """Lock several pools, always in the order of their ids: two transactions never wait for each other.

    Raises:
        KeyseatError: ``NOT_FOUND`` where one of them does not exist.
    """
    ids = {uuid_in(pk) for pk in pool_ids}
    locked = _lock(ids)
    if len(locked) != len(ids):
        raise KeyseatError(ReasonCode.NOT_FOUND, "the pool of seats does not exist")
    return locked


def lock_free(pool_ids: Collection[UUID]) -> list[Pool]:
    """Lock the free ones of several pools, and return them. Does not wait (PostgreSQL)."""
    return _lock(pool_ids, skip_locked=True)


def _lock(ids: Collection[UUID], *, skip_locked: bool = False) -> list[Pool]:
    # no_key: rows that refer to the pool may be checked meanwhile; a full lock would invite deadlocks (PostgreSQL).
    end = lock_clause("ledger_pool", no_key=True, skip_locked=skip_locked)
    rows = fetch(_SELECT.format(places(len(ids))) + end, uuids_out(ids)) if ids else ()
    return [Pool.from_db(connection.alias, _COLUMNS, (uuid_in(row[0]), uuid_in(row[1]), *row[2:])) for row in rows]


def reclaim_expired(pool: Pool, now: datetime, *, most_sessions: int | None = None) -> int:
    """Take back the seats of a locked pool's expired sessions and offline licences; return how many seats.

    Costs two index look-ups where nothing has expired, and an update of the expired rows otherwise; of sessions,
    which can be many, at most ``most_sessions`` are ended. Leases that lingered until now are not counted any more.
    """
    sessions = reclaim_sessions(pool, now, most_sessions)
    forgotten = overlap.forget_ended(pool, now)
    expired = Allocation.objects.filter(
        pool_id=pool.pk, kind=AllocationKind.OFFLINE, released_at__isnull=True, expires_at__lte=now
    )
    seats: int = expired.aggregate(total=Sum("count"))["total"] or 0
    if seats:
        # At its own expiry: that is when the seat was free again, however much later anybody asked.
        expired.update(released_at=F("expires_at"), ending=Ending.EXPIRED)
        pool.used -= seats
    if seats or sessions or forgotten:
        save_counters(pool)
    return seats + sessions


def charge(pool: Pool, kind: AllocationKind, now: datetime, *, count: int = 1, limit_assigned: bool = True) -> None:
    """Count ``count`` seats in a locked pool (in memory: ``save_counters`` writes it), or refuse.

    A user assigned to a floating product counts in ``assigned``, which the quota limits as well unless the
    product's ``assigned_users`` is unlimited (``limit_assigned=False``). Everything else counts in ``used``.

    Raises:
        KeyseatError: ``QUOTA_EXCEEDED`` with the quota, what is used, and when the next seat comes back.
    """
    if kind is AllocationKind.NAMED and pool.seats == SeatKind.FLOATING:
        if limit_assigned and pool.assigned + count > pool.quota:
            raise quota_exceeded(pool.product, pool.quota, pool.assigned, count, None)
        pool.assigned += count
        return
    if pool.used + count > pool.quota:
        raise quota_exceeded(pool.product, pool.quota, pool.used, count, next_offline_expiry(pool.pk, now))
    pool.used += count


def save_counters(pool: Pool) -> None:
    """Write a locked pool's counters."""
    run(
        "UPDATE ledger_pool SET used = %s, assigned = %s, lingering = %s WHERE id = %s",
        (pool.used, pool.assigned, pool.lingering, uuid_out(pool.pk)),
    )


def new_allocation(
    pool: Pool, kind: AllocationKind, holder: str, *, expires_at: datetime | None, now: datetime, count: int = 1
) -> Allocation:
    """Return an allocation that is not stored yet (for bulk inserts; ``take`` stores it)."""
    return Allocation(
        id=new_id(now),
        pool=pool,
        kind=kind,
        holder=holder,
        count=count,
        created_at=now,
        expires_at=expires_at,
    )


def take(
    pool: Pool,
    kind: AllocationKind,
    holder: str,
    *,
    expires_at: datetime | None,
    now: datetime,
    count: int = 1,
    limit_assigned: bool = True,
) -> Allocation:
    """Take ``count`` seats of a locked pool for ``holder``. Call ``reclaim_expired`` first.

    Raises:
        KeyseatError: ``QUOTA_EXCEEDED``; the pool is then unchanged.
    """
    charge(pool, kind, now, count=count, limit_assigned=limit_assigned)
    save_counters(pool)
    allocation = new_allocation(pool, kind, holder, expires_at=expires_at, now=now, count=count)
    allocation.save(force_insert=True)
    return allocation


def give_back(pool: Pool, allocation: Allocation, now: datetime, ending: Ending) -> None:
    """End a live allocation of a locked pool and count its seats as free.

    Raises:
        KeyseatError: ``SEAT_LOCKED_OFFLINE`` where an offline licence holds it: that ends only by expiring.
    """
    if allocation.kind == AllocationKind.OFFLINE and (allocation.expires_at is None or now < allocation.expires_at):
        raise locked_offline(allocation.expires_at)
    # The row says whether somebody else ended it meanwhile; counting twice would free a seat that is taken.
    ended = Allocation.objects.filter(pk=allocation.pk, released_at__isnull=True).update(released_at=now, ending=ending)
    if not ended:
        return
    if allocation.kind == AllocationKind.NAMED and pool.seats == SeatKind.FLOATING:
        pool.assigned -= allocation.count
    else:
        pool.used -= allocation.count
    save_counters(pool)
    allocation.released_at, allocation.ending = now, ending


def availability(pool: Pool, now: datetime) -> Availability:
    """Return a pool's figures for reading, without a lock: expired seats count as free already."""
    return availabilities([pool], now)[pool.pk]


def availabilities(pools: Sequence[Pool], now: datetime) -> dict[UUID, Availability]:
    """Return the figures of many pools by their ids, with three statements for every 500 of them.

    They are for people to read: an act locks the pool and reads them again.
    """
    found: dict[UUID, Availability] = {}
    for start in range(0, len(pools), _CHUNK):
        part = pools[start : start + _CHUNK]
        ids = [pool.pk for pool in part]
        expired = Q(expires_at__lte=now)
        bound = Q(expires_at__gt=now)
        seats = {
            row["pool"]: row
            for row in Allocation.objects.filter(pool__in=ids, kind=AllocationKind.OFFLINE, released_at__isnull=True)
            .values("pool")
            .annotate(
                over=Sum("count", filter=expired, default=0),
                bound=Sum("count", filter=bound, default=0),
                soonest=Min("expires_at", filter=bound),
            )
        }
        # Sessions of named users take no seat. Counted, not summed up: the index alone tells.
        floating = [pool.pk for pool in part if pool.seats == SeatKind.FLOATING]
        unswept = Lease.objects.filter(expired, pool__in=floating, ended_at__isnull=True)
        sessions = dict(unswept.order_by().values_list("pool").annotate(over=Count("*")))
        over = Lease.objects.filter(expired, pool__in=ids, lingering=True).values_list("pool").annotate(Count("pk"))
        gone = dict(over) if any(pool.lingering for pool in part) else {}
        for pool in part:
            row = seats.get(pool.pk, _NOTHING)
            used = max(0, pool.used - row["over"] - sessions.get(pool.pk, 0))
            found[pool.pk] = Availability(
                quota=pool.quota,
                used=used,
                available=pool.quota - used,
                assigned=pool.assigned,
                offline=row["bound"],
                next_expiry=row["soonest"],
                lingering=max(0, pool.lingering - gone.get(pool.pk, 0)),
            )
    return found


def next_offline_expiry(pool_id: UUID, now: datetime) -> datetime | None:
    """Return when the next seat held by an offline licence comes back, or ``None``."""
    return (
        Allocation.objects.filter(
            pool_id=pool_id, kind=AllocationKind.OFFLINE, released_at__isnull=True, expires_at__gt=now
        )
        .order_by("expires_at")
        .values_list("expires_at", flat=True)
        .first()
    )


def locked_offline(until: datetime | None) -> KeyseatError:
    """Return the refusal to move a seat that an offline licence holds."""
    shown = None if until is None else format_instant(until)
    return KeyseatError(
        ReasonCode.SEAT_LOCKED_OFFLINE,
        f"the seat is bound to an offline licence until {shown} and cannot be taken back or transferred before",
        details={"until": shown},
    )


def quota_exceeded(product: str, quota: int, taken: int, wanted: int, next_expiry: datetime | None) -> KeyseatError:
    """Return the refusal of more seats than are free; ``next_expiry``: when the next offline one comes back."""
    returns = None if next_expiry is None else format_instant(next_expiry)
    asked = "" if wanted == 1 else f"; {wanted} more are asked for"
    wait = "" if returns is None else f" The next offline seat comes back at {returns}."
    return KeyseatError(
        ReasonCode.QUOTA_EXCEEDED,
        f"{taken} of {quota} {product} seats are taken{asked}",
        details={
            "product": product,
            "quota": quota,
            "used": taken,
            "available": max(0, quota - taken),
            "wanted": wanted,
            "next_expiry": returns,
        },
        next_step=f"Free a seat, or extend the subscription.{wait}",
    )
