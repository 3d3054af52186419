"""How sessions end: expired ones are taken back on demand, and everything else that ends one tells why.

A session that counts holds a seat of its pool until it ends, so its pool is locked before it is ended.
There is no sweeper: an expired session's seat is taken back when somebody needs it. One that ends before its lease
leaves that lease in the world, and counts in ``Pool.lingering`` (``overlap``).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q

from keyseat_issuer.ledger.models import Allocation, Lease, Organization, Pool, SessionEnding
from keyseat_issuer.ledger.pools.rows import end, expire
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant

_CHUNK = 1000

REASONS: dict[str, str] = {
    SessionEnding.RELEASED: "the session was ended by this client",
    SessionEnding.EXPIRED: "the lease ran out before it was renewed",
    SessionEnding.TAKEN_OVER: "the account is active on another machine",
    SessionEnding.SEAT_MOVED: "the licence was moved to another user",
    SessionEnding.UNASSIGNED: "the licence was taken from this user",
    SessionEnding.MEMBER_REMOVED: "the e-mail address was removed from the organisation",
    SessionEnding.MACHINE_REMOVED: "the machine was removed from the list",
    SessionEnding.CONVERTED: "the seat became an offline licence",
    SessionEnding.FORCED: "an administrator ended the session",
    SessionEnding.SUBSCRIPTION_ENDED: "the subscription ended",
}
"""What a client tells its user (docs/spec/client-api.md)."""


class _Session(Protocol):
    """What ending a session looks at: a ``Lease``, or a row of ``rows``."""

    @property
    def pk(self) -> UUID: ...
    @property
    def pool_id(self) -> UUID: ...
    @property
    def seats(self) -> int: ...
    @property
    def expires_at(self) -> datetime: ...
    @property
    def ended_at(self) -> datetime | None: ...


_Row = TypeVar("_Row", bound=_Session)


def lease_ended(ending: str, at: datetime | None) -> KeyseatError:
    """Return the refusal to renew a session that is over, with its reason."""
    return KeyseatError(
        ReasonCode.LEASE_ENDED,
        REASONS[ending],
        details={"reason": str(ending), "ended_at": None if at is None else format_instant(at)},
    )


def reclaim_sessions(pool: Pool, now: datetime, most: int | None = None) -> int:
    """End expired sessions of a locked pool, at most ``most`` of them; count their seats free in ``pool`` (not saved).

    Returns how many seats came back. Rows that a renewal holds at this moment are passed over: they are not expired.
    """
    seats = 0
    done = 0
    while most is None or done < most:
        size = _CHUNK if most is None else min(_CHUNK, most - done)
        expired = (
            Lease.objects.select_for_update(skip_locked=True)
            .filter(pool_id=pool.pk, ended_at__isnull=True, expires_at__lte=now)
            .order_by("expires_at")
        )
        rows = list(expired.values_list("pk", "seats")[:size])
        if not rows:
            break
        Lease.objects.filter(pk__in=[pk for pk, _ in rows]).update(
            ended_at=F("expires_at"), ending=SessionEnding.EXPIRED
        )
        seats += sum(taken for _, taken in rows)
        done += len(rows)
        if len(rows) < size:
            break
    pool.used -= seats
    return seats


def end_sessions(
    rows: Iterable[_Row], pools: Mapping[UUID, Pool], ending: SessionEnding, now: datetime
) -> tuple[list[_Row], set[UUID]]:
    """End live sessions of locked pools; count their seats free and their leases as lingering (not saved).

    A session whose lease ran out before ``now`` ended then, by itself, and gets that ending.

    Returns:
        The sessions that this act ended (the rows are as they were), and the pools whose counters changed.
    """
    ended: list[_Row] = []
    expired: list[UUID] = []
    changed: set[UUID] = set()
    for row in rows:
        if row.ended_at is not None:
            continue
        if row.expires_at <= now:
            expired.append(row.pk)
        else:
            ended.append(row)
            pools[row.pool_id].lingering += 1
            changed.add(row.pool_id)
        if row.seats:
            pools[row.pool_id].used -= row.seats
            changed.add(row.pool_id)
    if ended:
        end([row.pk for row in ended], ending, now)
    if expired:
        expire(expired)
    return ended, changed


def end_for(
    organization: Organization,
    ending: SessionEnding,
    pools: Iterable[Pool],
    now: datetime,
    *,
    product: str | None = None,
    emails: Iterable[str] | None = None,
    machine_id: str | None = None,
    session_ids: Iterable[UUID] | None = None,
) -> list[Lease]:
    """End the live sessions in these locked pools that match every filter given; save the pools' counters.

    Returns the sessions that this act ended (not those that had expired before).

    Call inside the transaction of the act that is the reason, after its own changes to the pools. Clients learn it,
    with the reason, at their next renewal; offline licences are not touched.
    """
    by_id = {pool.pk: pool for pool in pools}
    wanted = Q(organization=organization, pool__in=list(by_id), ended_at__isnull=True)
    if product is not None:
        wanted &= Q(product=product)
    if emails is not None:
        wanted &= Q(holder__in=list(emails))
    if machine_id is not None:
        wanted &= Q(machine_id=machine_id)
    if session_ids is not None:
        wanted &= Q(pk__in=list(session_ids))
    rows = Lease.objects.select_for_update(of=("self",)).filter(wanted).order_by("pk")
    ended, changed = end_sessions(rows, by_id, ending, now)
    for pool_id in changed:
        by_id[pool_id].save(update_fields=("used", "lingering"))
    for row in ended:
        row.ended_at, row.ending = now, ending
    return ended


def end_converted(allocations: Iterable[UUID], now: datetime) -> Counter[UUID]:
    """End the sessions of users whose assigned seats (allocations) become offline licences.

    They hold no seat of their own, so ``Pool.used`` stays; their leases linger. Call under the pools' locks.

    Returns:
        How many sessions ended in each pool; the caller counts them in ``Pool.lingering``.
    """
    converted = Allocation.objects.filter(pk__in=list(allocations), pool=OuterRef("pool"), holder=OuterRef("holder"))
    running = Lease.objects.filter(Exists(converted), seats=0, ended_at__isnull=True, expires_at__gt=now)
    ended = dict(running.values_list("pk", "pool_id"))
    if ended:
        end(ended, SessionEnding.CONVERTED, now)
    return Counter(ended.values())


def pools_of(organization: Organization, now: datetime) -> list[UUID]:
    """Return the pools in which sessions of an organisation can run, to be locked before a member's sessions end.

    All of them: one that starts while we wait for the locks may be in any.
    """
    pools = Pool.objects.filter(subscription__organization=organization, subscription__ends_at__gt=now)
    return list(pools.values_list("pk", flat=True))
