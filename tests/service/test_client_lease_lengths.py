"""Client and server under policies with other lease lengths, over HTTP: nobody honest is locked out, either way."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import shop
from activation import Site, make_key, serve_here
from customers import Desktop
from databases import Ledger
from keyseat_issuer.ledger.models import Lease, Organization, Pool
from keyseat_shared.policy import Policy, default_policy
from keyseat_verifier.online import grants
from vendor import Vendor

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
LONGER = default_policy()._replace(lease_ttl=7200, lease_renew_after=2400)
SHORTER = default_policy()._replace(lease_ttl=600, lease_renew_after=200)
TWO_HOURS, HOUR, TEN_MINUTES = timedelta(hours=2), timedelta(hours=1), timedelta(minutes=10)


@pytest.fixture
def customer(ledger: Ledger) -> Organization:
    made = shop.organization("Example Organisation")
    shop.subscribe(made, {"KRE": 1})
    return made


@pytest.fixture
def site(customer: Organization, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("KEYSEAT_API_KEY", make_key(customer))
    for name in ("ACQUIRE_SECONDS", "RENEW_SECONDS", "_TRUST_SECONDS"):
        monkeypatch.setattr(grants, name, 30.0)  # a busy machine
    with serve_here() as running:
        yield running


@pytest.fixture
def desktop(site: Site, tmp_path: Path) -> Desktop:
    return Desktop(tmp_path / "home", site)


def publish(site: Site, policy: Policy) -> None:
    site.vendor.version += 1
    site.vendor.policy = policy


def used() -> int:
    return Pool.objects.get(product="KRE").used


class TestALongerPolicyOnTheServer:
    def test_entitles_a_client_that_pins_a_shorter_one_and_then_takes_up_the_new_one(
        self, desktop: Desktop, site: Site
    ) -> None:
        pinned = Vendor().bundle
        publish(site, LONGER)
        client = desktop.client(trust=pinned)

        first = client.check()
        site.clock.advance(minutes=30)
        second = desktop.client(trust=pinned).check()

        # The lease is of two hours; the older policy counts one of them, and the newer bundle came with it.
        assert (shop.NOW + HOUR, 2) == (first.expires_at, client.trust.version)
        assert (shop.NOW + TWO_HOURS, 1) == (second.expires_at, used())

    def test_entitles_one_that_can_never_take_it_up(self, desktop: Desktop, site: Site) -> None:
        publish(site, LONGER)
        older = Vendor()
        older.version = 3  # the bundle offered is a rollback to it
        client = desktop.client(trust=older.bundle)
        client.activate()
        for _ in range(4):
            assert shop.NOW + HOUR <= client.check().expires_at <= site.clock.now + HOUR
            site.clock.advance(minutes=45)
        assert (1, 1) == (used(), Lease.objects.count())


class TestAShorterPolicy:
    def test_of_a_client_that_is_newer_than_the_server_entitles(self, desktop: Desktop) -> None:
        newer = Vendor(policy=SHORTER, version=2).bundle
        assert shop.NOW + TEN_MINUTES == desktop.client(trust=newer).check().expires_at

    def test_ends_leases_kept_from_before_and_gives_their_seats_back(self, desktop: Desktop, site: Site) -> None:
        before = desktop.client().activate()
        publish(site, SHORTER)
        pinned = site.vendor.bundle
        site.clock.advance(minutes=9)
        assert before.license_id == desktop.client(trust=pinned).check().license_id

        site.clock.advance(minutes=41)  # the session that was promised for an hour has the pool's one seat
        after = desktop.client(trust=pinned).check()

        assert "online" == after.source
        assert (site.clock.now + TEN_MINUTES, 1) == (after.expires_at, used())

    def test_release_gives_back_a_session_that_the_policy_has_ended(self, desktop: Desktop, site: Site) -> None:
        before = desktop.client().activate()
        publish(site, SHORTER)
        site.clock.advance(minutes=30)

        released = desktop.client(trust=site.vendor.bundle).release()

        assert ((before.license_id,), 0, []) == (released.ended, used(), desktop.leases())

    def test_a_session_that_runs_goes_on(self, desktop: Desktop, site: Site) -> None:
        with desktop.client().session() as session:
            publish(site, SHORTER)
            site.clock.advance(minutes=21)
            lease = site.renew(session.entitlement.license_id, key=desktop.client()._environ["KEYSEAT_API_KEY"])
            assert 200 == lease.status_code
        assert 0 == used()
