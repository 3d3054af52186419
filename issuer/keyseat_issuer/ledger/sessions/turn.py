"""One turn of the session desk: acquire, renew and release, many requests in one transaction.

Locks are taken in one order everywhere: pools by id, sessions by id, the audit head; and a turn waits for none but the
last (``locks``). A renewal locks no pool: it changes one row, and only while that row is live. A refusal concerns
its own request; the turn goes on.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from keyseat_issuer.ledger.audit import log
from keyseat_issuer.ledger.audit.ledger_time import ledger_now
from keyseat_issuer.ledger.models import Pool, SeatKind, SessionEnding
from keyseat_issuer.ledger.pools import overlap, pools
from keyseat_issuer.ledger.pools import rows as lease_rows
from keyseat_issuer.ledger.pools.endings import end_sessions, lease_ended
from keyseat_issuer.ledger.pools.rows import EndingRow, HeldError, LeaseRow
from keyseat_issuer.ledger.sessions import entitlement, named
from keyseat_issuer.ledger.sessions.entitlement import Candidate
from keyseat_issuer.ledger.sessions.locks import Candidates, Held, Needs
from keyseat_issuer.ledger.sessions.places import Places
from keyseat_issuer.ledger.sessions.values import (
    Acquire,
    Ended,
    Grant,
    Holder,
    Later,
    Outcome,
    Release,
    ReleasePrevious,
    Renew,
    Request,
)
from keyseat_issuer.ledger.tools.identifiers import new_id
from keyseat_shared import rules
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant
from keyseat_shared.policy import Policy

ACTOR = "service"


def process(requests: Sequence[Request], policy: Policy, now: datetime, held: Held | None = None) -> list[Outcome]:
    """Answer a turn's requests inside the caller's transaction, in the order given.

    What needs rows that another act holds is answered ``Later``: the caller asks again.

    Args:
        requests: what is asked.
        policy: the rules.
        now: the present.
        held: the pools that were held in turns before, to be kept from turn to turn.

    Raises:
        ClockError: ``CLOCK_ROLLED_BACK``; nothing is then answered.
        django.db.Error: where the database fails; the caller rolls back.
    """
    turn = _Turn(policy, ledger_now(now), Held() if held is None else held)
    return turn.run(requests)


class _Turn:
    """The state of one turn: the locked pools, sessions that are not stored yet, audit rows to come."""

    def __init__(self, policy: Policy, now: datetime, held: Held) -> None:
        self.policy = policy
        self.now = now
        self.held = held
        self.pools: dict[UUID, Pool] = {}
        self.candidates: Candidates = {}
        self.found: dict[UUID, EndingRow] = {}
        self.by_key: dict[str | None, LeaseRow] = {}
        self.changed: set[UUID] = set()
        self.places = Places(policy, now)
        self.unsaved: list[LeaseRow] = []
        self.events: list[log.NewEvent] = []

    def run(self, requests: Sequence[Request]) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        organizations = self._find_organizations(requests, outcomes)
        self._lock(requests, organizations, outcomes)
        # Releases first: a seat given back in this turn can be taken in it.
        releases = [(i, r) for i, r in enumerate(requests) if isinstance(r, Release) and i not in outcomes]
        outcomes.update(self._release(releases))
        for index, request in enumerate(requests):
            if index not in outcomes and isinstance(request, ReleasePrevious):
                outcomes[index] = self._try(self._release_all_previous, request)
        for index, request in enumerate(requests):
            if index not in outcomes and isinstance(request, Acquire):
                organization = organizations[index]
                outcomes[index] = self._try(functools.partial(self._acquire, organization_id=organization), request)
        self._flush()
        self.places.save()
        for pool_id in sorted(self.changed):
            pools.save_counters(self.pools[pool_id])
        renewals = [(index, r) for index, r in enumerate(requests) if index not in outcomes and isinstance(r, Renew)]
        if renewals:
            outcomes.update(self._renew(renewals))
        if self.events:
            log.append_many(self.events, actor=ACTOR, now=self.now)
        return [outcomes[index] for index in range(len(requests))]

    def _try(self, answer: Callable[..., Outcome], request: Request) -> Outcome:
        try:
            return answer(request)
        except KeyseatError as refusal:
            return refusal
        except HeldError as error:
            return Later(error.of)

    def _find_organizations(self, requests: Sequence[Request], outcomes: dict[int, Outcome]) -> dict[int, UUID]:
        """Return the organisation that each acquiring request is for, and refuse those that name a wrong one."""
        found: dict[int, UUID] = {}
        for index, request in enumerate(requests):
            if isinstance(request, Acquire):
                try:
                    found[index] = entitlement.organization_for(request.holder, request.organization_id)
                except KeyseatError as refusal:
                    outcomes[index] = refusal
        return found

    def _lock(self, requests: Sequence[Request], organizations: dict[int, UUID], outcomes: dict[int, Outcome]) -> None:
        """Lock the free rows that this turn may change, and put off the requests that need others."""
        needs = Needs(requests, organizations, self.now)
        self.candidates = needs.candidates
        self.pools = needs.lock(self.held)
        outcomes.update(needs.put_off(self.pools))
        rows, held = lease_rows.lock_to_end(
            {r.session_id for i, r in enumerate(requests) if isinstance(r, Release) and i not in outcomes}
        )
        self.found = {row.pk: row for row in rows}
        for index, request in enumerate(requests):
            if isinstance(request, Release) and request.session_id in held:
                outcomes[index] = Later(frozenset({request.session_id}))
        asked = [r for i, r in enumerate(requests) if isinstance(r, Acquire) and i not in outcomes]
        # Under the pools' locks: a repeated request comes after the first one, and finds its session.
        self.by_key = {row.idempotency: row for row in lease_rows.started_under({r.idempotency for r in asked})}
        self.places.load(self.pools, {request.machine_id for request in asked})

    # Releasing -------------------------------------------------------------------------------------------------------

    def _release(self, releases: Sequence[tuple[int, Release]]) -> dict[int, Outcome]:
        mine: dict[UUID, EndingRow] = {}
        refused: dict[int, Outcome] = {}
        for index, request in releases:
            row = self.found.get(request.session_id)
            if row is None or not _owns(request.holder, row):
                refused[index] = _no_session()
            # A pool that was not locked holds no seat for it: the session had ended before this turn began.
            elif row.pool_id in self.pools:
                mine[row.pk] = row
        ended = {row.pk for row in self._end(mine.values(), SessionEnding.RELEASED)}
        return {index: Ended(int(request.session_id in ended)) for index, request in releases} | refused

    def _release_all_previous(self, request: ReleasePrevious) -> Ended:
        return Ended(self._release_previous(request.holder, request.product, request.machine_id))

    def _release_previous(self, holder: Holder, product: str, machine_id: str) -> int:
        self._flush()
        rows = lease_rows.lock_running(holder.name, product, self.pools, machine_id=machine_id)
        return len(self._end(rows, SessionEnding.RELEASED))

    def _end(self, rows: Iterable[EndingRow | LeaseRow], ending: SessionEnding) -> list[EndingRow | LeaseRow]:
        ended, changed = end_sessions(rows, self.pools, ending, self.now)
        self.changed |= changed
        self.places.ended(ended)
        for row in ended:
            self._tell("session.ended", row, {"reason": str(ending)})
        return ended

    # Acquiring -------------------------------------------------------------------------------------------------------

    def _acquire(self, request: Acquire, organization_id: UUID) -> Grant:
        known = self.by_key.get(request.idempotency)
        if known is not None:
            return self._repeat(known, request)
        listed = self.candidates.get((organization_id, request.product), ())
        if not listed:
            entitlement.require_subscription(organization_id, request.product, self.now)
        home = entitlement.assigned_pool(request.holder, request.product, listed, self.pools, self.now)
        if listed[0].seats == SeatKind.NAMED:
            return self._take_over(request, listed, next(found for found in listed if found.pool_id == home))
        if request.release_previous:
            self._release_previous(request.holder, request.product, request.machine_id)
        candidate = self.places.choose(listed, request.machine_id, self._flush)
        return self._start(request, candidate, self.places.begin(candidate, request.machine_id), seats=1)

    def _repeat(self, known: LeaseRow, request: Acquire) -> Grant:
        """Answer a request that came before: the same session, a new lease.

        Raises:
            KeyseatError: ``INVALID_INPUT`` where the key came with another request; ``LEASE_ENDED``.
        """
        if known.request_sha256 != request.fingerprint:
            raise KeyseatError(
                ReasonCode.INVALID_INPUT,
                "this Idempotency-Key was sent with another request before",
                details={"field": "Idempotency-Key"},
                next_step="Send a new Idempotency-Key with every new request.",
            )
        return self._grant_again(known, request.nonce)

    def _take_over(self, request: Acquire, listed: Sequence[Candidate], candidate: Candidate) -> Grant:
        """Start the one session of a named user; a session on the same machine goes on, any other one ends.

        Raises:
            KeyseatError: ``QUOTA_EXCEEDED`` where the user's leases on other machines must end first.
        """
        self._flush()
        self.places.save()
        holder, product = request.holder.name, request.product
        running = lease_rows.lock_running(holder, product, self.pools, organization=candidate.organization_id)
        locked = [self.pools[each.pool_id] for each in listed]
        away = named.Away.look(request, running, candidate.pool_id, locked, self.now)
        if away.here is not None:
            return self._grant_again(away.here, request.nonce, short=bool(away.ends))
        away.require_room(self.pools[candidate.pool_id], self.policy, self.now)
        self._end(running, SessionEnding.TAKEN_OVER)
        until = self.now + self._life(timedelta(), short=bool(away.ends))
        if away.left is not None and away.left.expires_at <= self.now + self._life(timedelta(), short=False):
            until = max(until, away.left.expires_at)
            self.places.take(away.left)
            self.changed.add(away.left.pool_id)
        request = request._replace(machine_id=away.machine_id)
        return self._start(request, candidate, min(until, candidate.ends_at), seats=0)

    def _start(self, request: Acquire, candidate: Candidate, expires_at: datetime, *, seats: int) -> Grant:
        pool = self.pools[candidate.pool_id]
        row = LeaseRow(
            pk=new_id(self.now),
            pool_id=candidate.pool_id,
            organization_id=candidate.organization_id,
            api_key_id=request.holder.key_id,
            product=request.product,
            holder=request.holder.name,
            email=request.holder.email,
            machine_id=request.machine_id,
            seats=seats,
            expires_at=expires_at,
            ended_at=None,
            ending="",
            idempotency=request.idempotency,
            request_sha256=request.fingerprint,
            organization_name=candidate.organization_name,
            subscription_ends_at=candidate.ends_at,
            started_at=self.now,
            pool_quota=pool.quota,
            pool_used=pool.used,
            pool_lingering=pool.lingering,
        )
        self.unsaved.append(row)
        self.by_key[request.idempotency] = row
        if seats:
            self.changed.add(candidate.pool_id)
        told: dict[str, object] = {"expires_at": format_instant(expires_at)}
        if pool.used + pool.lingering > pool.quota:
            told["overlap"] = pool.used + pool.lingering - pool.quota
        self._tell("session.started", row, told)
        return self._grant(row, request.nonce, expires_at, created=True)

    def _grant_again(self, lease: LeaseRow, nonce: str, *, short: bool = False) -> Grant:
        """Return a new lease for a session that exists: like a renewal."""
        self._flush()
        rows, held = lease_rows.lock_rows({lease.pk})
        if held:
            raise HeldError(held)
        [row] = rows
        expires_at = self._renewed_until(row, short=short or self._is_pressed(row))
        lease_rows.extend({row.pk}, self.now, expires_at)
        told = {"sessions": [str(row.pk)]}
        self.events.append(log.NewEvent("session.renewed", "1 sessions", told, row.organization_id))
        return self._grant(row, nonce, expires_at)

    # Renewing --------------------------------------------------------------------------------------------------------

    def _renew(self, renewals: Sequence[tuple[int, Renew]]) -> dict[int, Outcome]:
        rows, held = lease_rows.lock_rows({request.session_id for _, request in renewals})
        found = {row.pk: row for row in rows}
        outcomes: dict[int, Outcome] = {}
        until: dict[datetime, set[UUID]] = defaultdict(set)
        away = named.away(found.values(), self.policy, self.now)
        for index, request in renewals:
            if request.session_id in held:
                outcomes[index] = Later(frozenset({request.session_id}))
                continue
            try:
                row = _renewable(found.get(request.session_id), request)
                short = (row.pool_id, row.holder) in away if row.seats == 0 else self._is_pressed(row)
                expires_at = self._renewed_until(row, short=short)
            except KeyseatError as refusal:
                outcomes[index] = refusal
                continue
            until[expires_at].add(row.pk)
            outcomes[index] = self._grant(row, request.nonce, expires_at)
        for expires_at, ids in until.items():
            # The rows are locked on PostgreSQL and the whole file is on SQLite, so they are still as they were read.
            lease_rows.extend(ids, self.now, expires_at)
        renewed = sorted(str(pk) for ids in until.values() for pk in ids)
        if renewed:
            self.events.append(log.NewEvent("session.renewed", f"{len(renewed)} sessions", {"sessions": renewed}))
        return outcomes

    def _is_pressed(self, row: LeaseRow) -> bool:
        return row.seats > 0 and overlap.is_pressed(row.pool_quota, row.pool_used, row.pool_lingering)

    def _life(self, age: timedelta, *, short: bool) -> timedelta:
        return overlap.short_life(self.policy, age) if short else timedelta(seconds=self.policy.lease_ttl)

    def _renewed_until(self, row: LeaseRow, *, short: bool) -> datetime:
        """Return the end of a new lease for a session; a ``short`` one is no longer than the session has lived.

        Raises:
            KeyseatError: ``LEASE_ENDED`` where the session is over.
        """
        if row.ended_at is not None or row.expires_at <= self.now:
            ending = row.ending or SessionEnding.EXPIRED
            ended_at = row.ended_at or row.expires_at
            if ending == SessionEnding.EXPIRED and row.subscription_ends_at <= ended_at:
                ending = SessionEnding.SUBSCRIPTION_ENDED
            raise lease_ended(ending, ended_at)
        # Never earlier than before: the client holds a signed lease until then, so its seat must stay taken. Where the
        # vendor has made leases shorter since, a client counts it for less, and knows by it when the seat comes back.
        until = self.now + self._life(self.now - row.started_at, short=short)
        return max(row.expires_at, min(until, row.subscription_ends_at))

    def _grant(self, row: LeaseRow, nonce: str, until: datetime, *, created: bool = False) -> Grant:
        # A lease cut short by the subscription's end is renewed at the same share of its time.
        share = self.policy.lease_renew_after / self.policy.lease_ttl
        renew_after = self.now + timedelta(seconds=int((until - self.now).total_seconds() * share))
        renew_after, _ = rules.lease_bounds(self.now, renew_after, until, self.policy)
        return Grant(
            row.pk,
            row.product,
            row.organization_id,
            row.organization_name,
            row.email or None,
            row.machine_id,
            nonce,
            self.now,
            renew_after,
            until,
            created,
        )

    # Storing ---------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        if self.unsaved:
            lease_rows.store(self.unsaved, self.now)
            self.unsaved = []

    def _tell(self, action: str, row: EndingRow | LeaseRow, details: dict[str, object]) -> None:
        self.events.append(
            log.NewEvent(
                action,
                str(row.pk),
                {"product": row.product, "holder": row.holder, **details},
                row.organization_id,
                row.holder,
            )
        )


def _renewable(row: LeaseRow | None, request: Renew) -> LeaseRow:
    if row is None or not _owns(request.holder, row):
        raise _no_session()
    if not named.same_machine(row.machine_id, request.machine_id):
        raise KeyseatError(
            ReasonCode.MACHINE_MISMATCH,
            "the session belongs to another machine",
            next_step="Acquire a session on this machine.",
        )
    return row


def _owns(holder: Holder, row: EndingRow | LeaseRow) -> bool:
    """A user owns the user's sessions; an API key those of every key of its organisation, so that keys can rotate."""
    if holder.key_id is None:
        return row.email == holder.email
    return row.api_key_id is not None and row.organization_id == holder.organization_id


def _no_session() -> KeyseatError:
    # The same answer for somebody else's session: its existence is nobody else's business.
    return KeyseatError(ReasonCode.NOT_FOUND, "there is no such session", next_step="Acquire a session.")
