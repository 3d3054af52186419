"""The client and the real service over HTTP: offline first, then a kept lease, then the server; and every refusal."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import shop
from activation import Person, Site, make_key, serve_here
from customers import Desktop
from databases import Ledger
from keyseat_issuer.ledger.customers import members
from keyseat_issuer.ledger.models import Lease, Organization, Pool
from keyseat_issuer.ledger.seats import seats
from keyseat_issuer.ledger.sessions.admin import force_release
from keyseat_shared.errors import TrustError
from keyseat_shared.trust import ACTIVE, LEASE
from keyseat_verifier import NotEntitled
from keyseat_verifier.online import grants
from keyseat_verifier.online.credentials import Credentials
from keyseat_verifier.online.oauth import Granted
from keyseat_verifier.online.transport import Transport
from vendor import MACHINE, OTHER_MACHINE, Key, Vendor, machine

ADA, BOB = "ada@example.com", "bob@example.com"
PEOPLE = {"ada-token": Person(ADA), "bob-token": Person(BOB)}
pytestmark = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVER", "API_KEY", "API_KEY_FILE", "ORGANIZATION", "CA_BUNDLE"):
        monkeypatch.delenv(f"KEYSEAT_{name}", raising=False)
    monkeypatch.setattr(grants, "ACQUIRE_SECONDS", 30.0)  # a busy machine
    monkeypatch.setattr(grants, "RENEW_SECONDS", 30.0)
    monkeypatch.setattr(grants, "_TRUST_SECONDS", 30.0)


@pytest.fixture
def customer(ledger: Ledger) -> Organization:
    made = shop.organization("Example Organisation", ADA, BOB)
    shop.subscribe(made, {"KRE": 2, "KSE": 2})
    return made


@pytest.fixture
def site(customer: Organization, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("KEYSEAT_API_KEY", make_key(customer))
    with serve_here(people=PEOPLE) as running:
        yield running


@pytest.fixture
def desktop(site: Site, tmp_path: Path) -> Desktop:
    return Desktop(tmp_path / "home", site)


def used(product: str = "KRE") -> int:
    return Pool.objects.get(product=product).used


def live() -> list[str]:
    return [str(pk) for pk in Lease.objects.filter(ended_at__isnull=True).values_list("pk", flat=True)]


def refusal(desktop: Desktop, product: str = "KRE", **options: object) -> NotEntitled:
    with pytest.raises(NotEntitled) as caught:
        desktop.client(product, **options).check()
    return caught.value


def codes(error: NotEntitled) -> list[str]:
    return [str(reason.code) for reason in error.reasons]


def rotate(vendor: Vendor, roots: dict[int, str], newest: int) -> None:
    """Let a vendor publish versions up to ``newest``; at those of ``roots`` the root key is replaced and destroyed."""
    for version in range(2, newest + 1):
        vendor.version = version
        before = vendor.root
        if version in roots:
            vendor.root = Key(f"{roots[version]} root")
        signers = [vendor.root] if vendor.root is before else [before, vendor.root]
        vendor.history[version] = vendor.bundle_bytes(signers=signers)


def sign_in(desktop: Desktop, token: str = "ada-token") -> None:  # noqa: S107 - a test's
    """Store the tokens that `keyseat login` would have got."""
    from keyseat_verifier.online.config import ServerConfig  # noqa: PLC0415 - only here

    config = ServerConfig(desktop.site.url)
    credentials = Credentials(str(desktop.home), config, {}, Transport(config.url))
    credentials.store(Granted(token, "refresh", 10**6), desktop.site.clock())


class TestCheck:
    def test_goes_online_where_no_file_entitles(self, desktop: Desktop) -> None:
        found = desktop.client().check()

        assert ("online", "KRE", "Example Organisation", None, 1) == (*found[:4], found.sessions)
        assert desktop.site.clock.now + timedelta(hours=1) == found.expires_at
        assert [found.license_id] == live()
        assert 1 == used()

    def test_uses_a_valid_file_without_asking_anybody(self, desktop: Desktop) -> None:
        desktop.put_license(desktop.site.vendor.license(product="KRE"))

        assert "offline" == desktop.client().check().source
        assert (0, []) == (used(), desktop.leases())

    def test_says_which_files_it_passed_over(self, desktop: Desktop) -> None:
        desktop.put_license(desktop.site.vendor.license(product="KRE", expires_at="2023-06-01T10:00:00Z"))

        found = desktop.client().check()

        assert ("online", ["EXPIRED"]) == (found.source, [str(reason.code) for reason in found.passed_over])

    def test_uses_the_lease_that_lies_there_in_every_process(self, desktop: Desktop) -> None:
        first = desktop.client().check()
        again = desktop.client().check()

        assert ("lease", first.license_id, first.expires_at) == (again.source, again.license_id, again.expires_at)
        assert 1 == used()

    def test_renews_when_it_is_time(self, desktop: Desktop) -> None:
        client = desktop.client()
        first = client.check()
        desktop.site.clock.advance(minutes=21)
        again = client.check()

        assert ("online", first.license_id) == (again.source, again.license_id)
        assert desktop.site.clock.now + timedelta(hours=1) == again.expires_at
        assert 1 == used()

    def test_leaves_a_lease_to_the_program_that_holds_it(self, desktop: Desktop) -> None:
        with desktop.client().session() as session:
            desktop.site.clock.advance(minutes=2)
            assert ("lease", session.entitlement.license_id) == (*desktop.client().check()[:1], live()[0])

    def test_begins_anew_where_its_lease_ran_out(self, desktop: Desktop) -> None:
        client = desktop.client()
        first = client.check()
        desktop.site.clock.advance(hours=2)
        again = client.check()

        assert again.license_id != first.license_id
        assert [again.license_id] == [path.stem.partition("_")[2] for path in desktop.leases()]

    def test_never_takes_a_second_seat_for_an_answer_that_was_lost(
        self, desktop: Desktop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = desktop.client()
        sent = Transport.request

        def lose(self: Transport, method: str, path: str, *rest: object, **more: object) -> object:
            answer = sent(self, method, path, *rest, **more)  # type: ignore[arg-type]
            if path.endswith("/sessions"):
                raise TimeoutError
            return answer

        with monkeypatch.context() as patch:
            patch.setattr(Transport, "request", lose)
            with pytest.raises(NotEntitled, match="UNFORESEEN"):
                client.check()
        found = client.check()

        assert ([found.license_id], 1) == (live(), used())

    def test_by_many_threads_of_a_process_takes_one_seat(self, desktop: Desktop) -> None:
        client = desktop.client()
        threads = [threading.Thread(target=client.check) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert 1 == used()

    def test_works_where_nothing_can_be_written(self, desktop: Desktop) -> None:
        desktop.home.parent.joinpath("home").write_bytes(b"a file where the folder should be")
        client = desktop.client()
        first = client.check()
        desktop.site.clock.advance(minutes=2)
        again = client.check()
        desktop.site.clock.advance(minutes=20)
        renewed = client.check()

        assert ["online", "lease", "online"] == [found.source for found in (first, again, renewed)]
        assert 1 == used()

    def test_does_not_go_online_where_the_program_does_not_want_it(self, desktop: Desktop) -> None:
        assert "NO_LICENSE" == refusal(desktop, online=False).code
        assert 0 == used()

    def test_on_a_machine_without_evidence_is_counted_by_an_id_of_its_own(self, desktop: Desktop) -> None:
        desktop.machine = machine(firmware_uuid=[], firmware_serial=[], nic=[], disk=[], os=[])
        first = desktop.client().check()

        assert ("online", "lease") == (first.source, desktop.client().check().source)
        assert 0o600 == (desktop.home / "leases" / "machine").stat().st_mode & 0o777
        assert desktop.client().status().machine_id is None

    def test_on_the_same_machine_with_a_new_disk_goes_on(self, desktop: Desktop) -> None:
        first = desktop.client().check()
        desktop.machine = machine(disk=["NEW-DISK"])

        assert "lease" == desktop.client().check().source
        desktop.site.clock.advance(minutes=30)
        client = desktop.client()
        assert first.license_id == client.check().license_id


class TestRefusal:
    def test_of_a_used_up_pool_has_the_servers_words(self, desktop: Desktop, site: Site) -> None:
        for _ in range(2):
            assert (
                201 == site.acquire(machine=OTHER_MACHINE, key=desktop.client()._environ["KEYSEAT_API_KEY"]).status_code
            )

        error = refusal(desktop)

        told = [(reason.path, reason.code) for reason in error.reasons]
        without = (str(desktop.home / "license"), "NO_LICENSE")
        assert ("QUOTA_EXCEEDED", [without, (site.url, "QUOTA_EXCEEDED")]) == (error.code, told)
        assert 2 == error.details["server"]["quota"]  # type: ignore[index]

    def test_has_the_reasons_of_files_and_of_the_server(self, desktop: Desktop, site: Site) -> None:
        desktop.put_license(b"junk")
        error = refusal(desktop, server="http://127.0.0.1:9")

        assert ("SERVER_UNREACHABLE", ["MALFORMED", "SERVER_UNREACHABLE"]) == (error.code, codes(error))
        assert "(1 licence file does not count either)" in error.message
        assert "127.0.0.1:9 cannot be reached: connection refused" in error.message

    def test_without_an_api_key_says_so(self, desktop: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KEYSEAT_API_KEY")
        error = refusal(desktop)

        assert "NOT_ALLOWED" == error.code
        assert "no API key is set" in error.message
        assert "KEYSEAT_API_KEY_FILE" in error.next_step
        assert "`keyseat login`" in error.next_step

    def test_of_a_wrong_api_key_never_shows_it(self, desktop: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEYSEAT_API_KEY", "ksk_12345678_" + "s" * 38)
        error = refusal(desktop)
        assert ("NOT_ALLOWED", False) == (error.code, "sss" in str(error.to_dict()))

        monkeypatch.setenv("KEYSEAT_API_KEY", "hunter2")
        error = refusal(desktop)
        assert ("INVALID_INPUT", False) == (error.code, "hunter2" in str(error.to_dict()))

    def test_of_a_user_without_a_seat_names_who_can_assign_one(self, desktop: Desktop) -> None:
        sign_in(desktop, "bob-token")
        error = refusal(desktop, "KSE")

        assert ("NOT_ASSIGNED", ["owner@example.com"]) == (error.code, error.details["server"]["ask"])  # type: ignore[index]
        assert "owner@example.com" in error.next_step

    def test_of_a_named_product_with_an_api_key_only_says_to_sign_in(self, desktop: Desktop) -> None:
        error = refusal(desktop, "KSE")

        assert ("NOT_ALLOWED", "Sign in with `keyseat login`.") == (error.code, error.next_step)
        assert "the API key that is set cannot activate a user's seat" in error.message

    def test_of_an_ended_subscription(self, desktop: Desktop) -> None:
        desktop.site.clock.now = shop.END
        assert "SUBSCRIPTION_ENDED" == refusal(desktop).code

    def test_of_a_clock_behind_the_servers_says_to_set_it(self, desktop: Desktop, site: Site) -> None:
        early = site.clock.now - timedelta(minutes=6)
        error = refusal(desktop, clock=lambda: early)

        assert ("CLOCK_ROLLED_BACK", 0, []) == (error.code, used(), desktop.leases())
        assert "Set the clock" in error.next_step

    def test_of_a_member_of_several_organisations_lists_them(self, desktop: Desktop) -> None:
        other = shop.organization("Second Organisation", ADA)
        sign_in(desktop)
        error = refusal(desktop, "KSE")

        assert "INVALID_INPUT" == error.code
        assert f"Second Organisation ({other.pk})" in error.next_step

    def test_of_a_wrong_server_file_names_it(self, desktop: Desktop) -> None:
        desktop.home.mkdir()
        (desktop.home / "server.json").write_text('{"url": "http://example.com"}')
        error = refusal(desktop, server=None)

        assert ("INVALID_INPUT", True) == (error.code, "https" in error.next_step)

    def test_after_a_lease_of_a_server_that_is_named_no_more_tells_of_the_lease(self, desktop: Desktop) -> None:
        desktop.client().check()
        desktop.site.clock.advance(hours=2)
        error = refusal(desktop, server=None)

        assert ("EXPIRED", ["EXPIRED"]) == (error.code, codes(error))


class TestNamedSeats:
    @pytest.fixture(autouse=True)
    def _assigned(self, customer: Organization, desktop: Desktop) -> None:
        shop.assign(customer, "KSE", ADA)
        sign_in(desktop)

    def test_are_their_users(self, desktop: Desktop) -> None:
        found = desktop.client("KSE").check()

        assert ("online", ADA, ["activated"]) == (
            found.source,
            found.user,
            [path.parent.name for path in desktop.leases()],
        )

    def test_move_to_the_machine_activated_last_and_the_first_is_told(self, desktop: Desktop, tmp_path: Path) -> None:
        first = desktop.client("KSE")
        first.check()
        second = Desktop(tmp_path / "other", desktop.site, OTHER_MACHINE)
        sign_in(second)
        second.client("KSE").check()
        desktop.site.clock.advance(minutes=21)

        for _ in range(2):  # it does not take the seat back by itself
            with pytest.raises(NotEntitled) as caught:
                first.check()
            assert "LEASE_ENDED" == caught.value.code
            assert "active on another machine" in caught.value.message
        assert [] == desktop.leases()
        assert "online" == first.activate().source

    @pytest.mark.parametrize("act", ["unassign", "transfer", "remove", "force"])
    def test_end_with_the_reason(self, desktop: Desktop, customer: Organization, act: str) -> None:
        client = desktop.client("KSE")
        session_id = client.check().license_id
        now = desktop.site.clock.advance(minutes=21)
        words = {
            "unassign": "taken from this user",
            "transfer": "moved to another user",
            "remove": "removed from the organisation",
            "force": "an administrator ended",
        }
        if act == "unassign":
            seats.unassign(customer, "KSE", [ADA], actor="test", now=now)
        elif act == "transfer":
            seats.transfer(customer, "KSE", ADA, BOB, actor="test", now=now)
        elif act == "remove":
            members.remove_member(customer, ADA, actor="test", now=now)
        else:
            force_release(customer, [session_id], actor="test", now=now)

        with pytest.raises(NotEntitled) as caught:
            client.check()

        assert "LEASE_ENDED" == caught.value.code
        assert words[act] in caught.value.message

    def test_come_back_online_when_an_offline_licence_ends(self, desktop: Desktop) -> None:
        desktop.put_license(desktop.site.vendor.license(expires_at="2023-06-02T00:00:00Z"))
        client = desktop.client("KSE")
        offline = client.check()
        desktop.site.clock.advance(days=1)
        online = client.check()

        assert ("offline", "online") == (offline.source, online.source)
        assert "Arrange online activation" in offline.warnings[0]
        assert ["EXPIRED"] == [str(reason.code) for reason in online.passed_over]


class TestServerDown:
    def test_holders_of_a_lease_go_on_until_it_ends_and_come_back_by_themselves(
        self, customer: Organization, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KEYSEAT_API_KEY", make_key(customer))
        with serve_here() as site:
            desktop = Desktop(tmp_path / "home", site)
            client = desktop.client()
            first = client.check()
        monkeypatch.setattr(grants, "RENEW_SECONDS", 1.0)
        monkeypatch.setattr(grants, "ACQUIRE_SECONDS", 1.0)
        site.clock.advance(minutes=30)
        still = client.check()
        assert ("lease", first.expires_at) == (still.source, still.expires_at)
        assert "could not be renewed (SERVER_UNREACHABLE" in still.warnings[0]

        site.clock.now = first.expires_at
        error = refusal(desktop)
        assert ("SERVER_UNREACHABLE", ["NO_LICENSE", "EXPIRED", "SERVER_UNREACHABLE"]) == (error.code, codes(error))

        monkeypatch.setattr(grants, "ACQUIRE_SECONDS", 30.0)
        with serve_here(clock=site.clock) as back:
            assert "online" == desktop.client(server=back.url).check().source


class TestWhatTheServerSends:
    """A server that is not the vendor's, or that plays tricks."""

    def test_counts_only_with_the_nonce_just_sent(self, desktop: Desktop, monkeypatch: pytest.MonkeyPatch) -> None:
        desktop.client().activate()
        recorded: list[object] = []
        sent = Transport.request

        def replay(self: Transport, method: str, path: str, *rest: object, **more: object) -> object:
            answer = sent(self, method, path, *rest, **more)  # type: ignore[arg-type]
            if path.endswith("/renew"):
                recorded.append(answer)
                return recorded[0]
            return answer

        monkeypatch.setattr(Transport, "request", replay)
        desktop.site.clock.advance(minutes=25)
        assert "online" == desktop.client().check().source
        desktop.site.clock.advance(minutes=25)
        warned = desktop.client().check()
        assert ("lease", 2) == (warned.source, len(recorded))
        assert "repeats another nonce" in warned.warnings[0]

    def test_is_refused_where_another_vendor_signed_it(self, desktop: Desktop) -> None:
        error = refusal(desktop, trust=Vendor(name="other").bundle)

        assert ("UNKNOWN_KEY", 0, []) == (error.code, used(), desktop.leases())
        assert "does not count: no key of the trust bundle has signed" in error.message

    def test_brings_keys_only_by_the_update_rule(self, desktop: Desktop, site: Site) -> None:
        vendor = site.vendor
        strange = Vendor(name="strange", version=7)
        strange.lease_key = vendor.lease_key  # the server's own bundle would make its leases count

        desktop.site.vendor.__dict__["bundle_bytes"] = strange.bundle_bytes
        pinned = Vendor().bundle_with(Vendor().trusted(Vendor().key))
        error = refusal(desktop, trust=pinned)

        assert ("UNKNOWN_KEY", False) == (error.code, (desktop.home / "trust.json").exists())

    def test_brings_a_newer_bundle_that_both_sets_of_root_keys_signed(self, desktop: Desktop, site: Site) -> None:
        """A client of last year, which does not know this year's lease key, gets to know it."""
        old = Vendor()
        old.lease_key = Key("last year's lease key")
        site.vendor.version = 2
        client = desktop.client(trust=old.bundle)

        found = client.check()

        assert ("online", 2) == (found.source, client.trust.version)
        assert [ACTIVE] == [key.status for key in client.trust.keys if key.purpose == LEASE]
        assert 0o600 == (desktop.home / "trust.json").stat().st_mode & 0o777

    def test_brings_the_newest_bundle_over_two_rotations_of_the_root(self, desktop: Desktop, site: Site) -> None:
        """The newest of forty versions is signed by the third root key alone; the client pins the first."""
        pinned = Vendor().bundle
        rotate(site.vendor, {13: "second", 30: "third"}, newest=40)
        client = desktop.client(trust=pinned)
        with pytest.raises(TrustError):
            pinned.update(site.vendor.bundle_bytes())

        found = client.check()

        assert ("online", 40, ()) == (found.source, client.trust.version, found.warnings)
        assert 40 == desktop.client(trust=pinned).trust.version  # the next start of the program
        assert (40, ()) == (desktop.client(trust=pinned).status().trust_version, desktop.client().status().warnings)

    def test_brings_it_in_several_goes_where_the_way_is_long(
        self, desktop: Desktop, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(grants, "_MOST_STEPS", 3)
        pinned = Vendor().bundle
        rotate(site.vendor, {version: f"root {version}" for version in range(2, 9)}, newest=9)
        seen = []
        for _ in range(4):
            client = desktop.client(trust=pinned)
            client.activate(release_previous=True)
            seen.append(client.trust.version)

        assert seen == sorted(set(seen))
        assert 9 == seen[-1] == desktop.client(trust=pinned).trust.version

    def test_never_brings_an_older_bundle(self, desktop: Desktop, site: Site) -> None:
        pinned = Vendor(version=3).bundle
        client = desktop.client(trust=pinned)

        assert ("online", 3) == (client.check().source, client.trust.version)
        assert not (desktop.home / "trust.json").exists()

    def test_leaves_the_bundle_as_it_is_where_no_older_version_leads_on(self, desktop: Desktop, site: Site) -> None:
        pinned = Vendor().bundle
        rotate(site.vendor, {13: "second", 30: "third"}, newest=40)
        site.vendor.history = {2: Vendor(name="strange", version=2).bundle_bytes()}
        client = desktop.client(trust=pinned)

        assert ("online", 1) == (client.check().source, client.trust.version)
        assert not (desktop.home / "trust.json").exists()

    def test_is_refused_where_a_licence_key_signed_it(self, desktop: Desktop, site: Site) -> None:
        site.vendor.lease_key = site.vendor.key
        error = refusal(desktop, trust=Vendor().bundle)

        assert ("KEY_NOT_VALID", 0) == (error.code, used())


class TestKeptLeases:
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"machine_id": str(OTHER_MACHINE)}, "MACHINE_MISMATCH"),
            ({"machine_id": str(machine(user_id=["1001"], user_name=["bob"]))}, "USER_MISMATCH"),
            ({"product": "KSE", "user": ADA}, "WRONG_PRODUCT"),
            ({"issued_at": "2023-06-01T14:00:00Z", "renew_after": "2023-06-01T15:00:00Z"}, "CLOCK_ROLLED_BACK"),
        ],
    )
    def test_that_are_not_for_this_do_not_count(
        self, desktop: Desktop, site: Site, change: dict[str, str], code: str
    ) -> None:
        times = {
            "issued_at": "2023-06-01T12:00:00Z",
            "renew_after": "2023-06-01T12:20:00Z",
            "expires_at": "2023-06-01T16:00:00Z",
        }
        path = desktop.home / "leases" / "activated" / "KRE_x.lease"
        path.parent.mkdir(parents=True)
        path.write_bytes(site.vendor.lease(**{**times, **change}))

        found = desktop.client().check()

        assert ("online", [code]) == (found.source, [str(reason.code) for reason in found.passed_over])

    def test_that_are_licences_do_not_count(self, desktop: Desktop, site: Site) -> None:
        path = desktop.home / "leases" / "activated" / "KRE_x.lease"
        path.parent.mkdir(parents=True)
        path.write_bytes(site.vendor.license(product="KRE"))

        assert ["UNSUPPORTED_FORMAT"] == [str(reason.code) for reason in desktop.client().check().passed_over]

    def test_keep_the_clock_from_being_set_back(self, desktop: Desktop, site: Site) -> None:
        desktop.client().check()
        early = site.clock.now - timedelta(minutes=10)
        desktop.put_license(site.vendor.license(product="KRE"))

        assert "CLOCK_ROLLED_BACK" == refusal(desktop, clock=lambda: early, online=False).code


