"""Trust bundles that get stale, over HTTP: a newer one is taken up by itself, and nobody is locked out needlessly."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import shop
from activation import Site, make_key, serve_here
from customers import Desktop
from databases import Ledger
from keyseat_issuer.ledger.models import Lease, Organization, Pool
from keyseat_shared.policy import default_policy
from keyseat_shared.trust import COMPROMISED, LEASE, TrustBundle
from keyseat_verifier import NotEntitled
from keyseat_verifier.online import grants
from vendor import Vendor

pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
STALE_AT = shop.NOW + timedelta(minutes=30)
"""In the middle of a lease that was given at the start."""


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
    vendor = Vendor()
    vendor.fresh_until = STALE_AT
    with serve_here(vendor=vendor) as running:
        yield running


@pytest.fixture
def desktop(site: Site, tmp_path: Path) -> Desktop:
    return Desktop(tmp_path / "home", site)


def publish(site: Site, fresh_until: datetime | None) -> None:
    site.vendor.version += 1
    site.vendor.fresh_until = fresh_until


def offline_too(site: Site) -> TrustBundle:
    site.vendor.policy = default_policy()._replace(freshness_required=("lease", "offline"))
    return site.vendor.bundle


def refused(desktop: Desktop, **options: object) -> NotEntitled:
    with pytest.raises(NotEntitled) as caught:
        desktop.client(**options).check()
    return caught.value


def used() -> int:
    return Pool.objects.get(product="KRE").used


def trust_in(home: Path) -> TrustBundle:
    return TrustBundle.load(home / "trust.json")


class TestLeases:
    def test_under_a_stale_bundle_a_newer_one_comes_first_and_the_session_goes_on(
        self, desktop: Desktop, site: Site
    ) -> None:
        pinned = site.vendor.bundle
        first = desktop.client(trust=pinned).activate()
        publish(site, STALE_AT + timedelta(days=90))
        site.clock.now = STALE_AT

        found = desktop.client(trust=pinned).check()

        assert (first.license_id, 1, 1) == (found.license_id, used(), Lease.objects.count())
        assert 2 == trust_in(desktop.home).version

    def test_with_the_server_away_they_cannot_be_checked(self, desktop: Desktop, site: Site) -> None:
        pinned = site.vendor.bundle
        desktop.client(trust=pinned).activate()
        site.clock.now = STALE_AT - timedelta(seconds=1)
        assert "lease" == desktop.client(trust=pinned, server="http://127.0.0.1:9").check().source

        site.clock.now = STALE_AT
        error = refused(desktop, trust=pinned, server="http://127.0.0.1:9")

        assert "TRUST_STALE" == error.code
        assert ["NO_LICENSE", "TRUST_STALE", "TRUST_STALE"] == [reason.code for reason in error.reasons]
        assert "SERVER_UNREACHABLE" in error.message
        assert "newest trust.json" in error.next_step
        assert 1 == len(desktop.leases())  # it counts again as soon as there is a fresh bundle

    def test_a_bundle_put_there_by_hand_will_do(self, desktop: Desktop, site: Site) -> None:
        pinned = site.vendor.bundle
        first = desktop.client(trust=pinned).activate()
        site.clock.now = STALE_AT
        site.vendor.version, site.vendor.fresh_until = 2, STALE_AT + timedelta(days=90)
        (desktop.home / "trust.json").write_bytes(site.vendor.bundle_bytes())

        found = desktop.client(trust=pinned, server="http://127.0.0.1:9").check()

        assert ("lease", first.license_id) == (found.source, found.license_id)

    def test_no_seat_is_taken_where_the_server_has_no_fresh_bundle_either(self, desktop: Desktop, site: Site) -> None:
        site.clock.now = STALE_AT

        error = refused(desktop)

        assert ("TRUST_STALE", 0, 0) == (error.code, used(), Lease.objects.count())
        assert f"{site.url} has none newer" in error.message

    def test_a_session_that_runs_is_renewed_under_the_newer_bundle(self, desktop: Desktop, site: Site) -> None:
        client = desktop.client(trust=site.vendor.bundle)
        first = client.check()
        publish(site, STALE_AT + timedelta(days=90))
        site.clock.now = STALE_AT

        again = client.check()

        assert (first.license_id, site.clock.now + timedelta(hours=1)) == (again.license_id, again.expires_at)
        assert 2 == client.trust.version

    def test_a_bundle_that_will_be_stale_before_the_lease_ends_is_asked_for_ahead(
        self, desktop: Desktop, site: Site
    ) -> None:
        pinned = site.vendor.bundle
        desktop.client(trust=pinned).activate()
        publish(site, STALE_AT + timedelta(days=90))
        site.clock.advance(minutes=1)
        desktop.client(trust=pinned).activate()  # renews, with the bundle still fresh

        site.clock.now = STALE_AT + timedelta(minutes=1)
        assert "lease" == desktop.client(trust=pinned, server="http://127.0.0.1:9").check().source

    def test_a_home_that_cannot_be_written_locks_nobody_out(
        self, desktop: Desktop, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(path: str, data: bytes) -> None:
            raise OSError(30, "Read-only file system", path)

        for module in ("client.trust_source", "online.leases"):
            monkeypatch.setattr(f"keyseat_verifier.{module}.write_private", full)
        pinned = site.vendor.bundle
        publish(site, STALE_AT + timedelta(days=90))
        site.clock.now = STALE_AT

        assert "online" == desktop.client(trust=pinned).check().source
        assert not (desktop.home / "trust.json").exists()

    def test_the_policy_may_want_no_fresh_bundle(self, desktop: Desktop, site: Site) -> None:
        site.vendor.policy = default_policy()._replace(freshness_required=())
        site.clock.now = STALE_AT
        assert "online" == desktop.client().check().source

    def test_a_revoked_key_stops_where_the_news_is_kept_away(self, desktop: Desktop, site: Site) -> None:
        """Who holds a stolen lease key blocks the server, and has prepared a lease for every hour."""
        pinned = site.vendor.bundle
        stolen = site.vendor.lease(
            issued_at="2023-06-01T12:30:00Z", renew_after="2023-06-01T12:50:00Z", expires_at="2023-06-01T13:30:00Z"
        )
        path = desktop.home / "leases" / "activated" / "KRE_x.lease"
        path.parent.mkdir(parents=True)
        path.write_bytes(stolen)
        site.clock.now = STALE_AT

        assert "TRUST_STALE" == refused(desktop, trust=pinned, server="http://127.0.0.1:9").code

        site.vendor.version, site.vendor.fresh_until = 2, STALE_AT + timedelta(days=90)
        revoked = site.vendor.trusted(site.vendor.lease_key, LEASE, status=COMPROMISED)
        (desktop.home / "trust.json").write_bytes(site.vendor.bundle_bytes(keys=[revoked]))
        assert "KEY_COMPROMISED" in [r.code for r in refused(desktop, trust=pinned, online=True).reasons]


class TestOfflineLicences:
    def test_need_no_fresh_bundle_by_default(self, desktop: Desktop, site: Site) -> None:
        desktop.put_license(site.vendor.license(product="KRE"))
        site.clock.now = STALE_AT
        assert "offline" == desktop.client(online=False).check().source

    def test_where_the_policy_wants_one_it_is_taken_up_and_no_online_seat(self, desktop: Desktop, site: Site) -> None:
        pinned = offline_too(site)
        desktop.put_license(site.vendor.license(product="KRE"))
        publish(site, STALE_AT + timedelta(days=90))
        site.clock.now = STALE_AT

        client = desktop.client(trust=pinned)
        assert "TRUST_STALE" == client.status().code  # asks no server
        assert ("offline", 0) == (client.check().source, used())
        assert ("offline", "OK") == (desktop.client(trust=pinned, online=False).check().source, client.status().code)

    @pytest.mark.parametrize(("days", "warned"), [(31, False), (30, True)])
    def test_where_the_policy_wants_one_they_warn_a_month_before(
        self, desktop: Desktop, site: Site, days: int, *, warned: bool
    ) -> None:
        site.vendor.fresh_until = shop.NOW + timedelta(days=days)
        desktop.put_license(site.vendor.license(product="KRE"))
        assert () == desktop.client(online=False).check().warnings
        pinned = offline_too(site)

        warnings = desktop.client(trust=pinned, online=False).check().warnings

        assert warned is any("need a newer trust bundle from" in warning for warning in warnings)

    def test_without_a_server_they_cannot_be_checked(self, desktop: Desktop, site: Site) -> None:
        pinned = offline_too(site)
        desktop.put_license(site.vendor.license(product="KRE"))
        site.clock.now = STALE_AT - timedelta(seconds=1)
        assert "offline" == desktop.client(trust=pinned, online=False).check().source
        site.clock.now = STALE_AT

        error = refused(desktop, trust=pinned, online=False)

        assert ("TRUST_STALE", True) == (error.code, "newest trust.json" in error.next_step)


def test_the_server_warns_and_stays_ready(site: Site) -> None:
    def ready() -> tuple[int, list[str]]:
        answer = site.call("GET", "/readyz", key="")
        return answer.status_code, answer.json()["warnings"]

    site.vendor.fresh_until = site.vendor.issued_at + timedelta(days=300)
    site.clock.now = shop.NOW
    assert (200, []) == ready()
    site.clock.advance(days=60)
    status, (told,) = ready()
    assert (200, True) == (status, "only. Renew it" in told)
    site.clock.advance(days=120)
    status, (told,) = ready()
    assert (200, True) == (status, "leases are not accepted" in told)
