"""Leases kept aside: whoever gives a session back and keeps its lease does not multiply the seats."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count

import pytest
from django.db import transaction

import shop
from activation import make_key
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.customers import members
from keyseat_issuer.ledger.models import ApiKey, AuditEvent, Lease, Organization, Pool
from keyseat_issuer.ledger.offline import licenses
from keyseat_issuer.ledger.offline.rules import OfflineRequest
from keyseat_issuer.ledger.offline.values import Terms
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.seats import seats
from keyseat_issuer.ledger.sessions import admin
from keyseat_issuer.ledger.sessions import turn as leases
from keyseat_issuer.ledger.sessions.values import (
    Acquire,
    Ended,
    Grant,
    Holder,
    Outcome,
    Release,
    ReleasePrevious,
    Renew,
    Request,
)
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.evidence import Verdict
from keyseat_shared.instants import format_instant
from keyseat_shared.machine_id import MachineID
from keyseat_shared.matching import match
from keyseat_shared.policy import default_policy
from offline_shop import ENDLESS, VendorSigner, numbered_machine

MACHINES = [numbered_machine(number) for number in range(12)]
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SHORTEST = 2 * MINUTE


class Desk:
    """One turn for each request, at a time of its own, under a policy."""

    def __init__(self, customer: Organization) -> None:
        """Begin at the opening of the shop, with the default policy."""
        self.customer = customer
        self.now = shop.NOW
        self.policy = default_policy()
        self._names = count()
        make_key(customer)
        row = ApiKey.objects.get()
        self.key = Holder(f"key:{row.prefix}", key_id=row.pk, organization_id=customer.pk)

    def turn(self, *requests: Request) -> list[Outcome]:
        """Answer requests together."""
        with transaction.atomic(durable=True):
            return leases.process(requests, self.policy, self.now)

    def asked(self, machine: str, email: str = "") -> Acquire:
        """Return a new request for a session."""
        name = f"{next(self._names):064d}"
        holder, product = (Holder(email, email=email), "KSE") if email else (self.key, "KRE")
        return Acquire(holder, product, machine, "n" * 22, name, name, self.customer.pk)

    def acquire(self, machine: str, email: str = "") -> Grant:
        """Ask for a session, which is given."""
        [outcome] = self.turn(self.asked(machine, email))
        assert isinstance(outcome, Grant), outcome
        return outcome

    def refused(self, machine: str, email: str = "") -> KeyseatError:
        """Ask for a session, which is refused."""
        [outcome] = self.turn(self.asked(machine, email))
        assert isinstance(outcome, KeyseatError), outcome
        return outcome

    def release(self, grant: Grant, email: str = "") -> None:
        """Give a session back."""
        holder = Holder(email, email=email) if email else self.key
        assert [Ended(1)] == self.turn(Release(holder, grant.session_id))

    def renew(self, grant: Grant, email: str = "") -> Grant:
        """Ask for a new lease."""
        holder = Holder(email, email=email) if email else self.key
        [outcome] = self.turn(Renew(holder, grant.session_id, grant.machine_id, "n" * 22))
        assert isinstance(outcome, Grant), outcome
        return outcome


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    customer = shop.organization("Example Organisation", "ada@example.com", "bob@example.com", "eve@example.com")
    return Desk(customer)


def sell(desk: Desk, product: str, quota: int, *users: str) -> Pool:
    """Sell seats, and assign some."""
    pool = shop.subscribe(desk.customer, {product: quota})[product]
    for user in users:
        shop.assign(desk.customer, product, user)
    return pool


def in_the_world(now: datetime) -> set[str]:
    """Return the machines on which a lease has not ended, whatever became of its session."""
    return set(Lease.objects.filter(expires_at__gt=now).values_list("machine_id", flat=True))


class TestSeatsOfAFloatingProduct:
    def test_do_not_multiply_by_releasing_and_keeping_the_lease(self, desk: Desk) -> None:
        sell(desk, "KRE", 1)
        first = desk.acquire(MACHINES[0])
        desk.release(first)
        second = desk.acquire(MACHINES[1])
        desk.release(second)

        refusals = [desk.refused(machine) for machine in MACHINES[2:]]

        assert {ReasonCode.QUOTA_EXCEEDED} == {refusal.code for refusal in refusals}
        assert set(MACHINES[:2]) == in_the_world(desk.now)
        until = format_instant(min(first.expires_at, second.expires_at))
        details = {"product": "KRE", "quota": 1, "used": 0, "overlap": 1, "lingering": 2}
        assert details | {"free_at": until, "next_free_at": until} == refusals[0].details
        assert until in refusals[0].message
        assert until in refusals[0].next_step
        assert () == verify().findings

    def test_come_back_at_the_instant_that_was_told(self, desk: Desk) -> None:
        sell(desk, "KRE", 1)
        for machine in MACHINES[:2]:
            desk.release(desk.acquire(machine))
        told = desk.refused(MACHINES[2]).details["free_at"]

        free_at = desk.now + SHORTEST
        desk.now = free_at - timedelta(seconds=1)
        desk.refused(MACHINES[2])
        desk.now = free_at
        desk.acquire(MACHINES[2])

        assert format_instant(free_at) == told
        assert (1, 1) == Pool.objects.values_list("used", "lingering").get()
        assert () == verify().findings

    def test_are_given_again_and_again_on_the_same_machine_under_the_strictest_policy(self, desk: Desk) -> None:
        sell(desk, "KRE", 1)
        desk.policy = desk.policy._replace(lease_overlap=0)
        for _ in range(50):
            desk.release(desk.acquire(MACHINES[0]))
            desk.now += MINUTE

        assert desk.now + HOUR - MINUTE == Lease.objects.latest("started_at").expires_at
        assert {MACHINES[0]} == in_the_world(desk.now)
        assert 1 == Pool.objects.get().lingering
        assert () == verify().findings

    def test_wait_for_the_end_of_a_lease_elsewhere_under_the_strictest_policy(self, desk: Desk) -> None:
        sell(desk, "KRE", 1)
        desk.policy = desk.policy._replace(lease_overlap=0)
        kept = desk.acquire(MACHINES[0])
        desk.release(kept)

        assert format_instant(kept.expires_at) == desk.refused(MACHINES[1]).details["free_at"]
        desk.now = kept.expires_at
        desk.acquire(MACHINES[1])

    def test_of_which_one_is_given_back_and_taken_on_the_same_machine_in_one_turn(self, desk: Desk) -> None:
        sell(desk, "KRE", 1)
        desk.policy = desk.policy._replace(lease_overlap=0)
        held = desk.acquire(MACHINES[0])

        outcomes = desk.turn(desk.asked(MACHINES[1]), desk.asked(MACHINES[0]), Release(desk.key, held.session_id))

        assert [ReasonCode.QUOTA_EXCEEDED, None, None] == [getattr(outcome, "code", None) for outcome in outcomes]
        assert (1, 0) == Pool.objects.values_list("used", "lingering").get()
        assert () == verify().findings

    @pytest.mark.parametrize("how", ["forced", "previous"])
    def test_ended_otherwise_count_as_well(self, desk: Desk, how: str) -> None:
        sell(desk, "KRE", 1)
        desk.policy = desk.policy._replace(lease_overlap=0)
        held = desk.acquire(MACHINES[0])
        if how == "forced":
            admin.force_release(desk.customer, [held.session_id], actor=shop.ACTOR, now=desk.now)
        else:
            assert [Ended(1)] == desk.turn(ReleasePrevious(desk.key, "KRE", MACHINES[0]))

        assert ReasonCode.QUOTA_EXCEEDED == desk.refused(MACHINES[1]).code
        assert 1 == Pool.objects.get().lingering
        assert () == verify().findings

    def test_whose_lease_ran_out_do_not_count(self, desk: Desk) -> None:
        sell(desk, "KRE", 1)
        desk.policy = desk.policy._replace(lease_overlap=0)
        held = desk.acquire(MACHINES[0])
        desk.now = held.expires_at

        assert [Ended(0)] == desk.turn(Release(desk.key, held.session_id))
        desk.acquire(MACHINES[1])
        assert (1, 0) == Pool.objects.values_list("used", "lingering").get()

    def test_are_taken_where_the_machine_has_been_before(self, desk: Desk) -> None:
        sell(desk, "KRE", 1)
        sell(desk, "KRE", 1)
        first, second = desk.acquire(MACHINES[0]), desk.acquire(MACHINES[1])
        desk.release(first)
        desk.release(second)

        desk.acquire(MACHINES[1])
        desk.acquire(MACHINES[0])

        assert [0, 0] == list(Pool.objects.values_list("lingering", flat=True))

    def test_within_the_quota_are_nobodys_business(self, desk: Desk) -> None:
        sell(desk, "KRE", 100)
        for machine in MACHINES[:10]:
            grant = desk.acquire(machine)
            assert desk.now + HOUR == grant.expires_at
            desk.release(grant)


class TestLeases:
    def test_are_short_at_first_where_others_linger_and_grow_with_their_session(self, desk: Desk) -> None:
        sell(desk, "KRE", 2)
        desk.release(desk.acquire(MACHINES[0]))

        grant = desk.acquire(MACHINES[1])
        assert desk.now + SHORTEST == grant.expires_at
        ages = {}
        while desk.now < shop.NOW + 2 * HOUR:
            desk.now = grant.renew_after
            grant = desk.renew(grant)
            ages[desk.now - shop.NOW] = grant.expires_at - desk.now
            if desk.now < shop.NOW + HOUR - MINUTE:
                assert max(SHORTEST, desk.now - shop.NOW) == grant.expires_at - desk.now

        assert HOUR == max(ages.values()) == ages[max(ages)]

    def test_on_a_machine_that_has_a_longer_one_anyway_are_as_long(self, desk: Desk) -> None:
        sell(desk, "KRE", 2)
        first, second = desk.acquire(MACHINES[0]), desk.acquire(MACHINES[1])
        desk.release(first)
        desk.release(second)
        desk.now += MINUTE

        assert first.expires_at == desk.acquire(MACHINES[0]).expires_at

    def test_are_as_long_as_ever_in_a_full_pool_in_which_none_lingers(self, desk: Desk) -> None:
        sell(desk, "KRE", 2)
        grants = [desk.acquire(machine) for machine in MACHINES[:2]]
        desk.now += 20 * MINUTE

        assert {desk.now + HOUR} == {desk.renew(grant).expires_at for grant in grants}

    def test_are_long_again_when_those_that_lingered_have_ended(self, desk: Desk) -> None:
        sell(desk, "KRE", 2)
        desk.release(desk.acquire(MACHINES[0]))
        desk.now += HOUR

        assert desk.now + HOUR == desk.acquire(MACHINES[1]).expires_at
        assert 0 == Pool.objects.get().lingering

    def test_are_never_longer_than_the_policys(self, desk: Desk) -> None:
        sell(desk, "KRE", 2)
        desk.policy = desk.policy._replace(lease_ttl=40, lease_renew_after=10)
        desk.release(desk.acquire(MACHINES[0]))

        assert timedelta(seconds=40) == desk.acquire(MACHINES[1]).expires_at - desk.now

    def test_of_a_policy_with_longer_ones_count_although_a_new_one_may_not_be_as_long(self, desk: Desk) -> None:
        sell(desk, "KRE", 1)
        kept = desk.acquire(MACHINES[0])
        desk.release(kept)
        desk.policy = desk.policy._replace(lease_ttl=600, lease_renew_after=200, lease_overlap=0)

        assert ReasonCode.QUOTA_EXCEEDED == desk.refused(MACHINES[0]).code
        desk.now = kept.expires_at - timedelta(seconds=600)
        assert kept.expires_at == desk.acquire(MACHINES[0]).expires_at


class TestTheSeatOfAUser:
    def test_is_on_two_machines_at_most(self, desk: Desk) -> None:
        sell(desk, "KSE", 5, "ada@example.com")
        first, second = (desk.acquire(machine, "ada@example.com") for machine in MACHINES[:2])

        refusals = [desk.refused(machine, "ada@example.com") for machine in MACHINES[2:]]

        assert {ReasonCode.QUOTA_EXCEEDED} == {refusal.code for refusal in refusals}
        until = format_instant(min(first.expires_at, second.expires_at))
        assert {"product": "KSE", "overlap": 1, "lingering": 1, "free_at": until, "next_free_at": until} == refusals[
            0
        ].details
        assert set(MACHINES[:2]) == in_the_world(desk.now)
        # The session on the second machine goes on: whoever is refused takes nothing.
        desk.renew(second, "ada@example.com")
        assert () == verify().findings

    def test_goes_to_and_fro_between_two_machines(self, desk: Desk) -> None:
        sell(desk, "KSE", 1, "ada@example.com")
        for number in range(9):
            desk.acquire(MACHINES[number % 2], "ada@example.com")
            desk.now += MINUTE

            assert in_the_world(desk.now) <= set(MACHINES[:2])
        assert 1 == Pool.objects.get().lingering

    def test_is_taken_over_so_many_times_an_hour(self, desk: Desk) -> None:
        sell(desk, "KSE", 1, "ada@example.com")
        desk.policy = desk.policy._replace(lease_takeovers=2)
        for number in range(3):
            desk.acquire(MACHINES[number % 2], "ada@example.com")
            desk.now += MINUTE

        refusal = desk.refused(MACHINES[1], "ada@example.com")

        free_at = shop.NOW + MINUTE + HOUR
        assert (ReasonCode.QUOTA_EXCEEDED, 2) == (refusal.code, refusal.details["takeovers"])
        assert format_instant(free_at) == refusal.details["free_at"]
        desk.now = free_at
        desk.acquire(MACHINES[1], "ada@example.com")

    def test_is_never_taken_over_where_the_policy_says_so(self, desk: Desk) -> None:
        sell(desk, "KSE", 1, "ada@example.com")
        desk.policy = desk.policy._replace(lease_takeovers=0)
        held = desk.acquire(MACHINES[0], "ada@example.com")

        assert (0, None) == tuple(
            desk.refused(MACHINES[1], "ada@example.com").details[name] for name in ("takeovers", "free_at")
        )
        desk.release(held, "ada@example.com")
        desk.acquire(MACHINES[1], "ada@example.com")

    def test_goes_on_where_it_was_under_the_strictest_policy_and_elsewhere_when_its_lease_has_ended(
        self, desk: Desk
    ) -> None:
        sell(desk, "KSE", 1, "ada@example.com")
        desk.policy = desk.policy._replace(lease_overlap=0)
        held = desk.acquire(MACHINES[0], "ada@example.com")
        desk.release(held, "ada@example.com")

        assert format_instant(held.expires_at) == desk.refused(MACHINES[1], "ada@example.com").details["free_at"]
        again = desk.acquire(MACHINES[0], "ada@example.com")
        assert held.expires_at == again.expires_at
        desk.release(again, "ada@example.com")
        desk.now = again.expires_at
        desk.acquire(MACHINES[1], "ada@example.com")
        assert () == verify().findings

    def test_is_short_on_the_second_machine_and_long_on_the_first(self, desk: Desk) -> None:
        sell(desk, "KSE", 1, "ada@example.com")
        assert desk.now + HOUR == desk.acquire(MACHINES[0], "ada@example.com").expires_at

        second = desk.acquire(MACHINES[1], "ada@example.com")
        assert desk.now + SHORTEST == second.expires_at
        desk.now = second.renew_after
        assert desk.now + SHORTEST == desk.renew(second, "ada@example.com").expires_at

    def test_is_as_long_as_ever_where_somebody_elses_lingers(self, desk: Desk) -> None:
        sell(desk, "KSE", 2, "ada@example.com", "bob@example.com")
        for machine in MACHINES[:2]:
            desk.acquire(machine, "ada@example.com")

        grant = desk.acquire(MACHINES[3], "bob@example.com")
        assert desk.now + HOUR == grant.expires_at
        desk.now += MINUTE
        assert desk.now + HOUR == desk.renew(grant, "bob@example.com").expires_at

    @pytest.mark.parametrize("overlap", [0, 100])
    def test_is_on_no_further_machine_by_an_id_made_of_two(self, desk: Desk, overlap: int) -> None:
        """An ID that holds all of one machine and most of another is like both: it gives a lease for the first only."""
        desk.policy = desk.policy._replace(lease_overlap=overlap)
        sell(desk, "KSE", 1, "ada@example.com")
        one = {"nic": ["a4bb6d0c0001"], "disk": ["S5H2NS0T000001"]}
        two = {"nic": ["a4bb6d0c0011", "a4bb6d0c0012"], "disk": ["S5H2NS0T000011", "S5H2NS0T000012"]}
        account = {"user-id": ["1000"], "user-name": ["ada"]}
        both = {kind: one[kind] + two[kind] for kind in one}
        first, second, like_both = [MachineID.from_values(found | account) for found in (one, two, both)]
        assert Verdict.SAME is match(first, like_both).verdict is match(like_both, second).verdict
        desk.release(desk.acquire(str(first), "ada@example.com"), "ada@example.com")

        again = desk.acquire(str(like_both), "ada@example.com")

        assert {str(first)} == in_the_world(desk.now)
        assert str(first) == again.machine_id
        assert Verdict.SAME is not match(MachineID.parse(again.machine_id), second).verdict

    def test_moved_from_user_to_user_waits_as_well(self, desk: Desk) -> None:
        sell(desk, "KSE", 1, "ada@example.com")
        users = ["ada@example.com", "bob@example.com", "eve@example.com"]
        desk.acquire(MACHINES[0], users[0])
        seats.transfer(desk.customer, "KSE", *users[:2], actor=shop.ACTOR, now=desk.now)
        desk.acquire(MACHINES[1], users[1])
        seats.transfer(desk.customer, "KSE", *users[1:], actor=shop.ACTOR, now=desk.now)

        refusal = desk.refused(MACHINES[2], users[2])

        assert (ReasonCode.QUOTA_EXCEEDED, 2) == (refusal.code, refusal.details["lingering"])
        desk.now += HOUR
        desk.acquire(MACHINES[2], users[2])
        assert () == verify().findings

    @pytest.mark.parametrize("act", ["unassign", "remove", "convert"])
    def test_taken_back_leaves_its_lease(self, desk: Desk, act: str) -> None:
        pool = sell(desk, "KSE", 1, "ada@example.com")
        desk.acquire(MACHINES[0], "ada@example.com")

        ACTS[act](desk)

        assert 1 == pools.availability(Pool.objects.get(pk=pool.pk), desk.now).lingering
        assert 0 == pools.availability(Pool.objects.get(pk=pool.pk), desk.now + HOUR).lingering
        assert () == verify().findings


def _convert(desk: Desk) -> None:
    request = OfflineRequest(desk.customer.name, "KSE", machine_id=MACHINES[0], user="ada@example.com")
    licenses.issue(request, Terms(ENDLESS.bundle, shop.ACTOR, desk.now, VendorSigner(ENDLESS)))


ACTS: dict[str, Callable[[Desk], object]] = {
    "unassign": lambda desk: seats.unassign(desk.customer, "KSE", ["ada@example.com"], actor=shop.ACTOR, now=desk.now),
    "remove": lambda desk: members.remove_member(desk.customer, "ada@example.com", actor=shop.ACTOR, now=desk.now),
    "convert": _convert,
}


def test_the_audit_check_finds_a_pool_that_counts_other_leases_than_there_are(desk: Desk) -> None:
    pool = sell(desk, "KRE", 1)
    desk.release(desk.acquire(MACHINES[0]))
    Pool.objects.update(lingering=0)

    [finding] = verify().findings
    assert f"pool {pool.pk} (KRE)" == finding.place
    assert "it counts 0 leases of ended sessions, but there are 1" == finding.what


def test_the_audit_log_tells_of_a_session_that_began_beyond_the_quota(desk: Desk) -> None:
    sell(desk, "KRE", 1)
    desk.release(desk.acquire(MACHINES[0]))
    desk.acquire(MACHINES[1])

    started = AuditEvent.objects.filter(action="session.started").order_by("seq")
    assert [False, True] == ['"overlap":1' in row.details for row in started]