class TestActivateAndRelease:
    def test_an_activated_session_stays_until_it_is_released(self, desktop: Desktop) -> None:
        client = desktop.client()
        assert "online" == client.activate().source
        with client.session():
            pass
        assert 1 == used()

        released = client.release()

        assert (1, 0, []) == (len(released.ended), used(), desktop.leases())
        assert ((), (), 0, ()) == client.release()

    def test_activating_again_renews(self, desktop: Desktop) -> None:
        first = desktop.client().activate()
        desktop.site.clock.advance(minutes=1)
        again = desktop.client().activate()

        assert (first.license_id, timedelta(minutes=1)) == (again.license_id, again.expires_at - first.expires_at)

    def test_a_licence_file_goes_first(self, desktop: Desktop) -> None:
        desktop.put_license(desktop.site.vendor.license(product="KRE"))
        assert ("offline", 0) == (desktop.client().activate().source, used())

    def test_release_leaves_what_a_program_holds_and_previous_does_not(self, desktop: Desktop) -> None:
        with desktop.client().session() as session:
            released = desktop.client().release()
            assert ((), session.entitlement.license_id) == (released.ended, released.held[0][0])
            assert 1 == used()

            assert 1 == desktop.client().release(previous=True).previous
            assert 0 == used()

    def test_release_previous_frees_what_was_lost_with_a_machine(self, desktop: Desktop, site: Site) -> None:
        key = desktop.client()._environ["KEYSEAT_API_KEY"]
        for _ in range(2):
            site.acquire(machine=MACHINE, key=key)
        assert "QUOTA_EXCEEDED" == refusal(desktop).code

        assert "online" == desktop.client().activate(release_previous=True).source
        assert 1 == used()

    def test_status_shows_the_lease_and_asks_nobody(self, desktop: Desktop) -> None:
        assert "NO_LICENSE" == desktop.client().status().code
        assert 0 == used()
        activated = desktop.client().activate()

        status = desktop.client().status()

        assert status.entitlement is not None
        assert ("lease", activated.license_id) == (status.entitlement.source, status.entitlement.license_id)
        assert status.online is not None
        assert (desktop.site.url, "API key", [(activated.license_id, True, None)]) == (
            status.online.server,
            status.online.credentials,
            [(lease.session_id, lease.is_activated, lease.held_by) for lease in status.online.leases],
        )
        assert status.to_dict()["online"]["leases"][0]["expires_at"].endswith("Z")  # type: ignore[index]
