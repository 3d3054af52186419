"""Leases that outlive their sessions: how many a policy allows, how short leases become meanwhile, who must wait.

A signed lease cannot be taken back. A client that copies the file and releases the session can go on until the lease
ends, while another holds the seat. So leases whose sessions ended early are counted (``Pool.lingering``), and a session
begins only while all leases together are no more than the quota and the policy's overlap. A lease is bound to its
machine: a new session there takes the place of one that lingers, and costs nothing.

While some linger, leases are short: no longer than the session has lived, so that what short jobs leave behind ends
soon (ADR 0031).
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from keyseat_issuer.ledger.models import Pool
from keyseat_issuer.ledger.tools.plain_sql import (
    fetch,
    instant_in,
    instant_out,
    places,
    run,
    uuid_in,
    uuid_out,
    uuids_out,
)
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant
from keyseat_shared.policy import Policy

TAKEOVER_PERIOD = timedelta(hours=1)
_SHARE = 30
"""The shortest lease is this part of the policy's: two minutes of an hour."""
_SHORTEST = 60
"""Seconds that the shortest lease has at least, as far as the policy's own is not shorter."""
_MOST_READ = 512
"""Lingering leases read for a turn: one for each of its requests, and some to spare."""
_MOST_FORGOTTEN = 1000
"""Ended ones that one request stops counting: bounds what a turn can cost."""


class Left(NamedTuple):
    """A lease that runs on although its session has ended."""

    pk: UUID
    pool_id: UUID
    machine_id: str
    expires_at: datetime


