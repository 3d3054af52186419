"""`keyseat activate`, `release`, `status`, `login` and `logout` as people read them, against services on loopback."""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from freezegun import freeze_time

import shop
from activation import Clock, Person, Site, make_key, serve_here
from customers import Desktop
from databases import Ledger
from keyseat_issuer.ledger.models import Lease, Organization, Pool
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import add_years, now_utc
from keyseat_shared.trust import LEASE, TrustedKey
from keyseat_verifier.cli import _online, main
from keyseat_verifier.online.config import ServerConfig
from keyseat_verifier.online.credentials import Credentials
from keyseat_verifier.online.oauth import Granted
from keyseat_verifier.online.transport import Transport
from loopback import ASKED, Listener, Script, answer
from vendor import Vendor

pytestmark = pytest.mark.machine

ADA = "ada@example.com"
TOKENS = {"access_token": "ksu_1", "refresh_token": "ksr_1", "expires_in": 600}
Capture = pytest.CaptureFixture[str]


class LastingVendor(Vendor):
    """A vendor whose keys count whenever the test runs: commands go by the real clock."""

    def bundle_bytes(self, *, keys: Sequence[TrustedKey] | None = None, **more: object) -> bytes:  # type: ignore[override]
        end = datetime(2200, 1, 1, tzinfo=UTC)
        own = [self.trusted(self.key, valid_until=end), self.trusted(self.lease_key, LEASE, valid_until=end)]
        return super().bundle_bytes(keys=own if keys is None else keys)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SERVER", "API_KEY", "API_KEY_FILE", "ORGANIZATION", "CA_BUNDLE"):
        monkeypatch.delenv(f"KEYSEAT_{name}", raising=False)
    monkeypatch.setenv("KEYSEAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KEYSEAT_TRUST", str(tmp_path / "trust.json"))
    (tmp_path / "trust.json").write_bytes(LastingVendor().bundle_bytes())
    return tmp_path / "home"


@pytest.fixture
def customer(ledger: Ledger) -> Organization:
    now = now_utc() - timedelta(hours=1)
    made = shop.organization("Example Organisation", ADA, now=now)
    shop.subscribe(made, {"KRE": 2, "KSE": 1}, starts_at=now, ends_at=add_years(now, 1), now=now)
    shop.assign(made, "KSE", ADA, now=now)
    return made


