"""Rare turns of the online client: keys refused, files that vanish, settings gone wrong, homes that are read-only."""

import json
import os
from datetime import timedelta

import pytest

import shop
from activation import Site
from customers import Desktop
from keyseat_issuer.ledger.models import Lease, Organization, Pool
from keyseat_issuer.ledger.sessions.admin import force_release
from keyseat_shared.errors import KeyseatError
from keyseat_verifier import NotEntitled
from keyseat_verifier.online import desk, grants
from keyseat_verifier.online.config import ServerConfig
from keyseat_verifier.online.credentials import Credentials
from keyseat_verifier.online.oauth import Granted
from keyseat_verifier.online.transport import Transport, UnreachableError
from vendor import OTHER_MACHINE, Vendor

ADA = "ada@example.com"
NO_KEY = "ksk_12345678_" + "s" * 38
pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVER", "API_KEY", "API_KEY_FILE", "ORGANIZATION", "CA_BUNDLE"):
        monkeypatch.delenv(f"KEYSEAT_{name}", raising=False)
    for module in (desk, grants):  # a busy machine
        monkeypatch.setattr(module, "ACQUIRE_SECONDS", 30.0)
        monkeypatch.setattr(module, "RENEW_SECONDS", 30.0)


@pytest.fixture
def key() -> str:
    return os.environ["KEYSEAT_API_KEY"]


@pytest.fixture
def read_only(desktop: Desktop) -> Desktop:
    """A machine on which nothing can be written: a file lies where the home folder should be."""
    desktop.home.write_bytes(b"a file")
    return desktop


def used(product: str = "KRE") -> int:
    return Pool.objects.get(product=product).used


def refusal(call: object) -> NotEntitled:
    with pytest.raises(NotEntitled) as caught:
        call()  # type: ignore[operator]
    return caught.value


def away(_self: Transport, *_: object, **__: object) -> None:
    raise UnreachableError("the network is down", is_lasting=True)


def end_sessions(customer: Organization, site: Site) -> None:
    live = [str(pk) for pk in Lease.objects.filter(ended_at__isnull=True).values_list("pk", flat=True)]
    force_release(customer, live, actor="test", now=site.clock.now)


def sign_in(desktop: Desktop) -> None:
    config = ServerConfig(desktop.site.url)
    stored = Credentials(str(desktop.home), config, {}, Transport(config.url))
    stored.store(Granted("ada-token", "refresh", 10**6), desktop.site.clock())


