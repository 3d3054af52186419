"""A plain model of who holds which seat, to hold the ledger against: sets and dictionaries, no locks, no counters.

It says what each act must answer (``None`` for done, else the reason code) and keeps what is held afterwards. Which of
several pools with room an act takes is the ledger's choice; the model only asks that there was room.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from keyseat_shared.codes import ReasonCode

NAMED, FLOATING = "KSE", "KRE"
HOUR = timedelta(hours=1)


@dataclass
class Session:
    """A live session: who holds it, where, on how many seats, until when."""

    pool: UUID
    holder: str
    product: str
    machine: str
    seats: int
    expires_at: datetime


class Kept(NamedTuple):
    """A lease whose session ended before it: somebody may have kept the file aside, on its machine."""

    pool: UUID
    holder: str
    product: str
    machine: str
    until: datetime


class Offline(NamedTuple):
    """Seats that an offline licence holds until it expires."""

    email: str | None
    machine: str
    seats: int
    issued_at: datetime
    expires_at: datetime = datetime.max.replace(tzinfo=UTC)


@dataclass
class ModelPool:
    """The seats of a product in a subscription."""

    product: str
    quota: int
    ends_at: datetime
    annual: bool
    assigned: set[str] = field(default_factory=set)
    offline: list[Offline] = field(default_factory=list)


@dataclass
class Model:
    """All pools of one organisation, its members and its sessions."""

    members: set[str]
    overlap: int = 100
    takeovers: int = 10
    pools: dict[UUID, ModelPool] = field(default_factory=dict)
    sessions: dict[UUID, Session] = field(default_factory=dict)
    decided: dict[str, datetime] = field(default_factory=dict)
    """When a named seat was last assigned to a user."""
    kept: list[Kept] = field(default_factory=list)
    moved: list[tuple[UUID, str, datetime]] = field(default_factory=list)
    """Whose session was taken over by another machine, in which pool and when."""

    def used(self, pool_id: UUID, now: datetime) -> int:
        """Return how many seats of a pool are taken."""
        pool = self.pools[pool_id]
        named = len(pool.assigned) if pool.product == NAMED else 0
        bound = sum(held.seats for held in pool.offline if now < held.expires_at)
        running = sum(s.seats for s in self.sessions.values() if s.pool == pool_id and now < s.expires_at)
        return named + bound + running

    def free(self, pool_id: UUID, now: datetime) -> int:
        """Return how many seats of a pool are free."""
        return self.pools[pool_id].quota - self.used(pool_id, now)

    def room(self, pool_id: UUID, now: datetime) -> int:
        """Return how many more users a pool can have assigned: of a floating product they hold no seat."""
        pool = self.pools[pool_id]
        return self.free(pool_id, now) if pool.product == NAMED else pool.quota - len(pool.assigned)

    def active(self, product: str, now: datetime) -> list[UUID]:
        """Return the pools of running subscriptions."""
        return [pk for pk, pool in self.pools.items() if pool.product == product and now < pool.ends_at]

    def holding(self, product: str, email: str) -> list[UUID]:
        """Return the pools, of ended subscriptions too, in which a user has a seat assigned; the longest one last."""
        mine = [pk for pk, pool in self.pools.items() if pool.product == product and email in pool.assigned]
        return sorted(mine, key=lambda pk: self.pools[pk].ends_at)

    def bound(self, product: str, email: str | None, now: datetime) -> list[Offline]:
        """Return the active offline licences of a user."""
        pools = [pool for pool in self.pools.values() if pool.product == product]
        return [held for pool in pools for held in pool.offline if held.email == email and now < held.expires_at]

    def returning(self, email: str, now: datetime) -> bool:
        """Tell whether a seat comes back to a user by itself: of a licence that expired and that nothing replaced."""
        every = [held for pool in self.pools.values() for held in pool.offline if held.email == email]
        return any(
            held.expires_at <= now
            and self.decided.get(email, held.issued_at) <= held.issued_at
            and not any(held.expires_at <= other.issued_at for other in every)
            for held in every
        )

    def running(self, now: datetime, product: str | None = None, holder: str | None = None) -> list[UUID]:
        """Return the live sessions, of a product or a holder."""
        return [
            pk
            for pk, found in self.sessions.items()
            if now < found.expires_at and product in {None, found.product} and holder in {None, found.holder}
        ]

    def end(self, sessions: Iterable[UUID], now: datetime) -> None:
        """Forget sessions that have ended; their leases are kept aside."""
        for pk in list(sessions):
            ended = self.sessions.pop(pk, None)
            if ended is not None and now < ended.expires_at:
                self.kept.append(Kept(ended.pool, ended.holder, ended.product, ended.machine, ended.expires_at))

    # Leases kept aside ---------------------------------------------------------------------------------------------

    def lingering(self, pool_id: UUID, now: datetime, machine: str | None = None) -> list[Kept]:
        """Return the leases of a pool that run on although their sessions have ended; on one machine only."""
        return [
            kept for kept in self.kept if kept.pool == pool_id and now < kept.until and machine in {None, kept.machine}
        ]

    def most(self, pool_id: UUID) -> int:
        """Return how many leases of a pool may be in the world."""
        quota = self.pools[pool_id].quota
        return quota + math.ceil(quota * self.overlap / 100)

    def fits(self, pool_id: UUID, machine: str, now: datetime) -> bool:
        """Tell whether a floating session may begin in a pool."""
        if self.free(pool_id, now) < 1:
            return False
        lingering = len(self.lingering(pool_id, now))
        here = self.lingering(pool_id, now, machine)
        return bool(here) or self.used(pool_id, now) + lingering + 1 <= self.most(pool_id)

    def take_place(self, pool_id: UUID, holder: str, machine: str, now: datetime) -> None:
        """Let a new session take the place of a lease that was kept on the same machine, the one that ends last."""
        here = sorted(self.lingering(pool_id, now, machine), key=lambda kept: kept.until)
        if self.pools[pool_id].product == NAMED:
            here = [kept for kept in here if kept.holder == holder]
        if here:
            self.kept.remove(here[-1])

    def home(self, email: str, now: datetime) -> UUID:
        """Return the pool in which a named user's session begins."""
        mine = set(self.holding(NAMED, email)) & set(self.active(NAMED, now))
        return min(mine, key=lambda pk: (-self.pools[pk].ends_at.timestamp(), pk))

    def taking_over(self, email: str, machine: str, now: datetime) -> ReasonCode | None:
        """Tell what a named user who has a seat must be answered on a machine where no session of theirs runs."""
        active, home = self.active(NAMED, now), self.home(email, now)
        running = [self.sessions[pk] for pk in self.running(now, NAMED, email)]
        elsewhere = [kept for pk in active for kept in self.lingering(pk, now) if kept.holder == email]
        elsewhere = [kept for kept in elsewhere if kept.machine != machine]
        if len(running) + len(elsewhere) > (1 if self.overlap else 0):
            return ReasonCode.QUOTA_EXCEEDED
        lately = [at for pool, who, at in self.moved if (pool, who) == (home, email) and now - HOUR < at]
        if running and len(lately) >= self.takeovers:
            return ReasonCode.QUOTA_EXCEEDED
        here = [kept for kept in self.lingering(home, now, machine) if kept.holder == email]
        more = sum(session.pool == home for session in running) - bool(here)
        room = self.most(home) - self.used(home, now) - len(self.lingering(home, now))
        return ReasonCode.QUOTA_EXCEEDED if more > room else None

    # What each act must answer -------------------------------------------------------------------------------------

    def assigning(self, product: str, emails: Sequence[str], now: datetime) -> ReasonCode | None:
        """Tell what assigning seats to these users must answer."""
        active = self.active(product, now)
        if not set(emails) <= self.members:
            return ReasonCode.NOT_A_MEMBER
        if not active:
            return ReasonCode.SUBSCRIPTION_ENDED
        new = {email for email in emails if not set(self.holding(product, email)) & set(active)}
        return ReasonCode.QUOTA_EXCEEDED if len(new) > sum(self.room(pk, now) for pk in active) else None

    def unassigning(self, product: str, emails: Sequence[str], now: datetime) -> ReasonCode | None:
        """Tell what taking back seats must answer."""
        missing = [email for email in emails if not self.holding(product, email)]
        if not missing:
            return None
        bound = any(self.bound(product, email, now) for email in missing)
        return ReasonCode.SEAT_LOCKED_OFFLINE if bound else ReasonCode.NOT_ASSIGNED

    def issuing(
        self, product: str, wanted: Offline, now: datetime, *, until: datetime | None
    ) -> tuple[ReasonCode | None, list[UUID]]:
        """Tell what issuing an offline licence must answer, and the pools that it may take seats of."""
        usable, email = self.active(product, now), wanted.email
        annual = [pk for pk in usable if self.pools[pk].annual]
        lasting = [pk for pk in annual if until is None or until <= self.pools[pk].ends_at]
        own = [pk for pk in lasting if email in self.pools[pk].assigned and product == NAMED]
        fitting = own or [pk for pk in lasting if self.free(pk, now) >= wanted.seats]
        bound = self.bound(product, email, now) if email is not None else []
        # In the order in which the ledger tells them.
        obstacles = {
            ReasonCode.NOT_A_MEMBER: email is not None and email not in self.members,
            ReasonCode.SUBSCRIPTION_ENDED: not usable,
            ReasonCode.NOT_ANNUAL: not annual,
            ReasonCode.EXPIRY_AFTER_SUBSCRIPTION: not lasting,
            ReasonCode.ALREADY_BOUND: wanted.machine in {held.machine for held in bound},
            ReasonCode.QUOTA_EXCEEDED: not fitting,
        }
        return next((code for code, stands in obstacles.items() if stands), None), fitting

    def acquiring(self, product: str, email: str | None, machine: str, now: datetime) -> ReasonCode | None:
        """Tell what asking for a session must answer: a user's (``email``), or an API key's.

        For a named user, whether there is a seat; then ``taking_over`` tells.
        """
        active = set(self.active(product, now))
        refused = None if any(self.fits(pk, machine, now) for pk in active) else ReasonCode.QUOTA_EXCEEDED
        if email is not None and email not in self.members:
            refused = ReasonCode.NOT_A_MEMBER
        elif not active:
            refused = ReasonCode.SUBSCRIPTION_ENDED
        elif email is None:
            refused = ReasonCode.NOT_ALLOWED if product == NAMED else refused
        elif active.intersection(self.holding(product, email)):
            refused = None if product == NAMED else refused
        elif product == FLOATING:
            refused = ReasonCode.NOT_ASSIGNED
        elif not self.returning(email, now):
            bound = self.bound(product, email, now)
            refused = ReasonCode.SEAT_LOCKED_OFFLINE if bound else ReasonCode.NOT_ASSIGNED
        return refused

    # What is held afterwards ---------------------------------------------------------------------------------------

    def assign(self, pool_id: UUID, email: str, now: datetime) -> None:
        """Keep that a seat was assigned, for which there must have been room."""
        assert self.room(pool_id, now) > 0
        assert now < self.pools[pool_id].ends_at
        self.pools[pool_id].assigned.add(email)
        if self.pools[pool_id].product == NAMED:
            self.decided[email] = now

    def issue(self, pool_id: UUID, held: Offline, now: datetime) -> None:
        """Keep that an offline licence was issued; an assigned seat of its user becomes it, and the session ends."""
        pool = self.pools[pool_id]
        pool.offline.append(held)
        if held.email is None:
            return
        if held.email in pool.assigned:
            pool.assigned.remove(held.email)
            self.end([pk for pk in self.running(now, NAMED, held.email) if self.sessions[pk].pool == pool_id], now)

    def unassign(self, product: str, email: str, now: datetime) -> UUID:
        """Keep that a user's seat was taken back, and the user's sessions ended with it; return its pool."""
        pool_id = self.holding(product, email)[-1]
        self.pools[pool_id].assigned.remove(email)
        self.end(self.running(now, product, email), now)
        return pool_id

    def remove(self, email: str, now: datetime) -> None:
        """Keep that a member was removed: seats and sessions end, offline licences stay."""
        self.members.remove(email)
        for pool in self.pools.values():
            pool.assigned.discard(email)
        self.end(self.running(now, holder=email), now)
