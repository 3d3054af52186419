"""Seat accounting against a plain model: any acts in any order, time going on in steps, on both databases.

After every act each pool must count what the model holds; at the end of each story the audit log must agree as well.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import TypeVar
from uuid import UUID

from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

import shop
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.customers import api_keys, members
from keyseat_issuer.ledger.models import Allocation, AllocationKind, Lease, OfflineLicense, Pool, Role, Term
from keyseat_issuer.ledger.offline import licenses
from keyseat_issuer.ledger.offline.rules import OfflineRequest
from keyseat_issuer.ledger.offline.values import Terms
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.seats import renewals, seats
from keyseat_issuer.ledger.sessions import admin
from keyseat_issuer.ledger.sessions import turn as leases
from keyseat_issuer.ledger.sessions.values import Acquire, Ended, Grant, Holder, Outcome, Release, Renew, Request
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from offline_shop import ENDLESS, VendorSigner, numbered_machine
from seat_model import FLOATING, NAMED, Model, ModelPool, Offline, Session

T = TypeVar("T")

USERS = st.sampled_from(["ada", "bob", "eve"])
PRODUCTS = st.sampled_from([NAMED, FLOATING])
MACHINES = st.sampled_from([numbered_machine(number) for number in range(5)])
DAYS = st.sampled_from([1, 20, 200])
DAY = timedelta(days=1)
LEASE = timedelta(seconds=ENDLESS.policy.lease_ttl)
SHORTEST = LEASE / 30
TRUST = ENDLESS.bundle_with(
    ENDLESS.trusted(ENDLESS.key, valid_until=datetime(9000, 1, 1, tzinfo=UTC)),
)


class SeatAccounting(RuleBasedStateMachine):
    """One organisation's story; all stories of a test are in one ledger, whose time only moves forward."""

    clock: datetime
    stories: Iterator[int]

    @initialize(overlap=st.sampled_from([100, 50, 0]), takeovers=st.sampled_from([10, 1]))
    def begin(self, overlap: int, takeovers: int) -> None:
        """Found an organisation with three members, under a policy that is more or less strict."""
        # Always at the same place within leap years: a story that is told again has the same dates.
        years = 4 * ((self.now.year - shop.NOW.year) // 4 + 1)
        type(self).clock = shop.NOW.replace(year=shop.NOW.year + years)
        self.story = next(type(self).stories)
        self.customer = shop.organization(f"Customer {self.story}", now=self.tick())
        self.policy = ENDLESS.policy._replace(lease_overlap=overlap, lease_takeovers=takeovers)
        self.model = Model(set(), overlap, takeovers)
        self.signed: list[tuple[UUID, str, datetime]] = []  # pool, machine, end: of every lease there ever was
        self.lingered: set[UUID] = set()
        self.requests: list[Acquire] = []
        self.answers: dict[str, UUID] = {}
        self.opened: dict[UUID, Session] = {}
        for name in ("ada", "bob", "eve"):
            self.join(name)
        made = api_keys.create_key(
            self.customer, ["sessions"], name="CI", expires_at=None, actor=shop.ACTOR, now=self.now
        ).row
        self.key = Holder(f"key:{made.prefix}", key_id=made.pk, organization_id=self.customer.pk)
        self.subscribe(Term.ANNUAL, 2)

    # Time and customers ----------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The present."""
        return type(self).clock

    def tick(self, step: timedelta = timedelta(seconds=1)) -> datetime:
        """Let time go on: every act happens at an instant of its own."""
        type(self).clock += step
        return self.now

    def address(self, name: str) -> str:
        """Return a user's address; each story has its own people."""
        return f"{name}{self.story}@example.com"

    @rule(
        step=st.sampled_from(
            [timedelta(minutes=3), timedelta(minutes=20), LEASE, timedelta(days=2), timedelta(days=60)]
        )
    )
    def wait(self, step: timedelta) -> None:
        """Let time pass, perhaps past the end of leases, licences and subscriptions."""
        self.tick(step)

    @rule(term=st.sampled_from([Term.ANNUAL, Term.MONTHLY]), quota=st.integers(1, 3))
    def subscribe(self, term: Term, quota: int) -> None:
        """Buy seats of both products, from today on."""
        if len(self.model.pools) >= 6:
            return
        starts = self.tick().replace(hour=0, minute=0, second=0, microsecond=0)
        ends = starts + timedelta(days=30)
        if term is Term.ANNUAL:
            ends = starts.replace(day=min(starts.day, 28), year=starts.year + 1)
            starts = starts.replace(day=min(starts.day, 28))
        else:
            starts = starts.replace(day=1)
            ends = (starts + timedelta(days=32)).replace(day=1)
        made = shop.subscribe(
            self.customer, {NAMED: quota, FLOATING: quota}, term=term, starts_at=starts, ends_at=ends, now=self.now
        )
        for product, pool in made.items():
            self.model.pools[pool.pk] = ModelPool(product, quota, ends, term is Term.ANNUAL)

    @rule(name=USERS)
    def join(self, name: str) -> None:
        """Add a member, perhaps one who was removed."""
        email = self.address(name)
        if email not in self.model.members:
            members.add_members(self.customer, [email], Role.MEMBER, actor=shop.ACTOR, now=self.tick())
            self.model.members.add(email)

    @rule(name=USERS)
    def leave(self, name: str) -> None:
        """Remove a member."""
        email = self.address(name)
        expected = None if email in self.model.members else ReasonCode.NOT_A_MEMBER
        now = self.tick()
        self.act(expected, lambda: members.remove_member(self.customer, email, actor=shop.ACTOR, now=now))
        if expected is None:
            self.model.remove(email, self.now)

    # Named seats -----------------------------------------------------------------------------------------------------

    @rule(product=PRODUCTS, names=st.lists(USERS, min_size=1, max_size=3, unique=True))
    def assign(self, product: str, names: list[str]) -> None:
        """Assign seats, all or none."""
        emails = [self.address(name) for name in names]
        now = self.tick()
        expected = self.model.assigning(product, emails, now)
        self.act(expected, lambda: shop.assign(self.customer, product, *emails, now=now))
        if expected is None:
            self.adopt_assignments(product, emails)

    @rule(product=PRODUCTS, names=st.lists(USERS, min_size=1, max_size=2, unique=True))
    def unassign(self, product: str, names: list[str]) -> None:
        """Take seats back, all or none."""
        emails = [self.address(name) for name in names]
        now = self.tick()
        expected = self.model.unassigning(product, emails, now)
        self.act(expected, lambda: seats.unassign(self.customer, product, emails, actor=shop.ACTOR, now=now))
        if expected is None:
            for email in emails:
                self.model.unassign(product, email, self.now)

    @rule(product=PRODUCTS, giver=USERS, receiver=USERS)
    def transfer(self, product: str, giver: str, receiver: str) -> None:
        """Move a seat from one user to another."""
        from_email, to_email = self.address(giver), self.address(receiver)
        now = self.tick()
        expected = self.transferring(product, from_email, to_email)
        self.act(
            expected,
            lambda: seats.transfer(self.customer, product, from_email, to_email, actor=shop.ACTOR, now=now),
        )
        if expected is None:
            pool_id = self.model.unassign(product, from_email, self.now)
            self.model.pools[pool_id].assigned.add(to_email)
            if product == NAMED:
                self.model.decided[to_email] = now

    def transferring(self, product: str, giver: str, receiver: str) -> ReasonCode | None:
        """Tell what a transfer must answer."""
        model, active = self.model, self.model.active(product, self.now)
        if receiver not in model.members:
            return ReasonCode.NOT_A_MEMBER
        refused = model.unassigning(product, [giver], self.now)
        if refused is not None:
            return refused
        if not active:
            return ReasonCode.SUBSCRIPTION_ENDED
        held = set(model.holding(product, receiver))
        moved = model.holding(product, giver)[-1]
        return ReasonCode.ALREADY_EXISTS if held & {*active, moved} else None

    @rule(product=PRODUCTS)
    def carry_over(self, product: str) -> None:
        """Let the seats of ended subscriptions go on in a running one, all or none."""
        now = self.tick()
        active = self.model.active(product, now)
        ended = [pool for pk, pool in self.model.pools.items() if pool.product == product and pk not in active]
        left = {email for pool in ended for email in pool.assigned}
        new = {email for email in left if not set(self.model.holding(product, email)) & set(active)}
        expected = None if active else ReasonCode.SUBSCRIPTION_ENDED
        if active and len(new) > sum(self.model.room(pk, self.now) for pk in active):
            expected = ReasonCode.QUOTA_EXCEEDED
        self.act(
            expected,
            lambda: renewals.carry_over(self.customer, product, policy=ENDLESS.policy, actor=shop.ACTOR, now=now),
        )
        if expected is None:
            for pool in ended:
                pool.assigned.clear()
            self.adopt_assignments(product, sorted(new))

    def adopt_assignments(self, product: str, emails: Sequence[str]) -> None:
        """Read where the ledger has assigned seats just now, which the model must find room for."""
        active = self.model.active(product, self.now)
        for email in emails:
            if set(self.model.holding(product, email)) & set(active):
                continue
            made = Allocation.objects.get(
                pool__in=active, holder=email, kind=AllocationKind.NAMED, released_at__isnull=True
            )
            self.model.assign(made.pool_id, email, self.now)

    # Offline licences ------------------------------------------------------------------------------------------------

    @rule(product=PRODUCTS, name=USERS, machine=MACHINES, sessions=st.integers(1, 2), days=st.none() | DAYS)
    def issue(self, product: str, name: str, machine: str, sessions: int, days: int | None) -> None:
        """Turn a seat into an offline licence."""
        now = self.tick()
        until = None if days is None else now + timedelta(days=days)
        email, taken = (self.address(name), 1) if product == NAMED else (None, sessions)
        seat = Offline(email, machine, taken, now)
        expected, fitting = self.model.issuing(product, seat, now, until=until)
        request = OfflineRequest(
            self.customer.name, product, machine_id=machine, user=seat.email, sessions=seat.seats, expires_at=until
        )
        made = self.act(expected, lambda: licenses.issue(request, Terms(TRUST, shop.ACTOR, now, VendorSigner(ENDLESS))))
        if made is None:
            return
        pool_id = OfflineLicense.objects.get(pk=made.license_id).pool_id
        assert pool_id in fitting
        self.model.issue(pool_id, seat._replace(expires_at=made.expires_at), now)

    # Sessions --------------------------------------------------------------------------------------------------------

    def holder(self, name: str) -> Holder:
        """Return who asks: a user, or the organisation's API key."""
        return self.key if name == "key" else Holder(self.address(name), email=self.address(name))

    def owner(self, session_id: UUID) -> Holder:
        """Return whose a session is or was."""
        name = self.opened[session_id].holder
        return self.key if name == self.key.name else Holder(name, email=name)

    @rule(
        asked=st.lists(
            st.tuples(PRODUCTS, st.sampled_from(["ada", "bob", "key"]), MACHINES, st.booleans()), max_size=3
        ),
        again=st.lists(st.integers(0, 50), max_size=1),
        renewed=st.lists(st.integers(0, 50), max_size=2),
        released=st.lists(st.integers(0, 50), max_size=2),
        order=st.randoms(use_true_random=False),
    )
    def turn(
        self,
        asked: list[tuple[str, str, str, bool]],
        again: list[int],
        renewed: list[int],
        released: list[int],
        order: Random,
    ) -> None:
        """Send a turn of the session desk: releases count first, then acquisitions in their order, then renewals."""
        known = list(self.opened)
        requests: list[Request] = [self.requests[place % len(self.requests)] for place in again if self.requests]
        requests += [self.ask(*each) for each in asked]
        if known:
            sessions = [known[place % len(known)] for place in renewed]
            requests += [Renew(self.owner(pk), pk, self.opened[pk].machine, "nonce") for pk in sessions]
            requests += [Release(self.owner(pk), pk) for pk in [known[place % len(known)] for place in released]]
        order.shuffle(requests)
        now = self.tick()
        with transaction.atomic(durable=True):
            answered = list(zip(requests, leases.process(requests, self.policy, now), strict=True))
        released_now = {request.session_id for request, _ in answered if isinstance(request, Release)}
        live = set(self.model.running(now))
        self.model.end(released_now, now)
        for request, outcome in answered:
            if isinstance(request, Release):
                assert Ended(int(request.session_id in live)) == outcome
            elif isinstance(request, Acquire):
                self.check_acquired(request, outcome)
        for request, outcome in answered:
            if isinstance(request, Renew):
                self.check_lease(request.session_id, outcome)
        for _, outcome in answered:
            if isinstance(outcome, Grant):
                pool_id = Lease.objects.get(pk=outcome.session_id).pool_id
                self.signed.append((pool_id, outcome.machine_id, outcome.expires_at))

    def ask(self, product: str, name: str, machine: str, release_previous: bool) -> Acquire:  # noqa: FBT001 - drawn
        """Return a new request for a session."""
        holder = self.key if name == "key" else Holder(self.address(name), email=self.address(name))
        number = f"{self.story}-{len(self.requests)}"
        made = Acquire(holder, product, machine, "nonce", number, number, self.customer.pk, release_previous)
        self.requests.append(made)
        return made

    def check_acquired(self, request: Acquire, outcome: Outcome) -> None:
        """Check the answer to a request for a session, new or repeated, and keep what it took."""
        model, now = self.model, self.now
        if request.idempotency in self.answers:
            if request.holder.email and request.holder.email not in model.members:
                # Before anything is looked up: whoever was removed is not told what became of the session.
                assert getattr(outcome, "code", None) == ReasonCode.NOT_A_MEMBER
                return
            self.check_lease(self.answers[request.idempotency], outcome)
            return
        if request.release_previous and request.product == FLOATING:
            model.end(self.previous(request), now)
        expected = model.acquiring(request.product, request.holder.email or None, request.machine_id, now)
        if expected is None and request.product == NAMED:
            if not set(model.holding(NAMED, request.holder.email)) & set(model.active(NAMED, now)):
                self.adopt_assignments(NAMED, [request.holder.email])
            running = model.running(now, NAMED, request.holder.name)
            here = [pk for pk in running if model.sessions[pk].machine == request.machine_id]
            if here:
                assert here == [getattr(outcome, "session_id", None)]
                self.answers[request.idempotency] = here[0]
                self.check_lease(here[0], outcome)
                return
            expected = model.taking_over(request.holder.email, request.machine_id, now)
        assert expected == getattr(outcome, "code", None)
        if not isinstance(outcome, Grant):
            return
        self.answers[request.idempotency] = outcome.session_id
        self.begun(request, outcome)

    def begun(self, request: Acquire, outcome: Grant) -> None:
        """Keep a session that began, for which there must have been room."""
        model, now = self.model, self.now
        row = Lease.objects.get(pk=outcome.session_id)
        pool = model.pools[row.pool_id]
        assert (request.product, True) == (pool.product, now < pool.ends_at)
        if request.product == NAMED:
            assert model.home(request.holder.email, now) == row.pool_id
            running = model.running(now, NAMED, request.holder.name)
            model.moved += [(model.sessions[pk].pool, request.holder.name, now) for pk in running]
            model.end(running, now)
        else:
            assert model.fits(row.pool_id, request.machine_id, now)
        taken = 1 if request.product == FLOATING else 0
        self.check_length(row.pool_id, now, outcome.expires_at)
        model.take_place(row.pool_id, request.holder.name, request.machine_id, now)
        until = outcome.expires_at
        opened = Session(row.pool_id, request.holder.name, request.product, request.machine_id, taken, until)
        self.opened[outcome.session_id] = model.sessions[outcome.session_id] = opened

    def check_length(self, pool_id: UUID, before: datetime, until: datetime) -> None:
        """Check that a lease ends when it should: it is a short one only where leases were kept aside."""
        ends = self.model.pools[pool_id].ends_at
        full = max(before, min(self.now + LEASE, ends))
        assert max(before, min(self.now + SHORTEST, ends)) <= until <= full
        if self.model.kept and any(kept.pool == pool_id for kept in self.model.kept):
            self.lingered.add(pool_id)
        if pool_id not in self.lingered:
            assert full == until

    def previous(self, request: Acquire) -> list[UUID]:
        """Return the sessions that a request gives up first, where it gets as far as that."""
        model, now, email = self.model, self.now, request.holder.email
        active = set(model.active(FLOATING, now))
        if not active or (email and not (email in model.members and set(model.holding(FLOATING, email)) & active)):
            return []
        running = model.running(now, FLOATING, request.holder.name)
        return [pk for pk in running if model.sessions[pk].machine == request.machine_id]

    def check_lease(self, session_id: UUID, outcome: Outcome) -> None:
        """Check a new lease for a session that exists, or that it is refused because the session is over."""
        if session_id not in self.model.running(self.now):
            assert getattr(outcome, "code", None) == ReasonCode.LEASE_ENDED
            return
        assert isinstance(outcome, Grant)
        session = self.model.sessions[session_id]
        assert session_id == outcome.session_id
        self.check_length(session.pool, session.expires_at, outcome.expires_at)
        session.expires_at = outcome.expires_at

    @rule(places=st.lists(st.integers(0, 50), min_size=1, max_size=2))
    def force_release(self, places: list[int]) -> None:
        """End sessions as an administrator does."""
        known = list(self.opened)
        if known:
            wanted = [known[place % len(known)] for place in places]
            now = self.tick()
            live = set(self.model.running(now)) & set(wanted)
            ended = admin.force_release(self.customer, wanted, actor=shop.ACTOR, now=now)
            assert live == {row.pk for row in ended}
            self.model.end(wanted, now)

    # What holds always -----------------------------------------------------------------------------------------------

    def act(self, expected: ReasonCode | None, do: Callable[[], T]) -> T | None:
        """Do something that must be done, or refused with this code."""
        refused: KeyseatError | None = None
        done: T | None = None
        try:
            done = do()
        except KeyseatError as error:
            refused = error
        assert expected == (None if refused is None else refused.code), refused
        return done

    @invariant()
    def each_pool_counts_what_is_held(self) -> None:
        """Compare the figures that people see with the model's."""
        now = self.now
        for pool in Pool.objects.filter(subscription__organization=self.customer):
            held = self.model.pools[pool.pk]
            figures = pools.availability(pool, now)
            assert self.model.used(pool.pk, now) == figures.used <= held.quota
            assert (len(held.assigned) if held.product == FLOATING else 0) == figures.assigned
            assert sum(bound.seats for bound in held.offline if now < bound.expires_at) == figures.offline
            assert len(self.model.lingering(pool.pk, now)) == figures.lingering

    @invariant()
    def no_more_leases_are_in_the_world_than_the_quota_and_the_overlap(self) -> None:
        """Count what somebody who keeps every lease file has: on how many machines, and of how many sessions."""
        now = self.now
        for pool_id in self.model.pools:
            live = sum(session.pool == pool_id and now < session.expires_at for session in self.model.sessions.values())
            machines = {machine for pool, machine, until in self.signed if pool == pool_id and now < until}
            most = self.model.most(pool_id)
            assert live + len(self.model.lingering(pool_id, now)) <= most
            assert len(machines) <= most

    @invariant()
    def a_named_user_has_one_session_at_most(self) -> None:
        """Count the live sessions of each user of the named product."""
        running = Lease.objects.filter(
            organization=self.customer, product=NAMED, ended_at__isnull=True, expires_at__gt=self.now
        )
        holders = list(running.values_list("holder", flat=True))
        assert len(holders) == len(set(holders))

    def teardown(self) -> None:
        """Let the audit log and the counters be checked as `keyseat-issuer audit verify` does."""
        assert verify().findings == ()


def test_any_story_of_seats_ends_as_the_model_says(ledger: Ledger) -> None:
    class Here(SeatAccounting):
        clock = shop.NOW
        stories = count(1)

    run_state_machine_as_test(  # type: ignore[no-untyped-call] # Hypothesis gives it no types
        Here,
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
