"""Another API key or sign-in put in place while a lease runs: the lease counts until it ends, and nothing is lost."""

import json
import os
from datetime import timedelta

import pytest

import shop
from activation import Person, Site, make_key
from customers import Desktop, wait_until
from keyseat_issuer.ledger.models import Lease, Organization, Pool
from keyseat_verifier.online import desk, grants, renewal
from keyseat_verifier.online.config import ServerConfig
from keyseat_verifier.online.credentials import Credentials
from keyseat_verifier.online.oauth import Granted
from keyseat_verifier.online.transport import Transport

ADA, BOB = "ada@example.com", "bob@example.com"
SECOND = "Second Organisation"
TOLD = "The lease could not be renewed (NOT_FOUND: "
pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVER", "API_KEY", "API_KEY_FILE", "ORGANIZATION", "CA_BUNDLE"):
        monkeypatch.delenv(f"KEYSEAT_{name}", raising=False)
    for module in (desk, grants):  # a busy machine
        monkeypatch.setattr(module, "ACQUIRE_SECONDS", 30.0)
        monkeypatch.setattr(module, "RENEW_SECONDS", 30.0)
    monkeypatch.setattr(renewal, "TICK", 0.01)


@pytest.fixture
def people() -> dict[str, Person]:
    return {"ada-token": Person(ADA), "bob-token": Person(BOB)}


@pytest.fixture
def second(customer: Organization) -> str:
    """The API key of another organisation."""
    made = shop.organization(SECOND, BOB)
    shop.subscribe(made, {"KRE": 1, "KSE": 1})
    return make_key(made)


def used(organization: str = "Example Organisation") -> int:
    return Pool.objects.get(product="KRE", subscription__organization__name=organization).used


def sign_in(desktop: Desktop, token: str) -> None:
    config = ServerConfig(desktop.site.url)
    stored = Credentials(str(desktop.home), config, {}, Transport(config.url))
    stored.store(Granted(token, "refresh", 10**6), desktop.site.clock())


class TestARunningSession:
    def test_keeps_its_lease_says_what_is_wrong_and_goes_on_when_it_is_mended(
        self, desktop: Desktop, second: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[object] = []
        with desktop.client().session(on_ended=told.append) as session:
            first = session.entitlement
            with monkeypatch.context() as patch:
                patch.setenv("KEYSEAT_API_KEY", second)
                desktop.site.clock.advance(minutes=40)
                wait_until(lambda: session.entitlement.warnings)
                assert session.entitlement.warnings[0].startswith(TOLD)
                assert "begun with other credentials" in session.entitlement.warnings[0]
                assert (first.license_id, True, None) == (
                    session.entitlement.license_id,
                    session.is_held,
                    session.ended,
                )
                assert (1, 1, 0) == (len(desktop.leases()), used(), used(SECOND))
            desktop.site.clock.advance(minutes=10)
            wait_until(lambda: session.entitlement.expires_at > first.expires_at)
            assert (first.license_id, ()) == (session.entitlement.license_id, session.entitlement.warnings)
        assert ([], 0, []) == (desktop.leases(), used(), told)

    def test_goes_on_with_the_new_credentials_when_its_lease_has_ended(
        self, desktop: Desktop, second: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[object] = []
        with desktop.client().session(on_ended=told.append, on_resumed=told.append) as session:
            monkeypatch.setenv("KEYSEAT_API_KEY", second)
            desktop.site.clock.advance(minutes=61)
            wait_until(lambda: len(told) == 2)
            assert (SECOND, True, ()) == (
                session.entitlement.organization,
                session.is_held,
                session.entitlement.warnings,
            )
        assert ([], 0) == (desktop.leases(), used(SECOND))

    def test_that_ends_under_them_leaves_its_record_to_who_can_give_it_back(
        self, desktop: Desktop, second: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with desktop.client().session() as session, monkeypatch.context() as patch:
            patch.setenv("KEYSEAT_API_KEY", second)
            session.release()
        assert (1, 1) == (len(desktop.leases()), used())

        assert 1 == len(desktop.client().release().ended)
        assert ([], 0) == (desktop.leases(), used())


class TestCheck:
    def test_keeps_an_activated_lease_and_warns(
        self, desktop: Desktop, second: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        activated = desktop.client().activate()
        monkeypatch.setenv("KEYSEAT_API_KEY", second)
        desktop.site.clock.advance(minutes=21)

        found = desktop.client().check()

        assert ("lease", activated.license_id, 1) == (found.source, found.license_id, len(desktop.leases()))
        assert found.warnings[0].startswith(TOLD)
        assert (1, 0) == (used(), used(SECOND))

    def test_begins_with_the_new_credentials_when_it_has_ended(
        self, desktop: Desktop, second: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desktop.client().activate()
        monkeypatch.setenv("KEYSEAT_API_KEY", second)
        desktop.site.clock.advance(minutes=61)

        assert ("online", SECOND) == (desktop.client().check()[0], desktop.client().check().organization)

    def test_of_a_users_seat_after_another_has_signed_in_goes_on_for_the_first(
        self, desktop: Desktop, site: Site, customer: Organization, second: str
    ) -> None:
        shop.assign(customer, "KSE", ADA)
        sign_in(desktop, "ada-token")
        client = desktop.client("KSE")
        client.check()
        sign_in(desktop, "bob-token")
        site.clock.advance(minutes=21)

        found = client.check()

        assert ("lease", ADA, 1) == (found.source, found.user, len(desktop.leases()))
        assert found.warnings[0].startswith(TOLD)


class TestASessionThatAKilledProgramLeftBehind:
    def test_is_used_until_it_ends_and_its_record_stays(
        self, desktop: Desktop, second: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left = desktop.site.acquire(key=os.environ["KEYSEAT_API_KEY"]).json()
        path = desktop.home / "leases" / "sessions" / f"KRE_{left['session_id']}.lease"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(left["lease"]))
        monkeypatch.setenv("KEYSEAT_API_KEY", second)

        with desktop.client().session() as session:
            assert (left["session_id"], 0) == (session.entitlement.license_id, used(SECOND))
        assert ([path], 1) == (desktop.leases(), used())


class TestReleasingEverything:
    def test_names_what_is_of_others_and_keeps_its_record(
        self, desktop: Desktop, second: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with desktop.client().session() as session, monkeypatch.context() as patch:
            activated = desktop.client().activate()
            patch.setenv("KEYSEAT_API_KEY", second)
            released = desktop.client().release(previous=True)

            assert ((), 0) == (released.ended, released.previous)
            ends_at = desktop.site.clock.now + timedelta(hours=1)
            assert {(activated.license_id, ends_at), (session.entitlement.license_id, ends_at)} == {*released.foreign}
            assert (2, 2) == (len(desktop.leases()), used())
        assert 1 == Lease.objects.filter(ended_at=None).count()