@pytest.fixture
def site(customer: Organization, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("KEYSEAT_API_KEY", make_key(customer, now=now_utc()))
    with serve_here(vendor=LastingVendor(), clock=RealClock(), people={"ada-token": Person(ADA)}) as running:
        monkeypatch.setenv("KEYSEAT_SERVER", running.url)
        yield running


class RealClock(Clock):
    def __call__(self) -> datetime:
        return now_utc()


def sign_in(home: Path, url: str) -> Credentials:
    """Store the tokens that `keyseat login` would have got."""
    found = Credentials(str(home), ServerConfig(url), {}, Transport(url))
    found.store(Granted("ada-token", "refresh", 10**6), now_utc())
    return found


def used(product: str = "KRE") -> int:
    return Pool.objects.get(product=product).used


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
class TestActivate:
    def test_for_an_organisation_that_is_named_does_not_go_on_with_the_lease_of_another(
        self, site: Site, home: Path, customer: Organization, capsys: Capture
    ) -> None:
        now = now_utc()
        other = shop.organization("Second Organisation", ADA, now=now)
        shop.subscribe(other, {"KSE": 1}, starts_at=now, ends_at=add_years(now, 1), now=now)
        shop.assign(other, "KSE", ADA, now=now)
        sign_in(home, site.url)
        for organization in (customer, other, other):
            assert 0 == main(["activate", "--product", "KSE", "--organization", str(organization.pk), "--json"])

        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert ["Example Organisation", "Second Organisation", "Second Organisation"] == [
            activated["organization"] for activated in found
        ]
        assert 2 == len({activated["session_id"] for activated in found})

    def test_tells_for_whom_and_until_when(self, site: Site, home: Path, capsys: Capture) -> None:
        sign_in(home, site.url)

        assert [0, 0] == [main(["activate", "--product", product]) for product in ("KRE", "KSE")]

        first, second, *_ = [line for line in capsys.readouterr().out.splitlines() if "activated" in line]
        assert re.fullmatch(r"KRE: activated online for Example Organisation, until \S+Z", first)
        assert re.fullmatch(rf"KSE: activated online for {ADA}, Example Organisation, until \S+Z", second)
        assert (1, 1) == (used(), used("KSE"))

    def test_says_how_to_give_it_back_and_that_does_it(self, site: Site, capsys: Capture) -> None:
        main(["activate", "--product", "KRE"])
        assert "`keyseat release` gives it back." in capsys.readouterr().out

        assert 0 == main(["release", "--product", "KRE"])
        assert ("KRE: 1 session given back\n", 0) == (capsys.readouterr().out, used())
        assert 0 == main(["release", "--product", "KRE"])
        assert "KRE: no online session is kept here\n" == capsys.readouterr().out

    def test_of_a_machine_with_a_licence_file_needs_no_server(
        self, site: Site, home: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        instance = ["--instance", str(tmp_path / "instance")]
        assert 0 == main(["machine-id", *instance])
        end = f"{now_utc().year + 1}-06-01T00:00:00Z"
        Desktop(home, site).put_license(
            site.vendor.license(
                product="KRE", machine_id=capsys.readouterr().out.strip(), expires_at=end, subscription__ends_at=end
            )
        )

        assert 0 == main(["activate", "--product", "KRE", *instance])

        assert f"KRE: a licence file entitles until {end}; nothing to activate\n" == capsys.readouterr().out
        assert 0 == used()

    def test_while_the_server_is_away_keeps_the_lease_and_warns(
        self, customer: Organization, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        monkeypatch.setenv("KEYSEAT_API_KEY", make_key(customer, now=now_utc()))
        with serve_here(vendor=LastingVendor(), clock=RealClock()) as running:
            monkeypatch.setenv("KEYSEAT_SERVER", running.url)
            main(["activate", "--product", "KRE"])
        capsys.readouterr()

        assert 0 == main(["activate", "--product", "KRE"])

        assert "warning: The lease could not be renewed (SERVER_UNREACHABLE: " in capsys.readouterr().out

    def test_refused_tells_each_reason_and_what_to_do(self, site: Site, home: Path, capsys: Capture) -> None:
        Desktop(home, site).put_license(b"junk")

        assert 1 == main(["activate", "--product", "KSE"])

        out, err = capsys.readouterr()
        assert "" == out
        assert "NOT_ALLOWED: KSE is licensed to users, and nobody is signed in" in err
        assert re.search(r"^  \S+a\.lic: MALFORMED, ", err, re.MULTILINE)
        assert re.search(rf"^  {re.escape(site.url)}: NOT_ALLOWED, ", err, re.MULTILINE)
        assert err.endswith("Sign in with `keyseat login`.\n")

    def test_without_a_product_lists_those_there_are(self, site: Site, capsys: Capture) -> None:
        assert 2 == main(["activate"])
        assert "--product is missing; the vendor has KRE, KSE" in capsys.readouterr().err

    def test_takes_server_key_and_organisation_from_its_options(
        self,
        site: Site,
        customer: Organization,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: Capture,
    ) -> None:
        key = tmp_path / "key"
        key.write_text(make_key(customer, now=now_utc()) + "\n")
        monkeypatch.setenv("KEYSEAT_API_KEY", "ksk_another")
        monkeypatch.setenv("KEYSEAT_SERVER", "http://127.0.0.1:9")
        options = ["--server", site.url, "--api-key-file", str(key), "--organization", str(customer.pk)]

        assert 0 == main(["activate", "--product", "KRE", *options, "--json"])
        assert "online" == json.loads(capsys.readouterr().out)["source"]

    def test_before_and_after_an_instance_id_was_made_is_one_seat(self, site: Site) -> None:
        activate = ["activate", "--product", "KRE"]

        assert [0, 0, 0] == [main(command) for command in (activate, ["machine-id", "--instance"], activate)]

        assert 1 == used()

    def test_after_release_previous_has_one_session_again(self, site: Site) -> None:
        assert [0, 0] == [main(["activate", "--product", "KRE", "--release-previous"]) for _ in range(2)]
        assert 1 == used()


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
class TestRelease:
    def test_leaves_what_a_program_holds_and_names_it(self, site: Site, home: Path, capsys: Capture) -> None:
        client = Desktop(home, site).client("KRE", machine=None, clock=now_utc)
        with client.session():
            assert 0 == main(["release", "--product", "KRE"])
            assert re.fullmatch(
                r"KRE: session \S+ is held by process \d+: it gives it back itself\n", capsys.readouterr().out
            )
            assert 0 == main(["status", "--product", "KRE"])
            assert re.search(r"online session  \S+ until \S+, held by process \d+\n", capsys.readouterr().out)

            assert 0 == main(["release", "--product", "KRE", "--previous"])
            assert ("KRE: 1 session given back\n", 0) == (capsys.readouterr().out, used())

    def test_of_all_products_goes_by_what_is_signed_in(self, site: Site, home: Path, capsys: Capture) -> None:
        """With an API key alone nothing can be asked about users' seats, and that is no failure."""
        main(["activate", "--product", "KRE"])
        capsys.readouterr()

        assert 0 == main(["release", "--previous", "--json"])

        assert [("KRE", 1)] == [
            (found["product"], found["previous"]) for found in json.loads(capsys.readouterr().out)["products"]
        ]
        assert 1 == main(["release", "--previous", "--product", "KSE"])
        assert "nobody is signed in" in capsys.readouterr().err

    def test_tells_what_was_begun_by_somebody_else_and_gives_back_the_rest(
        self, site: Site, home: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        main(["activate", "--product", "KRE"])
        sign_in(home, site.url)
        monkeypatch.delenv("KEYSEAT_API_KEY")
        main(["activate", "--product", "KSE"])
        capsys.readouterr()

        assert 1 == main(["release"])

        told = capsys.readouterr()
        assert re.fullmatch(
            r"KRE: session \S+ was begun by somebody else than who asks now, and stays until \S+Z\n"
            r"KSE: 1 session given back\n",
            told.out,
        )
        assert "with the API key, or signed in as the user" in told.err
        assert ["KRE"] == [path.name[:3] for path in Desktop(home, site).leases()]
        assert 1 == main(["release", "--product", "KRE", "--json"])
        found = json.loads(capsys.readouterr().out)
        assert (False, "NOT_ALLOWED", 1) == (found["ok"], found["code"], len(found["products"][0]["foreign"]))

    def test_gives_back_with_the_key_what_the_key_began_also_after_somebody_else_has_activated(
        self, site: Site, home: Path, customer: Organization, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop.assign(customer, "KRE", ADA, now=now_utc())
        key = os.environ["KEYSEAT_API_KEY"]
        main(["activate", "--product", "KRE"])
        sign_in(home, site.url)
        monkeypatch.delenv("KEYSEAT_API_KEY")
        main(["activate", "--product", "KRE"])
        assert 2 == len(Desktop(home, site).leases())

        assert 1 == main(["release", "--product", "KRE"])
        monkeypatch.setenv("KEYSEAT_API_KEY", key)
        assert 0 == main(["release", "--product", "KRE"])
        assert ([], 0) == (Desktop(home, site).leases(), Lease.objects.filter(ended_at=None).count())

    def test_without_a_server_cannot_be_done(self, home: Path, capsys: Capture, ledger: Ledger) -> None:
        assert 3 == main(["release", "--previous", "--product", "KRE", "--json"])
        found = json.loads(capsys.readouterr().out)
        assert ("SERVER_UNREACHABLE", "no licence server is named") == (found["code"], found["message"])


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
class TestStatus:
    def test_shows_server_credentials_and_the_lease(self, site: Site, capsys: Capture) -> None:
        main(["activate", "--product", "KRE"])
        capsys.readouterr()

        assert 0 == main(["status"])

        out = capsys.readouterr().out
        assert f"server          {site.url}, credentials: API key" in out
        assert re.search(r"^KRE: entitled \(lease\) until \S+Z$", out, re.MULTILINE)
        assert re.search(r"^  online session  \S+ until \S+Z, activated$", out, re.MULTILINE)
        assert "KSE: not entitled, NO_LICENSE" in out
        assert "next: Activate online (`keyseat activate --product KSE`)" in out

    def test_shows_a_session_that_a_killed_program_left_behind(self, site: Site, home: Path, capsys: Capture) -> None:
        client = Desktop(home, site).client("KRE", machine=None, clock=now_utc)
        with client.session():
            (lease,) = Desktop(home, site).leases()
            left = (lease, lease.read_bytes())
        left[0].write_bytes(left[1])

        assert 0 == main(["status", "--product", "KRE"])
        assert re.search(r"online session  \S+ until \S+, held by no program\n", capsys.readouterr().out)

    def test_says_what_is_wrong_with_the_servers_address(
        self, monkeypatch: pytest.MonkeyPatch, capsys: Capture, ledger: Ledger
    ) -> None:
        monkeypatch.setenv("KEYSEAT_SERVER", "http://licenses.example.com")
        assert 1 == main(["status", "--product", "KRE"])
        assert (
            "server          INVALID_INPUT: 'http://licenses.example.com' is not the address of a server"
            in capsys.readouterr().out
        )


@contextlib.contextmanager
def scripted(*values: tuple[object, str]) -> Iterator[tuple[str, Script]]:
    script = Script(*[answer(json.dumps(value).encode(), status) for value, status in values])
    with Listener(script).accepting() as listener:
        yield f"http://127.0.0.1:{listener.port}", script


class TestLogin:
    def test_shows_page_and_code_and_keeps_tokens_and_address(self, home: Path, capsys: Capture) -> None:
        with scripted((ASKED, "200 OK"), (TOKENS, "200 OK")) as (url, script):
            assert 0 == main(["login", "--server", url])

        out, err = capsys.readouterr()
        assert f"signed in at {url}\n" == out
        assert [
            "Open https://licenses.example/device in a browser and enter the code BCDF-GHJK",
            "or open https://licenses.example/device?user_code=BCDF-GHJK",
            "Waiting for up to 15 minutes (Ctrl-C stops) ...",
        ] == err.splitlines()
        assert {"url": url} == json.loads((home / "server.json").read_text())
        assert "ksr_1" == json.loads((home / "credentials.json").read_text())["refresh_token"]
        assert b"device_name=" in script.requests[0][1]

    def test_refused_in_the_browser_is_exit_1(self, home: Path, capsys: Capture) -> None:
        denied = {"error": "access_denied"}
        with scripted((ASKED, "200 OK"), (denied, "400 Bad Request")) as (url, _):
            assert 1 == main(["login", "--server", url])

        err = capsys.readouterr().err
        assert "NOT_ALLOWED: the sign-in was refused in the browser" in err
        assert err.endswith("Run `keyseat login` again.\n")
        assert not (home / "credentials.json").exists()

    def test_on_a_machine_whose_name_is_no_text_names_it_as_well_as_it_can(
        self, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="b\udcfcro"))
        with scripted((ASKED, "200 OK"), (TOKENS, "200 OK")) as (url, script):
            assert 0 == main(["login", "--server", url])

        assert b"device_name=b%3Fro" in script.requests[0][1]

    def test_asks_nobody_to_approve_what_could_not_be_kept(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("KEYSEAT_HOME", str(tmp_path / "file" / "home"))
        with scripted() as (url, script):
            assert 3 == main(["login", "--server", url])

        assert "credentials.json cannot be written: not a directory" in capsys.readouterr().err
        assert [] == script.requests

    @pytest.mark.parametrize("word", ["login", "logout"])
    def test_without_a_server_says_how_to_name_it(self, word: str, capsys: Capture) -> None:
        assert 2 == main([word])
        err = capsys.readouterr().err
        assert "no licence server is named" in err
        assert "`keyseat login --server URL`" in err

    def test_of_a_server_that_is_away_is_exit_3(self, capsys: Capture) -> None:
        assert 3 == main(["login", "--server", "http://127.0.0.1:9", "--json"])
        assert "SERVER_UNREACHABLE" == json.loads(capsys.readouterr().out)["code"]


class TestLogout:
    def test_tells_the_server_and_removes_the_tokens(self, home: Path, capsys: Capture) -> None:
        with scripted(({}, "200 OK")) as (url, script):
            sign_in(home, url)
            assert [0, 0] == [main(["logout", "--server", url]) for _ in range(2)]

        assert [f"signed out at {url}", f"nobody is signed in at {url}"] == capsys.readouterr().out.splitlines()
        assert [b"client_id=keyseat&token=refresh"] == [body for _, body in script.requests]

    def test_removes_the_tokens_also_where_the_server_is_away(self, home: Path, capsys: Capture) -> None:
        found = sign_in(home, "http://127.0.0.1:9")

        assert 3 == main(["logout", "--server", "http://127.0.0.1:9"])

        assert found.tokens() is None
        assert "cannot be reached" in capsys.readouterr().err


class TestTryingAgain:
    @pytest.fixture
    def clock(self) -> SimpleNamespace:
        """A steady clock that only pauses move."""
        found = SimpleNamespace(now=0.0, pauses=[])

        def pause(seconds: float) -> None:
            found.pauses.append(seconds)
            found.now += seconds

        found.pause = pause
        return found

    def asking(self, *outcomes: ReasonCode | str) -> object:
        left = list(outcomes)

        def ask() -> object:
            outcome = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(outcome, ReasonCode):
                raise KeyseatError(outcome, "no seat is free")
            return outcome

        return ask

    def patiently(self, clock: SimpleNamespace, limit: float, *outcomes: ReasonCode | str) -> object:
        ask = self.asking(*outcomes)
        return _online.patiently(ask, limit, pause=clock.pause, clock=lambda: clock.now)  # type: ignore[arg-type]

    def test_goes_on_while_waiting_can_help(self, clock: SimpleNamespace, capsys: Capture) -> None:
        full, away = ReasonCode.QUOTA_EXCEEDED, ReasonCode.SERVER_UNREACHABLE
        assert "yes" == self.patiently(clock, 1200, full, away, full, "yes")

        assert 3 == len(clock.pauses)
        assert all(low <= pause <= high for pause, low, high in zip(clock.pauses, (3, 6, 12), (5, 10, 20), strict=True))
        said = capsys.readouterr().err.splitlines()
        assert re.fullmatch(r"QUOTA_EXCEEDED: no seat is free; trying again in \d s", said[0])

    @pytest.mark.parametrize(
        ("free_at", "most"), [("2023-06-01T12:01:00Z", 62), ("2023-06-01T11:00:00Z", 5), ("soon", 300), (7, 300)]
    )
    def test_waits_no_longer_than_until_a_seat_is_free(
        self, clock: SimpleNamespace, free_at: object, most: float
    ) -> None:
        def ask() -> object:
            error = KeyseatError(ReasonCode.QUOTA_EXCEEDED, "leases run on")
            error.details["server"] = {"free_at": free_at}
            raise error

        with freeze_time(shop.NOW), pytest.raises(KeyseatError):
            _online.patiently(ask, 1200, pause=clock.pause, clock=lambda: clock.now)  # type: ignore[arg-type]

        assert min(most, 59) <= max(clock.pauses) <= most

    def test_ends_before_its_time_is_over(self, clock: SimpleNamespace) -> None:
        with pytest.raises(KeyseatError):
            self.patiently(clock, 1200, ReasonCode.QUOTA_EXCEEDED)

        assert 600 < clock.now <= 1200
        assert max(clock.pauses) <= 300

    @pytest.mark.parametrize("code", [ReasonCode.NOT_ALLOWED, ReasonCode.NOT_ASSIGNED, ReasonCode.MACHINE_MISMATCH])
    def test_ends_at_once_where_waiting_cannot_help(self, clock: SimpleNamespace, code: ReasonCode) -> None:
        with pytest.raises(KeyseatError):
            self.patiently(clock, 1200, code, "yes")

        assert [] == clock.pauses

    def test_is_off_by_default(self, clock: SimpleNamespace) -> None:
        with pytest.raises(KeyseatError):
            self.patiently(clock, _online.minutes({}), ReasonCode.QUOTA_EXCEEDED, "yes")

    @pytest.mark.parametrize("text", ["0", "20"])
    def test_takes_up_to_twenty_minutes(self, text: str) -> None:
        assert int(text) == _online.minutes({"--retry-minutes": text})

    @pytest.mark.parametrize("text", ["21", "-1", "1.5", "", "\u0663", "9" * 5000])
    def test_refuses_other_times(self, text: str, capsys: Capture) -> None:
        assert 2 == main(["activate", "--product", "KRE", f"--retry-minutes={text}"])
        assert "--retry-minutes takes 0 to 20, not " in capsys.readouterr().err