def allowed(quota: int, policy: Policy) -> int:
    """Return how many leases may linger beside a full quota; any overlap at all is one lease at least."""
    return -(-quota * policy.lease_overlap // 100)


def room(pool: Pool, policy: Policy) -> int:
    """Return how many more leases of a locked pool the policy allows in the world; less than 0: there are too many."""
    return pool.quota + allowed(pool.quota, policy) - pool.used - pool.lingering


def is_pressed(quota: int, used: int, lingering: int) -> bool:
    """Tell whether leases of a floating pool are to be short: some linger, and half of the quota is in the world."""
    return lingering > 0 and 2 * (used + lingering) >= quota


def short_life(policy: Policy, age: timedelta) -> timedelta:
    """Return how long a lease lasts while others linger: as long as the session has lived, within bounds."""
    shortest = min(policy.lease_ttl, max(_SHORTEST, policy.lease_ttl // _SHARE))
    return timedelta(seconds=min(policy.lease_ttl, max(shortest, int(age.total_seconds()))))


def on_machines(pools: Collection[UUID], machines: Collection[str], now: datetime) -> list[Left]:
    """Return the leases that linger on these machines, in locked pools."""
    if not pools or not machines:
        return []
    return _read(
        f"pool_id IN ({places(len(pools))}) AND machine_id IN ({places(len(machines))})",
        [*uuids_out(pools), *machines],
        now,
    )


def of_user(holder: str, product: str, pools: Collection[UUID], now: datetime) -> list[Left]:
    """Return the leases of a named user that linger, in locked pools."""
    if not pools:
        return []
    found = _read("seats = 0 AND holder = %s AND product = %s", [holder, product], now)
    return [left for left in found if left.pool_id in pools]


def of_users(wanted: Collection[tuple[str, str]], now: datetime) -> set[tuple[UUID, str]]:
    """Return pool and holder of the leases that linger of named users, given as (holder, product); locks nothing."""
    holders, products = {holder for holder, _ in wanted}, {product for _, product in wanted}
    rows = fetch(
        "SELECT DISTINCT pool_id, holder FROM ledger_lease WHERE lingering AND seats = 0"  # noqa: S608 - marks
        f" AND holder IN ({places(len(holders))}) AND product IN ({places(len(products))}) AND expires_at > %s",
        [*holders, *products, instant_out(now)],
    )
    return {(uuid_in(pool_id), holder) for pool_id, holder in rows}


def take_place(ids: Collection[UUID], now: datetime) -> None:
    """Let new sessions on the same machines take the place of these leases; the caller counts."""
    run(
        f"UPDATE ledger_lease SET lingering = %s, lingers_until = %s WHERE id IN ({places(len(ids))})",  # noqa: S608 - marks
        [False, instant_out(now), *uuids_out(ids)],
    )


def forget_ended(pool: Pool, now: datetime) -> int:
    """Stop counting leases of a locked pool that have ended, the first ones first; return how many (not saved)."""
    if pool.lingering <= 0:
        return 0
    rows = fetch(
        "SELECT id FROM ledger_lease WHERE lingering AND pool_id = %s AND expires_at <= %s"
        " ORDER BY expires_at LIMIT %s",
        (uuid_out(pool.pk), instant_out(now), _MOST_FORGOTTEN),
    )
    ids = [uuid_in(pk) for (pk,) in rows]
    if ids:
        run(
            f"UPDATE ledger_lease SET lingering = %s WHERE id IN ({places(len(ids))})",  # noqa: S608 - marks
            [False, *uuids_out(ids)],
        )
        pool.lingering -= len(ids)
    return len(ids)


def must_wait(pools: Sequence[Pool], policy: Policy, now: datetime, *, more: int = 1) -> KeyseatError:
    """Return the refusal of ``more`` leases where seats are free, but too many leases of ended sessions run on."""
    soonest = [at for pool in pools if (at := _end_for(pool, more - room(pool, policy), now)) is not None]
    return refusal(
        pools[0].product,
        f"{sum(pool.lingering for pool in pools)} leases of sessions that have ended run on",
        {
            "quota": sum(pool.quota for pool in pools),
            "used": sum(pool.used for pool in pools),
            "overlap": sum(allowed(pool.quota, policy) for pool in pools),
            "lingering": sum(pool.lingering for pool in pools),
        },
        min(soonest, default=None),
    )


def require_takeover(holder: str, pool: Pool, policy: Policy, now: datetime) -> None:
    """Require that a user's session may be taken over once more within the hour.

    Raises:
        KeyseatError: ``QUOTA_EXCEEDED`` with when the next one may be.
    """
    most = policy.lease_takeovers
    rows = fetch(
        "SELECT ended_at FROM ledger_lease WHERE holder = %s AND product = %s AND ending = 'TAKEN_OVER'"
        " AND ended_at > %s AND pool_id = %s ORDER BY ended_at DESC LIMIT %s",
        (holder, pool.product, instant_out(now - TAKEOVER_PERIOD), uuid_out(pool.pk), most),
    )
    if most and len(rows) == most:
        free_at = instant_in(rows[-1][0]) + TAKEOVER_PERIOD
        why = f"the session of {holder} has moved to another machine {most} times within an hour"
        raise refusal(pool.product, why, {"takeovers": most}, free_at)
    if not most:
        raise refusal(pool.product, f"the session of {holder} runs on another machine", {"takeovers": 0}, None)


def refusal(product: str, why: str, details: dict[str, object], free_at: datetime | None) -> KeyseatError:
    """Return the refusal of a session that has to wait for the end of a lease."""
    until = None if free_at is None else format_instant(free_at)
    return KeyseatError(
        ReasonCode.QUOTA_EXCEEDED,
        f"{why}; the next {product} session can begin at {until}" if until else why,
        # `next_free_at` is what earlier clients look at.
        details={"product": product, **details, "free_at": until, "next_free_at": until},
        next_step=f"Try again at {until}, or on the machine that had the session before."
        if until
        else "Use the machine that has the session, or release it there.",
    )


def _end_for(pool: Pool, count: int, now: datetime) -> datetime | None:
    """Return when so many of a pool's lingering leases have ended."""
    rows = fetch(
        "SELECT expires_at FROM ledger_lease WHERE lingering AND pool_id = %s AND expires_at > %s"
        " ORDER BY expires_at LIMIT 1 OFFSET %s",
        (uuid_out(pool.pk), instant_out(now), min(_MOST_FORGOTTEN, max(0, count - 1))),
    )
    return instant_in(rows[0][0]) if rows else None


def _read(condition: str, values: Sequence[object], now: datetime) -> list[Left]:
    rows = fetch(
        "SELECT id, pool_id, machine_id, expires_at FROM ledger_lease"  # noqa: S608 - conditions of this module
        f" WHERE lingering AND {condition} AND expires_at > %s LIMIT %s",
        [*values, instant_out(now), _MOST_READ],
    )
    return [Left(uuid_in(pk), uuid_in(pool), machine, instant_in(at)) for pk, pool, machine, at in rows]
