"""Where a session may begin in one turn of the desk: a pool with a free seat, and room for one more lease in the world.

The pools are locked by the turn. Leases that linger on the machines that ask are read once; those of sessions that end
in the turn join them, so that a seat given back can be taken up on the same machine at once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from keyseat_issuer.ledger.models import Pool
from keyseat_issuer.ledger.pools import overlap, pools
from keyseat_issuer.ledger.pools.overlap import Left
from keyseat_issuer.ledger.pools.rows import EndingRow, LeaseRow
from keyseat_issuer.ledger.sessions import entitlement
from keyseat_issuer.ledger.sessions.entitlement import Candidate
from keyseat_shared.policy import Policy

_RECLAIM_AT_ONCE = 1000
"""Expired sessions ended in one go by the request that needs a seat: bounds what one turn can cost."""


class Places:
    """The locked pools of a turn with the leases that linger in them."""

    def __init__(self, policy: Policy, now: datetime) -> None:
        self._policy = policy
        self._now = now
        self._pools: Mapping[UUID, Pool] = {}
        self._left: dict[tuple[UUID, str], list[Left]] = {}
        self._taken: list[UUID] = []
        self._looked: set[UUID] = set()

    def load(self, locked: Mapping[UUID, Pool], machines: Iterable[str]) -> None:
        """Take the locked pools, and read what lingers in them on the machines that ask."""
        self._pools = locked
        concerned = [pk for pk, pool in locked.items() if pool.lingering > 0]
        for left in overlap.on_machines(concerned, set(machines), self._now):
            self._add(left)

    def ended(self, rows: Iterable[EndingRow | LeaseRow]) -> None:
        """Add the leases of sessions that have just ended."""
        for row in rows:
            self._add(Left(row.pk, row.pool_id, row.machine_id, row.expires_at))

    def choose(self, listed: Sequence[Candidate], machine_id: str, flush: Callable[[], object]) -> Candidate:
        """Return the pool in which a floating session may begin: where the machine has been, else the first with room.

        Args:
            listed: the organisation's pools of the product.
            machine_id: of who asks.
            flush: stores the turn's sessions, before expired ones are looked for.

        Raises:
            KeyseatError: ``QUOTA_EXCEEDED`` where no seat is free, or too many leases of ended sessions run on.
        """
        for candidate in listed:
            pool = self._pools[candidate.pool_id]
            if pool.used < pool.quota and self._left_here(pool, machine_id) is not None:
                return candidate
        for candidate in listed:
            pool = self._pools[candidate.pool_id]
            if not self._fits(pool):
                flush()
                pools.reclaim_expired(pool, self._now, most_sessions=_RECLAIM_AT_ONCE)
            if self._fits(pool) or (pool.used < pool.quota and self._left_here(pool, machine_id) is not None):
                return candidate
        locked = [self._pools[candidate.pool_id] for candidate in listed]
        free = [pool for pool in locked if pool.used < pool.quota]
        if free:
            raise overlap.must_wait(free, self._policy, self._now)
        raise entitlement.sessions_used_up(locked, self._now)

    def begin(self, candidate: Candidate, machine_id: str) -> datetime:
        """Count a floating session in a pool that was chosen for it, and return how long its lease lasts at most."""
        pool = self._pools[candidate.pool_id]
        left = self._left_here(pool, machine_id)
        if left is not None:
            self.take(left)
        if self._is_pressed(pool) and pool.pk not in self._looked:
            self._looked.add(pool.pk)
            overlap.forget_ended(pool, self._now)
        full = timedelta(seconds=self._policy.lease_ttl)
        until = self._now + (overlap.short_life(self._policy, timedelta()) if self._is_pressed(pool) else full)
        if left is not None:
            # The machine has a lease until then anyway, so a shorter one would win nothing.
            until = max(until, left.expires_at)
        pool.used += 1
        return min(until, candidate.ends_at)

    def take(self, left: Left) -> None:
        """Let a new session on the same machine take the place of a lease that lingers."""
        same = self._left.get((left.pool_id, left.machine_id), [])
        if left in same:
            same.remove(left)
        self._taken.append(left.pk)
        self._pools[left.pool_id].lingering -= 1

    def save(self) -> None:
        """Write whose places were taken; the counters are the turn's to write."""
        if self._taken:
            overlap.take_place(self._taken, self._now)
            self._taken = []

    def _add(self, left: Left) -> None:
        self._left.setdefault((left.pool_id, left.machine_id), []).append(left)

    def _fits(self, pool: Pool) -> bool:
        return pool.used < pool.quota and overlap.room(pool, self._policy) > 0

    def _is_pressed(self, pool: Pool) -> bool:
        return overlap.is_pressed(pool.quota, pool.used, pool.lingering)

    def _left_here(self, pool: Pool, machine_id: str) -> Left | None:
        """Return the lease that lingers longest on the machine, of those that a new one may outlast by the policy."""
        latest = self._now + timedelta(seconds=self._policy.lease_ttl)
        found = [left for left in self._left.get((pool.pk, machine_id), ()) if left.expires_at <= latest]
        return max(found, key=lambda left: left.expires_at, default=None)