class TestActivatingAgain:
    def test_after_an_administrator_ended_the_session_begins_another(
        self, desktop: Desktop, customer: Organization, site: Site
    ) -> None:
        first = desktop.client().activate()
        end_sessions(customer, site)

        second = desktop.client().activate()

        assert ("online", 1) == (second.source, used())
        assert first.license_id != second.license_id
        assert 1 == len(desktop.leases())

    def test_with_a_key_that_counts_no_more_is_refused_and_the_lease_stays(
        self, desktop: Desktop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desktop.client().activate()
        monkeypatch.setenv("KEYSEAT_API_KEY", NO_KEY)

        assert "NOT_ALLOWED" == refusal(desktop.client().activate).code
        assert "lease" == desktop.client().check().source


class TestRenewal:
    def test_with_a_key_that_counts_no_more_warns_and_does_not_ask_again_at_once(
        self, desktop: Desktop, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = desktop.client()
        client.activate()
        monkeypatch.setenv("KEYSEAT_API_KEY", NO_KEY)
        site.clock.advance(minutes=21)
        asked = []
        sent = Transport.request

        def count(self: Transport, method: str, path: str, *rest: object, **more: object) -> object:
            asked.append(path)
            return sent(self, method, path, *rest, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(Transport, "request", count)
        first = client.check()
        site.clock.advance(minutes=2)  # past what `check` remembers
        second = client.check()

        assert ("lease", "lease", 1) == (first.source, second.source, len(asked))
        assert "The lease could not be renewed (NOT_ALLOWED" in first.warnings[0]
        assert first.warnings == second.warnings

    def test_is_no_affair_of_a_client_without_a_server(self, desktop: Desktop) -> None:
        desktop.client().activate()
        desktop.site.clock.advance(minutes=21)

        found = desktop.client(server=None).check()

        assert ("lease", ()) == (found.source, found.warnings)

    def test_is_left_out_where_the_settings_are_wrong(self, desktop: Desktop) -> None:
        desktop.client().activate()
        (desktop.home / "server.json").write_text('{"url": "ftp://licenses.example.com"}')
        desktop.site.clock.advance(minutes=21)
        client = desktop.client(server=None)

        assert "lease" == client.check().source
        assert "is not the address of a server" in client.status().online.problem  # type: ignore[union-attr]

    def test_of_a_session_that_a_killed_program_left_behind_is_this_programs(self, desktop: Desktop, key: str) -> None:
        left = desktop.site.acquire(key=key).json()
        path = desktop.home / "leases" / "sessions" / f"KRE_{left['session_id']}.lease"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(left["lease"]))
        desktop.site.clock.advance(minutes=21)

        found = desktop.client().check()

        assert ("online", left["session_id"], 1) == (found.source, found.license_id, used())


class TestNamedSeat:
    @pytest.fixture(autouse=True)
    def _assigned(self, customer: Organization, desktop: Desktop) -> None:
        shop.assign(customer, "KSE", ADA)
        sign_in(desktop)

    def test_whose_lease_was_removed_by_hand_goes_on_with_its_session(self, desktop: Desktop) -> None:
        client = desktop.client("KSE")
        first = client.check()
        desktop.leases()[0].unlink()

        again = client.check()

        assert ("online", first.license_id, 1) == (again.source, again.license_id, len(desktop.leases()))

    def test_that_slept_past_its_lease_while_the_server_is_away_comes_back_with_it(
        self, desktop: Desktop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = desktop.client("KSE")
        client.check()
        desktop.site.clock.advance(hours=2)
        with monkeypatch.context() as patch:
            patch.setattr(Transport, "request", away)
            assert "SERVER_UNREACHABLE" == refusal(client.check).code

        assert "online" == client.check().source

    def test_in_use_by_another_program_is_not_opened_twice(self, desktop: Desktop) -> None:
        with desktop.client("KSE").session():
            error = refusal(desktop.client("KSE").session().__enter__)

        assert "SESSIONS_EXCEEDED" == error.code
        assert "the one KSE session of this user on this machine is in use, by process" in error.message


class TestReadOnlyHome:
    def test_a_session_that_was_ended_is_begun_anew(
        self, read_only: Desktop, customer: Organization, site: Site
    ) -> None:
        client = read_only.client()
        first = client.check()
        end_sessions(customer, site)
        site.clock.advance(minutes=21)

        error = refusal(client.check)
        assert ("LEASE_ENDED", True) == (error.code, "an administrator ended" in error.message)
        with client.session() as session:
            assert first.license_id != session.entitlement.license_id

    def test_release_gives_back_what_is_remembered(self, read_only: Desktop) -> None:
        client = read_only.client()
        client.check()

        assert (1, 0) == (len(client.release().ended), used())

    def test_a_newer_trust_bundle_counts_all_the_same(self, read_only: Desktop, site: Site) -> None:
        client = read_only.client(trust=Vendor().bundle)
        site.vendor.version = 2

        assert ("online", 2) == (client.check().source, client.trust.version)

    def test_locks_that_cannot_be_made_do_not_keep_a_lease_from_counting(self, desktop: Desktop) -> None:
        desktop.home.mkdir()
        (desktop.home / "sessions").write_bytes(b"a file where the folder should be")
        client = desktop.client()
        first = client.check()
        desktop.site.clock.advance(minutes=21)

        assert ("online", "online", 1) == (first.source, client.check().source, used())


class TestRelease:
    def test_of_everything_on_this_machine_ends_activated_sessions_too(
        self, desktop: Desktop, site: Site, key: str
    ) -> None:
        activated = desktop.client().activate()
        site.acquire(machine=OTHER_MACHINE, key=key)

        released = desktop.client().release(previous=True)

        assert ((activated.license_id,), 1) == (released.ended, released.previous)
        assert ([], 1) == (desktop.leases(), used())

    def test_where_the_server_is_away_keeps_what_was_not_given_back(self, desktop: Desktop) -> None:
        desktop.client().activate()
        with pytest.raises(KeyseatError, match="cannot be reached"):
            desktop.client(server="http://127.0.0.1:9").release()

        assert (1, 1) == (len(desktop.leases()), used())

    def test_without_anything_kept_asks_nobody(self, desktop: Desktop) -> None:
        assert ((), (), 0, ()) == desktop.client(server="http://127.0.0.1:9").release()

    def test_after_the_lease_ended_is_nothing(self, desktop: Desktop) -> None:
        client = desktop.client()
        client.activate()
        desktop.site.clock.now += timedelta(hours=2)

        assert ((), (), 0, ()) == client.release()
