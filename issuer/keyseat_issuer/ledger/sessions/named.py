"""The one session of a named user beside the leases that the user has left on other machines."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from keyseat_issuer.ledger.models import Pool
from keyseat_issuer.ledger.pools import overlap, pools
from keyseat_issuer.ledger.pools.overlap import Left
from keyseat_issuer.ledger.pools.rows import LeaseRow
from keyseat_issuer.ledger.sessions.values import Acquire
from keyseat_shared.evidence import Verdict
from keyseat_shared.policy import Policy


class Away(NamedTuple):
    """What a user who asks on one machine has in the world.

    ``here`` is the session that runs on this machine, ``left`` a lease that lingers on it in the same pool; ``ends``
    are the ends of the leases on other machines, with those of the ``running`` sessions that this one would take over.

    ``machine_id`` is what a new lease is bound to: the ID that a lease on this machine has already. An ID that is like
    two machines, where it did not count the one, would else bring a lease to the other.
    """

    holder: str
    product: str
    machine_id: str
    here: LeaseRow | None
    left: Left | None
    ends: tuple[datetime, ...]
    running: tuple[LeaseRow, ...]

    @classmethod
    def look(
        cls, request: Acquire, rows: Sequence[LeaseRow], home: UUID, locked: Sequence[Pool], now: datetime
    ) -> "Away":
        """Look at a user's locked sessions and lingering leases; ``home`` is the pool in which one would begin."""
        live = [row for row in rows if row.expires_at > now]
        here = next((row for row in live if same_machine(row.machine_id, request.machine_id)), None)
        others = tuple(row for row in live if row is not here)
        concerned = [pool.pk for pool in locked if pool.lingering > 0]
        lingering = overlap.of_user(request.holder.name, request.product, concerned, now)
        own = [left for left in lingering if same_machine(left.machine_id, request.machine_id)]
        ends = [row.expires_at for row in others]
        ends += [left.expires_at for left in lingering if left not in own]
        own.sort(key=lambda left: left.expires_at)
        at_home = [left for left in own if left.pool_id == home]
        latest = at_home[-1] if at_home else None
        bound = [left.machine_id for left in (*own, *at_home)]  # to the one whose place it takes, if there is one
        machine_id = bound[-1] if bound else request.machine_id
        return cls(request.holder.name, request.product, machine_id, here, latest, tuple(sorted(ends)), others)

    def require_room(self, pool: Pool, policy: Policy, now: datetime) -> None:
        """Require that the user may begin on this machine: at most one lease runs on elsewhere, and the pool has room.

        Raises:
            KeyseatError: ``QUOTA_EXCEEDED`` with when the user may.
        """
        most = 1 if policy.lease_overlap else 0
        lingering = len(self.ends) - len(self.running)
        if len(self.ends) > most:
            raise overlap.refusal(
                self.product,
                f"leases of {self.holder} run on {len(self.ends)} other machine(s); sessions that have ended left"
                f" {lingering} of them",
                {"overlap": most, "lingering": lingering},
                self.ends[len(self.ends) - most - 1],
            )
        if self.running:
            overlap.require_takeover(self.holder, pool, policy, now)
        more = sum(row.pool_id == pool.pk for row in self.running)
        more -= self.left is not None
        if more > overlap.room(pool, policy):
            pools.reclaim_expired(pool, now, most_sessions=0)
        if more > overlap.room(pool, policy):
            raise overlap.must_wait([pool], policy, now, more=more)


def away(rows: Collection[LeaseRow], policy: Policy, now: datetime) -> set[tuple[UUID, str]]:
    """Return pool and holder of those of these sessions whose users have left leases elsewhere; locks nothing.

    Only young ones are looked at: the lease of a session that has lived as long as a lease does is never short.
    """
    full = timedelta(seconds=policy.lease_ttl)
    young = {
        (row.holder, row.product)
        for row in rows
        if row.seats == 0 and row.pool_lingering > 0 and now - row.started_at < full
    }
    return overlap.of_users(young, now) if young else set()


def same_machine(enrolled: str, probed: str) -> bool:
    """Tell whether two IDs mean the same machine and user (docs/spec/machine-id.md, section 9)."""
    if enrolled == probed:
        return True
    from keyseat_shared.machine_id import MachineID  # noqa: PLC0415 - the usual answer needs no decoding
    from keyseat_shared.matching import match  # noqa: PLC0415 - as above

    return match(MachineID.parse_canonical(enrolled), MachineID.parse_canonical(probed)).verdict is Verdict.SAME
