"""Floating sessions over real HTTP, on both databases: acquire, renew, release, and what each refuses."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

import shop
from activation import NONCE, Clock, Site, lease_of, make_key, problem, serve_here
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.ledger.models import AuditEvent, Lease, Organization, Pool
from keyseat_issuer.ledger.sessions.admin import force_release
from keyseat_shared.instants import format_instant
from keyseat_shared.policy import default_policy
from vendor import MACHINE, OTHER_MACHINE, Vendor, machine


@pytest.fixture
def customer(ledger: Ledger) -> Organization:
    made = shop.organization("Example Organisation")
    shop.subscribe(made, {"KRE": 2, "KSE": 2})
    return made


@pytest.fixture
def site(customer: Organization) -> Iterator[Site]:
    with serve_here() as running:
        running.key = make_key(customer)
        yield running


def used(product: str = "KRE") -> int:
    return Pool.objects.get(product=product).used


class TestAcquiring:
    def test_gives_a_lease_that_verifies_and_repeats_machine_session_and_nonce(
        self, site: Site, customer: Organization
    ) -> None:
        answer = site.acquire()

        lease = lease_of(answer, site.vendor.bundle)
        assert 201 == answer.status_code
        assert (answer.json()["session_id"], str(MACHINE), NONCE, "KRE", None, str(customer.pk)) == (
            lease.session_id,
            lease.machine_id,
            lease.nonce,
            lease.product,
            lease.user,
            lease.organization_id,
        )
        assert (shop.NOW, shop.NOW + timedelta(seconds=1200), shop.NOW + timedelta(seconds=3600)) == (
            lease.issued_at,
            lease.renew_after,
            lease.expires_at,
        )

    def test_takes_a_seat_and_no_more_than_the_quota(self, site: Site) -> None:
        answers = [site.acquire() for _ in range(3)]

        assert [201, 201, 409] == [answer.status_code for answer in answers]
        refusal = answers[2].json()
        assert ("QUOTA_EXCEEDED", 2, 2, format_instant(shop.NOW + timedelta(hours=1))) == (
            refusal["code"],
            refusal["details"]["quota"],
            refusal["details"]["used"],
            refusal["details"]["next_free_at"],
        )
        assert 2 == used()
        assert () == verify().findings

    def test_twice_with_the_same_key_gives_the_same_session_and_one_seat(self, site: Site) -> None:
        first = site.acquire(idempotency="request-1")
        again = site.acquire(idempotency="request-1", nonce="m" * 22)

        assert (201, 200, 1) == (first.status_code, again.status_code, used())
        assert first.json()["session_id"] == again.json()["session_id"]
        assert "m" * 22 == lease_of(again, site.vendor.bundle).nonce

    def test_with_the_same_key_and_another_body_is_refused(self, site: Site) -> None:
        site.acquire(idempotency="request-1")

        refused = site.acquire(idempotency="request-1", machine=OTHER_MACHINE)

        assert (422, "INVALID_INPUT", None) == problem(refused)
        assert 1 == used()

    def test_with_the_key_of_a_session_that_is_over_tells_that(self, site: Site) -> None:
        first = site.acquire(idempotency="request-1")
        site.release(first.json()["session_id"])

        assert (410, "LEASE_ENDED", "RELEASED") == problem(site.acquire(idempotency="request-1"))

    def test_the_keys_of_two_callers_do_not_meet(self, site: Site, customer: Organization) -> None:
        first = site.acquire(idempotency="request-1")
        other = site.acquire(idempotency="request-1", key=make_key(customer))

        assert first.json()["session_id"] != other.json()["session_id"]

    def test_can_end_this_machines_previous_sessions_first(self, site: Site) -> None:
        before = [site.acquire().json()["session_id"] for _ in range(2)]

        answer = site.acquire(release_previous=True)

        assert (201, 1) == (answer.status_code, used())
        assert [(410, "LEASE_ENDED", "RELEASED")] * 2 == [problem(site.renew(pk)) for pk in before]

    def test_leaves_other_machines_sessions_alone(self, site: Site) -> None:
        other = site.acquire(machine=OTHER_MACHINE).json()["session_id"]
        site.acquire()

        site.acquire(release_previous=True)

        assert 200 == site.renew(other, machine=OTHER_MACHINE).status_code

    def test_ends_with_the_subscription(self, site: Site) -> None:
        site.clock.now = shop.END - timedelta(minutes=10)

        lease = lease_of(site.acquire(), site.vendor.bundle)

        assert (shop.END, shop.END - timedelta(minutes=10) + timedelta(seconds=200)) == (
            lease.expires_at,
            lease.renew_after,
        )

    def test_after_the_subscription_is_refused(self, site: Site) -> None:
        site.clock.now = shop.END

        assert (409, "SUBSCRIPTION_ENDED", None) == problem(site.acquire())

    def test_of_a_product_that_was_never_bought_is_not_found(self, site: Site) -> None:
        assert (404, "NOT_FOUND", None) == problem(site.acquire("XYZ"))

    def test_of_a_named_product_needs_a_person(self, site: Site) -> None:
        assert (403, "NOT_ALLOWED", "named") == problem(site.acquire("KSE"))

    def test_for_another_organisation_is_refused(self, site: Site) -> None:
        stranger = shop.organization("Somebody else")

        assert (403, "NOT_ALLOWED", None) == problem(site.acquire(organization=str(stranger.pk)))

    def test_uses_the_pools_of_all_active_subscriptions(self, site: Site, customer: Organization) -> None:
        shop.subscribe(customer, {"KRE": 1})

        assert [201, 201, 201, 409] == [site.acquire().status_code for _ in range(4)]


class TestRenewing:
    def test_gives_a_new_lease_with_the_new_nonce_and_the_same_seat(self, site: Site) -> None:
        session = site.acquire().json()["session_id"]
        now = site.clock.advance(minutes=20)

        lease = lease_of(site.renew(session, nonce="m" * 22), site.vendor.bundle)

        assert (session, "m" * 22, now + timedelta(hours=1), 1) == (
            lease.session_id,
            lease.nonce,
            lease.expires_at,
            used(),
        )

    def test_works_until_the_last_second_and_not_from_the_end_on(self, site: Site) -> None:
        early, late = (site.acquire().json()["session_id"] for _ in range(2))

        site.clock.advance(seconds=3599)
        assert 200 == site.renew(early).status_code
        site.clock.advance(seconds=1)

        assert (410, "LEASE_ENDED", "EXPIRED") == problem(site.renew(late))

    def test_at_the_end_of_the_subscription_says_so(self, site: Site) -> None:
        site.clock.now = shop.END - timedelta(minutes=10)
        session = site.acquire().json()["session_id"]
        site.clock.now = shop.END

        assert (410, "LEASE_ENDED", "SUBSCRIPTION_ENDED") == problem(site.renew(session))

    def test_never_shortens_what_a_client_was_promised(self, customer: Organization) -> None:
        clock, vendor = Clock(), Vendor()
        with serve_here(clock=clock, vendor=vendor) as running:
            running.key = make_key(customer)
            first = running.acquire()
            vendor.policy = default_policy()._replace(lease_ttl=60, lease_renew_after=20)
            clock.advance(minutes=1)

            renewed = running.renew(first.json()["session_id"])

        assert first.json()["expires_at"] == renewed.json()["expires_at"]
        # A client that knows the shorter policy counts a minute of it, and asks again before.
        lease = lease_of(renewed, vendor.bundle)
        assert timedelta(seconds=20) == lease.renew_after - lease.issued_at

    def test_no_lease_is_signed_that_clients_refuse(self, site: Site) -> None:
        """Somebody wrote into the ledger: the key signs nothing eternal for them."""
        session = site.acquire().json()["session_id"]
        Lease.objects.update(expires_at=site.clock.now + timedelta(days=91))

        assert (500, "INTERNAL", None) == problem(site.renew(session))

    def test_from_a_machine_that_changed_a_little_goes_on(self, site: Site) -> None:
        session = site.acquire().json()["session_id"]

        answer = site.renew(session, machine=machine(nic=["3c5282aabbcc"]))

        assert 200 == answer.status_code
        assert str(MACHINE) == lease_of(answer, site.vendor.bundle).machine_id

    def test_from_another_machine_is_refused(self, site: Site) -> None:
        session = site.acquire().json()["session_id"]

        assert (409, "MACHINE_MISMATCH", None) == problem(site.renew(session, machine=OTHER_MACHINE))

    def test_with_another_key_of_the_organisation_goes_on_so_that_keys_can_rotate(
        self, site: Site, customer: Organization
    ) -> None:
        session = site.acquire().json()["session_id"]

        assert 200 == site.renew(session, key=make_key(customer)).status_code

    def test_of_another_organisations_session_is_not_found(self, site: Site) -> None:
        session = site.acquire().json()["session_id"]
        stranger = make_key(shop.organization("Somebody else"))

        assert (404, "NOT_FOUND", None) == problem(site.renew(session, key=stranger))
        assert (404, "NOT_FOUND", None) == problem(site.release(session, key=stranger))
        assert 200 == site.renew(session).status_code


class TestReleasing:
    def test_frees_the_seat_and_twice_is_no_error(self, site: Site) -> None:
        session = site.acquire().json()["session_id"]

        answers = [site.release(session), site.release(session)]

        assert ([204, 204], [b"", b""], 0) == (
            [answer.status_code for answer in answers],
            [answer.content for answer in answers],
            used(),
        )
        assert (410, "LEASE_ENDED", "RELEASED") == problem(site.renew(session))

    def test_previous_sessions_of_a_machine_tells_how_many(self, site: Site) -> None:
        for _ in range(2):
            site.acquire()

        answer = site.call("POST", "/api/v1/sessions/release-previous", {"product": "KRE", "machine_id": str(MACHINE)})

        assert (200, {"released": 2}, 0) == (answer.status_code, answer.json(), used())

    def test_by_an_administrator_is_told_to_the_client(self, site: Site, customer: Organization) -> None:
        session = site.acquire().json()["session_id"]

        force_release(customer, [Lease.objects.get().pk], actor="owner@example.com", now=shop.NOW)

        assert 0 == used()
        assert (410, "LEASE_ENDED", "FORCED") == problem(site.renew(session))
        assert () == verify().findings


class TestExpiry:
    def test_frees_seats_by_itself_when_somebody_needs_one_and_not_before(self, site: Site) -> None:
        for _ in range(2):
            site.acquire()
        site.clock.advance(seconds=3599)
        assert 409 == site.acquire().status_code

        site.clock.advance(seconds=1)

        assert [201, 201, 409] == [site.acquire().status_code for _ in range(3)]
        assert 2 == used()
        assert {"EXPIRED", ""} == set(Lease.objects.values_list("ending", flat=True))
        assert () == verify().findings

    def test_of_a_session_that_was_reclaimed_is_told_as_such(self, site: Site) -> None:
        lost = site.acquire().json()["session_id"]
        site.clock.advance(hours=1)
        for _ in range(2):
            site.acquire()

        assert (410, "LEASE_ENDED", "EXPIRED") == problem(site.renew(lost))
        assert 204 == site.release(lost).status_code
        assert 2 == used()


def test_every_session_leaves_its_trace_in_the_audit_log(site: Site) -> None:
    session = site.acquire().json()["session_id"]
    site.renew(session)
    site.release(session)

    events = list(AuditEvent.objects.filter(action__startswith="session.").order_by("seq"))
    assert ["session.started", "session.renewed", "session.ended"] == [event.action for event in events]
    assert session == events[0].subject
    assert session in events[1].details
    assert events[0].actor.startswith("key:")
