"""`keyseat-issuer serve` and `api-key` as an operator uses them: real processes, real key files, real HTTP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from activation import Clock, Site, lease_of, problem
from databases import Ledger
from issuing import PASSPHRASE
from keyseat_issuer.cli import main
from keyseat_issuer.trust.admin import TrustAdmin
from keyseat_shared.instants import now_utc
from keyseat_shared.trust import LICENSE, TrustBundle
from serve_command import PROGRAM, START, Server
from vendor import Vendor

SQLITE = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


@pytest.fixture
def site(ledger: Ledger, home: Path) -> Iterator[Site]:
    server = Server(ledger, home)
    site = Site(server.url, Clock(), Vendor(), answer("api-key", "create", "Example Organisation")["api_key"])
    try:
        yield site
    finally:
        site.http.close()
        code = server.stop()
    assert 0 == code, server.log.read_text()


def answer(*args: str, code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(main, [*args, "--json"], catch_exceptions=False)
    assert code == result.exit_code, result.stdout + result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refused(ledger: Ledger, home: Path, *options: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "serve", "--bind", "127.0.0.1:0", *options],
        env=ledger.env | {"KEYSEAT_ISSUER_HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


class TestServing:
    @pytest.mark.both_databases
    def test_gives_leases_that_verify_by_the_issuers_own_trust_bundle_and_stops_when_asked(
        self, site: Site, home: Path
    ) -> None:
        acquired = site.acquire()

        assert 201 == acquired.status_code
        assert "KRE" == lease_of(acquired, TrustBundle.load(home / "trust.json")).product
        assert 204 == site.release(acquired.json()["session_id"]).status_code
        assert (home / "trust.json").read_bytes() == site.call("GET", "/api/v1/trust").content

    @SQLITE
    def test_hands_out_older_versions_of_the_bundle_and_none_that_is_not_in_force(self, site: Site, home: Path) -> None:
        first = (home / "trust.json").read_bytes()
        (home / "trust" / "2.json").write_bytes(b"left behind by a change that was cut short")
        assert [200, 404] == [site.call("GET", f"/api/v1/trust/{number}").status_code for number in (1, 2)]

        admin = TrustAdmin(home, PASSPHRASE, actor="test", now=now_utc())
        admin.add_key(LICENSE)
        until = time.monotonic() + START
        while site.call("GET", "/api/v1/trust").content == first:
            assert time.monotonic() < until
            time.sleep(0.5)  # it looks once a second, and counts calls without a token

        assert first == site.call("GET", "/api/v1/trust/1").content
        assert (home / "trust.json").read_bytes() == site.call("GET", "/api/v1/trust/2").content
        assert "NOT_FOUND" == site.call("GET", "/api/v1/trust/3").json()["code"]

    @SQLITE
    def test_sessions_are_listed_and_a_stuck_one_is_ended_by_force(self, site: Site) -> None:
        session = site.acquire().json()["session_id"]

        listed = answer("session", "list", "Example Organisation", "--product", "KRE")["sessions"]
        ended = [answer("session", "end", "Example Organisation", session)["ended"] for _ in range(2)]

        assert [(session, "KRE")] == [(entry["session_id"], entry["product"]) for entry in listed]
        assert [[session], []] == ended
        assert (410, "LEASE_ENDED", "FORCED") == problem(site.renew(session))
        assert [] == answer("session", "list", "Example Organisation")["sessions"]
        assert "INVALID_INPUT" == answer("session", "end", "Example Organisation", "nonsense", code=2)["code"]
        unknown = "01890a5d-ac96-774b-bcce-b302099a8057"
        assert "NOT_FOUND" == answer("session", "end", "Example Organisation", unknown, code=1)["code"]

    @SQLITE
    def test_takes_up_a_new_policy_without_a_restart(self, site: Site, home: Path) -> None:
        answer("policy", "set", "--lease-ttl", "7200", "--renew-after", "600")

        until = time.monotonic() + START
        while time.monotonic() < until:
            lease = lease_of(site.acquire(release_previous=True), TrustBundle.load(home / "trust.json"))
            if (lease.expires_at - lease.issued_at).total_seconds() == 7200:
                break

        assert (7200, 600) == (
            (lease.expires_at - lease.issued_at).total_seconds(),
            (lease.renew_after - lease.issued_at).total_seconds(),
        )

    @SQLITE
    def test_with_several_workers_goes_on_when_one_dies(self, ledger: Ledger, home: Path) -> None:
        server = Server(ledger, home, "--workers", "2")
        assert "no mail is sent: EMAIL_URL is not set" in server.log.read_text()
        key = answer("api-key", "create", "Example Organisation")["api_key"]
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        if not children.exists():
            pytest.skip("this kernel does not list a process's children")
        before = children.read_text().split()

        os.kill(int(before[0]), signal.SIGKILL)

        site = Site(server.url, Clock(), Vendor(), key)
        for _ in range(20):
            assert 201 == site.acquire(release_previous=True).status_code
        until = time.monotonic() + START
        while len(after := children.read_text().split()) < 2:
            assert time.monotonic() < until
        site.http.close()
        assert before[0] not in after
        assert 0 == server.stop()

    @SQLITE
    def test_answers_pages_beside_the_api(self, site: Site) -> None:
        assert 200 == site.http.get(f"{site.url}/sign-in", follow_redirects=True).status_code


@SQLITE
class TestRefusingToServe:
    def test_with_a_trust_bundle_that_is_not_on_record(self, ledger: Ledger, home: Path) -> None:
        (home / "trust.json").write_bytes(Vendor().bundle_bytes())

        code, told = refused(ledger, home, KEYSEAT_PASSPHRASE_FILE=str(home / "passphrase"))

        assert (3, True) == (code, "TRUST_INVALID" in told)

    def test_without_an_issuer_says_how_to_make_one(self, ledger: Ledger, tmp_path: Path) -> None:
        code, told = refused(ledger, tmp_path / "nothing")

        assert (3, True) == (code, "keyseat-issuer init" in told)

    def test_on_a_ledger_that_is_not_migrated_says_the_command(
        self, ledger: Ledger, home: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "empty.sqlite3").touch()

        code, told = refused(ledger, home, DATABASE_URL=f"sqlite:///{tmp_path / 'empty.sqlite3'}")

        assert (3, True) == (code, "keyseat-issuer migrate" in told)

    def test_with_a_wrong_passphrase(self, ledger: Ledger, home: Path) -> None:
        (home / "passphrase").write_text("not the passphrase")

        code, told = refused(ledger, home, KEYSEAT_PASSPHRASE_FILE=str(home / "passphrase"))

        assert (3, True) == (code, "KEY_UNAVAILABLE" in told)

    def test_without_a_passphrase_and_nobody_to_ask(self, ledger: Ledger, home: Path) -> None:
        environment = {name: value for name, value in ledger.env.items() if name != "KEYSEAT_PASSPHRASE_FILE"}

        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "serve"],
            env=environment | {"KEYSEAT_ISSUER_HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=START,
            check=False,
            stdin=subprocess.DEVNULL,
        )

        assert (3, True) == (done.returncode, "--passphrase-file" in done.stderr)

    @pytest.mark.parametrize(
        ("setting", "code", "told"),
        [
            ({"bind": "nonsense"}, 2, "HOST:PORT"),
            ({"KEYSEAT_RATE_LIMIT": "often"}, 2, "KEYSEAT_RATE_LIMIT"),
            ({"KEYSEAT_TRUSTED_PROXIES": "many"}, 2, "KEYSEAT_TRUSTED_PROXIES"),
            ({"bind": "192.0.2.1:8000"}, 3, "--bind"),
        ],
    )
    def test_with_a_wrong_setting_names_it(
        self, ledger: Ledger, home: Path, setting: dict[str, str], code: int, told: str
    ) -> None:
        bind = ["--bind", setting.pop("bind")] if "bind" in setting else []
        found, text = refused(ledger, home, *bind, **setting, KEYSEAT_PASSPHRASE_FILE=str(home / "passphrase"))

        assert (code, True) == (found, told in text), text


class TestApiKeys:
    @pytest.mark.both_databases
    def test_are_shown_once_and_listed_without_their_secret(self, home: Path) -> None:
        made = answer("api-key", "create", "Example Organisation", "--name", "CI", "--expires", "2099-12-31")
        listed = answer("api-key", "list")["api_keys"]

        assert made["api_key"].startswith(f"ksk_{made['prefix']}_")
        assert [(made["prefix"], "CI", ["sessions"], "active", "2100-01-01T00:00:00Z")] == [
            (key["prefix"], key["name"], key["scopes"], key["state"], key["expires_at"]) for key in listed
        ]
        assert made["api_key"][13:] not in json.dumps(listed)

    def test_that_are_revoked_are_listed_as_such(self, home: Path) -> None:
        made = answer("api-key", "create", "Example Organisation", "--scope", "sessions", "--scope", "audit:read")

        answer("api-key", "revoke", made["prefix"])

        assert ["revoked"] == [key["state"] for key in answer("api-key", "list", "Example Organisation")["api_keys"]]

    def test_tell_which_scopes_there_are(self, home: Path) -> None:
        refusal = answer("api-key", "create", "Example Organisation", "--scope", "everything", code=2)

        assert ("INVALID_INPUT", True) == (refusal["code"], "sessions" in refusal["details"]["scopes"])

    def test_that_do_not_exist_cannot_be_revoked(self, home: Path) -> None:
        assert "NOT_FOUND" == answer("api-key", "revoke", "00000000", code=1)["code"]

    def test_that_would_be_born_expired_are_not_made(self, home: Path) -> None:
        refusal = answer("api-key", "create", "Example Organisation", "--expires", "2020-01-01", code=1)

        assert "EXPIRY_IN_PAST" == refusal["code"]


@SQLITE
def test_a_revoked_key_stops_working_within_seconds(site: Site) -> None:
    assert 201 == site.acquire().status_code
    answer("api-key", "revoke", site.key[4:12])

    until = time.monotonic() + START
    while (last := site.acquire(release_previous=True)).status_code == 201:
        assert time.monotonic() < until

    assert (401, "NOT_ALLOWED", "revoked") == problem(last)
