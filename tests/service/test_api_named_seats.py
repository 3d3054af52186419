"""Named seats over real HTTP: a signed-in user, one session at a time, and what ends it."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

import shop
from activation import Person, Site, lease_of, make_key, problem, serve_here
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.customers import members
from keyseat_issuer.ledger.models import (
    Allocation,
    AllocationKind,
    Lease,
    OfflineLicense,
    Organization,
    Pool,
    Role,
)
from keyseat_issuer.ledger.pools import pools
from keyseat_issuer.ledger.seats import seats
from keyseat_issuer.web import tokens
from keyseat_issuer.web.models import User
from vendor import MACHINE, OTHER_MACHINE, machine
from web_server import make_account

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.org"
PEOPLE = {"ada-token": Person(ADA), "bob-token": Person(BOB), "eve-token": Person(EVE)} | {
    f"{who}-token": Person(f"{who}@example.com", frozenset({"sessions", "admin"})) for who in ("admin", "owner")
}


@pytest.fixture
def customer(ledger: Ledger) -> Organization:
    made = shop.organization("Example Organisation", ADA, BOB)
    members.add_members(made, ["admin@example.com"], Role.ADMIN, actor="test", now=shop.NOW)
    shop.subscribe(made, {"KRE": 1, "KSE": 1})
    return made


@pytest.fixture
def site(customer: Organization) -> Iterator[Site]:
    with serve_here(people=PEOPLE) as running:
        running.key = "ada-token"
        yield running


def used(product: str = "KSE") -> int:
    return Pool.objects.get(product=product).used


def offline_seat(customer: Organization, site: Site, *, until: timedelta) -> None:
    """Give Ada an offline licence in place of a seat, as the conversion leaves it."""
    from django.db import transaction  # noqa: PLC0415 - Django is set up by a fixture

    now, pool_id = site.clock.now, Pool.objects.get(product="KSE").pk
    with transaction.atomic():
        pool = pools.lock_pool(pool_id)
        pools.reclaim_expired(pool, now)
        taken = pools.take(pool, AllocationKind.OFFLINE, ADA, expires_at=now + until, now=now)
        OfflineLicense.objects.create(
            license_id=taken.pk,
            pool=pool,
            allocation=taken,
            organization=customer,
            product="KSE",
            user=ADA,
            machine_id=str(MACHINE),
            sessions=1,
            issued_at=now,
            expires_at=now + until,
            file=b"{}",
            file_sha256="0" * 64,
        )


@pytest.mark.parametrize("asked", ["%00", "mid1%00", "%ff"])
def test_ones_own_licences_on_what_is_no_machine_are_none(site: Site, customer: Organization, asked: str) -> None:
    answer = site.call("GET", f"/api/v1/offline-licenses?machine_id={asked}")

    assert (422, "INVALID_INPUT", None) == problem(answer)


class TestAnAssignedUser:
    def test_gets_a_lease_in_the_users_name_that_takes_no_further_seat(
        self, site: Site, customer: Organization
    ) -> None:
        shop.assign(customer, "KSE", ADA)

        answer = site.acquire("KSE")

        assert (201, 1) == (answer.status_code, used())
        assert ADA == lease_of(answer, site.vendor.bundle).user
        assert () == verify().findings

    def test_has_one_session_and_the_first_machine_is_told_of_the_second(
        self, site: Site, customer: Organization
    ) -> None:
        shop.assign(customer, "KSE", ADA)
        first = site.acquire("KSE").json()["session_id"]

        second = site.acquire("KSE", machine=OTHER_MACHINE)

        assert 201 == second.status_code
        assert (410, "LEASE_ENDED", "TAKEN_OVER") == problem(site.renew(first))
        assert 200 == site.renew(second.json()["session_id"], machine=OTHER_MACHINE).status_code
        assert 1 == Lease.objects.filter(ended_at=None).count()

    def test_who_starts_twice_on_one_machine_goes_on_in_the_same_session(
        self, site: Site, customer: Organization
    ) -> None:
        shop.assign(customer, "KSE", ADA)
        first = site.acquire("KSE")

        again = site.acquire("KSE", machine=machine(nic=["3c5282aabbcc"]))

        assert (200, first.json()["session_id"]) == (again.status_code, again.json()["session_id"])

    def test_cannot_touch_the_session_of_another_user(self, site: Site, customer: Organization) -> None:
        shop.assign(customer, "KSE", ADA)
        session = site.acquire("KSE").json()["session_id"]

        assert (404, "NOT_FOUND", None) == problem(site.renew(session, key="bob-token"))
        assert (404, "NOT_FOUND", None) == problem(site.release(session, key="bob-token"))
        assert 200 == site.renew(session).status_code

    def test_of_a_floating_product_holds_sessions_that_take_seats(self, site: Site, customer: Organization) -> None:
        shop.assign(customer, "KRE", ADA)

        answers = [site.acquire("KRE") for _ in range(2)]

        assert ([201, 409], 1) == ([answer.status_code for answer in answers], used("KRE"))
        assert (409, "QUOTA_EXCEEDED", None) == problem(site.acquire("KRE", key=make_key(customer)))


class TestAUserWithoutASeat:
    def test_is_told_who_can_assign_one(self, site: Site) -> None:
        refused = site.acquire("KSE")

        assert (403, "NOT_ASSIGNED", None) == problem(refused)
        assert ["admin@example.com", "owner@example.com"] == refused.json()["details"]["ask"]
        assert "owner@example.com" in refused.json()["next"]

    @pytest.mark.parametrize("who", ["admin", "owner"])
    @pytest.mark.parametrize("product", ["KSE", "KRE"])
    def test_who_may_assign_seats_is_told_how_to_take_one(
        self, site: Site, customer: Organization, who: str, product: str
    ) -> None:
        refused = site.acquire(product, key=f"{who}-token")

        told = refused.json()
        path = f"/api/v1/organizations/{customer.pk}/seats/{product}/assign"
        assert (403, "NOT_ASSIGNED", None) == problem(refused)
        assert path == told["details"]["assign"]
        assert path in told["next"]
        assert f"{who}@example.com" in told["next"]
        assert f"{who}@example.com" not in told["details"]["ask"]
        body = {"emails": [f"{who}@example.com"]}
        assert json.dumps(body) in told["next"]
        assert 200 == site.call("POST", path, body, key=f"{who}-token", Content_Type="application/json").status_code
        assert 201 == site.acquire(product, key=f"{who}-token").status_code

    def test_of_another_organisation_is_no_member(self, site: Site) -> None:
        assert (403, "NOT_A_MEMBER", None) == problem(site.acquire("KSE", key="eve-token"))

    def test_of_several_organisations_must_name_one(self, site: Site, customer: Organization) -> None:
        other = shop.organization("Second", ADA)
        shop.assign(customer, "KSE", ADA)

        refused = site.acquire("KSE")

        assert (422, "INVALID_INPUT", None) == problem(refused)
        assert {str(customer.pk), str(other.pk)} == {
            entry["id"] for entry in refused.json()["details"]["organizations"]
        }
        assert 201 == site.acquire("KSE", organization=str(customer.pk)).status_code

    def test_who_works_offline_is_told_until_when(self, site: Site, customer: Organization) -> None:
        offline_seat(customer, site, until=timedelta(days=30))

        refused = site.acquire("KSE")

        assert (409, "SEAT_LOCKED_OFFLINE", None) == problem(refused)
        assert "2023-07-01T12:00:00Z" == refused.json()["details"]["until"]

    def test_whose_offline_licence_has_expired_gets_the_seat_back_without_help(
        self, site: Site, customer: Organization
    ) -> None:
        offline_seat(customer, site, until=timedelta(days=30))
        site.clock.advance(days=30)

        assert (201, 1) == (site.acquire("KSE").status_code, used())
        assert ADA == Allocation.objects.get(kind=AllocationKind.NAMED, released_at=None).holder

    def test_with_two_offline_licences_gets_the_first_seat_back_while_the_second_is_active(
        self, site: Site, customer: Organization
    ) -> None:
        Pool.objects.filter(product="KSE").update(quota=2)
        offline_seat(customer, site, until=timedelta(days=30))
        site.clock.advance(days=1)
        offline_seat(customer, site, until=timedelta(days=60))
        site.clock.advance(days=29)

        assert (201, 2) == (site.acquire("KSE").status_code, used())

    def test_whose_licence_went_on_in_another_one_has_no_second_seat(self, site: Site, customer: Organization) -> None:
        offline_seat(customer, site, until=timedelta(days=30))
        site.clock.advance(days=30)
        offline_seat(customer, site, until=timedelta(days=30))

        assert (409, "SEAT_LOCKED_OFFLINE", None) == problem(site.acquire("KSE"))

    def test_whose_former_seat_somebody_else_holds_now_is_refused(self, site: Site, customer: Organization) -> None:
        offline_seat(customer, site, until=timedelta(days=30))
        site.clock.advance(days=30)
        shop.assign(customer, "KSE", BOB, now=site.clock.now)

        assert (409, "QUOTA_EXCEEDED", None) == problem(site.acquire("KSE"))

    def test_whose_seat_was_taken_back_by_decision_does_not_get_it_back(
        self, site: Site, customer: Organization
    ) -> None:
        offline_seat(customer, site, until=timedelta(days=30))
        now = site.clock.advance(days=30)
        shop.assign(customer, "KSE", ADA, now=now)
        seats.unassign(customer, "KSE", [ADA], actor="test", now=now)

        assert (403, "NOT_ASSIGNED", None) == problem(site.acquire("KSE"))


class TestASessionEnds:
    @pytest.fixture
    def session(self, site: Site, customer: Organization) -> str:
        shop.assign(customer, "KSE", ADA)
        return str(site.acquire("KSE").json()["session_id"])

    def test_when_the_seat_is_taken_back(self, site: Site, customer: Organization, session: str) -> None:
        seats.unassign(customer, "KSE", [ADA], actor="test", now=shop.NOW)

        assert (410, "LEASE_ENDED", "UNASSIGNED") == problem(site.renew(session))

    def test_when_the_seat_is_moved(self, site: Site, customer: Organization, session: str) -> None:
        seats.transfer(customer, "KSE", ADA, BOB, actor="test", now=shop.NOW)

        assert (410, "LEASE_ENDED", "SEAT_MOVED") == problem(site.renew(session))
        assert 201 == site.acquire("KSE", key="bob-token").status_code

    def test_when_the_member_is_removed(self, site: Site, customer: Organization, session: str) -> None:
        members.remove_member(customer, ADA, actor="test", now=shop.NOW)

        assert (410, "LEASE_ENDED", "MEMBER_REMOVED") == problem(site.renew(session))
        assert (403, "NOT_A_MEMBER", None) == problem(site.acquire("KSE"))

    def test_when_the_subscription_ends(self, site: Site, session: str) -> None:
        site.clock.now = shop.END - timedelta(minutes=30)
        session = site.acquire("KSE").json()["session_id"]
        site.clock.now = shop.END

        assert (410, "LEASE_ENDED", "SUBSCRIPTION_ENDED") == problem(site.renew(session))

    def test_and_floating_ones_of_a_removed_member_give_their_seats_back(
        self, site: Site, customer: Organization, session: str
    ) -> None:
        shop.assign(customer, "KRE", ADA)
        floating = site.acquire("KRE").json()["session_id"]

        members.remove_member(customer, ADA, actor="test", now=shop.NOW)

        assert (410, "LEASE_ENDED", "MEMBER_REMOVED") == problem(site.renew(floating))
        assert (0, 0) == (used("KRE"), used("KSE"))
        assert () == verify().findings


def test_a_person_signed_in_on_a_device_activates_with_the_token_of_the_grant(customer: Organization) -> None:
    shop.assign(customer, "KSE", ADA)
    make_account(ADA)
    now = shop.NOW
    with serve_here(find_user=tokens.authenticate) as site:
        pair = tokens.sign_in(User.objects.get(), client_id="keyseat", scopes="sessions", device_name="laptop", now=now)
        site.key = pair.access_token
        answers = [site.acquire("KSE"), site.acquire("KSE", key=pair.refresh_token)]

    assert ADA == lease_of(answers[0], site.vendor.bundle).user
    assert (401, "NOT_ALLOWED", "unknown") == problem(answers[1])
