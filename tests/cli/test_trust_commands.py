"""`init`, `keys`, `trust` and `policy` as a vendor types them."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pytest_django.plugin import DjangoDbBlocker
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner, Key, SSlibKey

import databases
from issuing import PASSPHRASE, cheap_scrypt
from keyseat_issuer.cli import main
from keyseat_issuer.home import load_trust
from keyseat_issuer.keys.store import parse_private_key
from keyseat_issuer.server import creation
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import format_instant, now_utc
from keyseat_shared.trust import COMPROMISED, RETIRED, TrustBundle
from vendor import MACHINE

MODULE = "import sys; from keyseat_issuer.cli import main; sys.argv[0] = 'keyseat-issuer'; main()"


@pytest.fixture
def home(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Path]:
    """A home that does not exist yet; its ledger will be the SQLite file in it."""
    cheap_scrypt(monkeypatch)
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    passphrase.chmod(0o600)
    folder = tmp_path / "issuer"
    monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(folder))
    monkeypatch.setenv("KEYSEAT_PASSPHRASE_FILE", str(passphrase))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    databases.point_at(f"sqlite:///{folder / 'ledger.sqlite3'}")
    with django_db_blocker.unblock():
        yield folder
        databases.close_all()


def run(*args: str) -> Result:
    return CliRunner().invoke(main, list(args), catch_exceptions=False)


def answer(*args: str) -> dict[str, Any]:
    """Run with ``--json`` and return the one object of a success."""
    result = run(*args, "--json")
    assert 0 == result.exit_code, result.stdout + result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture
def made(home: Path, issuer_template: Path) -> Path:
    """A home with an issuer."""
    shutil.copytree(issuer_template, home)
    return home


def keyid(purpose: str = "license") -> str:
    return next(row["keyid"] for row in answer("keys", "list")["keys"] if row["purpose"] == purpose)


class TestInit:
    def test_it_makes_keys_bundle_and_ledger_with_the_vendors_policy(self, home: Path) -> None:
        found = answer("init", "--vendor", "Acme")
        assert (1, "2024-01-17T00:00:00Z") == (found["trust_version"], found["sunset"])
        trust = TrustBundle.load(home / "trust.json")
        assert ("Acme", ("annual",)) == (trust.vendor, trust.policy.eligible_terms)
        assert {".lock", "keys", "ledger.sqlite3", "trust", "trust.json"} >= {path.name for path in home.iterdir()}

    def test_nothing_in_it_is_for_others(self, made: Path) -> None:
        loose = [path for path in [made, *made.rglob("*")] if stat.S_IMODE(path.stat().st_mode) & 0o077]
        assert [] == loose

    @pytest.mark.usefixtures("home")
    def test_it_warns_that_offline_generation_has_ended(self) -> None:
        assert "offline licence generation ended at 2024-01-17T00:00:00Z" in run("init").stderr

    def test_another_vendor_has_no_sunset_and_products_of_its_own(self, home: Path) -> None:
        result = run(
            "init", "--no-sunset", "--product", "APP=named,My App", "--product", "CI=floating,unlimited,Runner"
        )
        assert (0, "") == (result.exit_code, result.stderr)
        policy = load_trust(home).policy
        assert (None, {"APP", "CI"}) == (policy.sunset, set(policy.products))
        assert ("floating", "unlimited") == (policy.products["CI"].seats, policy.products["CI"].assigned_users)

    def test_it_never_overwrites(self, made: Path) -> None:
        before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
        result = run("init")
        assert 1 == result.exit_code
        assert result.stderr.startswith("ALREADY_EXISTS: ")
        assert before == {path: path.read_bytes() for path in before}

    def test_an_empty_folder_is_taken(self, home: Path) -> None:
        home.mkdir()
        assert 0 == run("init").exit_code

    def test_of_two_at_once_the_slower_says_that_there_is_one(self, made: Path, tmp_path: Path) -> None:
        building = tmp_path / "building"
        building.mkdir()
        with pytest.raises(KeyseatError, match="there is an issuer in") as refused:
            creation._take_the_name(building, made)
        assert ReasonCode.ALREADY_EXISTS is refused.value.code

    def test_a_failure_on_the_way_leaves_nothing(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(creation, "migrate", fail)
        result = run("init")
        assert 3 == result.exit_code
        assert result.stderr.startswith("UNREADABLE: ")
        assert ["passphrase"] == [path.name for path in home.parent.iterdir()]

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (("--sunset", "soon"), "'soon' is not a date"),
            (("--sunset", "2030-01-01", "--no-sunset"), "exclude each other"),
            (("--product", "APP=nmaed,My App"), "did you mean 'named'"),
            (("--product", "A B=named,My App"), "product is not a short name"),
            (("--vendor", ""), "vendor's name"),
        ],
    )
    def test_wrong_values_are_explained(self, home: Path, args: tuple[str, ...], message: str) -> None:
        result = run("init", *args)
        assert 2 == result.exit_code
        assert message in result.stderr
        assert not home.exists()

    def test_the_real_program_makes_an_issuer_and_works_on_it(self, tmp_path: Path) -> None:
        passphrase = tmp_path / "passphrase"
        passphrase.write_text(PASSPHRASE)
        passphrase.chmod(0o600)
        kept = {k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "DJANGO_SETTINGS_MODULE"}}
        env = kept | {"KEYSEAT_ISSUER_HOME": str(tmp_path / "home"), "KEYSEAT_PASSPHRASE_FILE": str(passphrase)}

        def program(*args: str) -> dict[str, Any]:
            done = subprocess.run(
                [sys.executable, "-c", MODULE, *args, "--json"], capture_output=True, check=True, env=env, text=True
            )
            found: dict[str, Any] = json.loads(done.stdout)
            return found

        assert 1 == program("init", "--no-sunset")["trust_version"]
        assert 2 == program("keys", "add", "--purpose", "lease")["trust_version"]


class TestKeys:
    @pytest.mark.usefixtures("made")
    def test_list_says_whether_the_private_half_is_here(self) -> None:
        rows = answer("keys", "list")["keys"]
        assert ["root", "license", "lease"] == [row["purpose"] for row in rows]
        Path(rows[0]["private_key"]).unlink()
        assert answer("keys", "list")["keys"][0]["private_key"] is None
        assert "not here" in run("keys", "list").stdout

    def test_a_key_file_that_others_can_read_is_warned_about(self, made: Path) -> None:
        next((made / "keys").glob("license-*")).chmod(0o644)
        for command in (("list",), ("add", "--purpose", "lease")):
            assert "others can read the key file" in run("keys", *command).stderr

    def test_add_then_retire_is_a_rotation(self, made: Path) -> None:
        old = keyid()
        new = answer("keys", "add", "--purpose", "license", "--valid-for", "30")
        assert 3 == answer("keys", "retire", old[:10])["trust_version"]
        statuses = {key.key.keyid: key.status for key in load_trust(made).keys}
        assert (RETIRED, "active") == (statuses[old], statuses[new["keyid"]])

    @pytest.mark.usefixtures("made")
    def test_a_key_near_its_end_is_mentioned(self) -> None:
        new = answer("keys", "add", "--purpose", "lease", "--valid-for", "30")
        assert f"Warning: {new['keyid']} signs until" in run("keys", "list").stderr

    @pytest.mark.usefixtures("made")
    def test_retiring_the_last_key_warns(self) -> None:
        assert "Warning: the trust bundle has no active ed25519 license key" in run("keys", "retire", keyid()).stderr

    @pytest.mark.usefixtures("made")
    def test_a_wrong_passphrase_is_could_not(self, tmp_path: Path) -> None:
        wrong = tmp_path / "wrong"
        wrong.write_text("not the passphrase")
        wrong.chmod(0o600)
        result = run("keys", "add", "--purpose", "lease", "--passphrase-file", str(wrong))
        assert 3 == result.exit_code
        assert result.stderr.startswith("KEY_UNAVAILABLE: wrong passphrase")

    @pytest.mark.usefixtures("made")
    def test_an_unknown_key_is_told(self) -> None:
        result = run("keys", "retire", "beef")
        assert 1 == result.exit_code
        assert "keyseat-issuer keys list" in result.stderr

    @pytest.mark.usefixtures("home")
    def test_without_an_issuer_it_says_init(self) -> None:
        result = run("keys", "list")
        assert 3 == result.exit_code
        assert "keyseat-issuer init" in result.stderr

    @pytest.mark.usefixtures("made")
    def test_half_a_remote_key_is_wrong_usage(self) -> None:
        assert 2 == run("keys", "add", "--purpose", "license", "--uri", "hv:1").exit_code


class TestTrust:
    @pytest.mark.usefixtures("made")
    def test_show_tells_digest_keys_and_policy(self) -> None:
        found = answer("trust", "show")
        assert (1, "Example Vendor", 3) == (found["version"], found["vendor"], len(found["keys"]))
        assert found["digest"] in run("trust", "show").stdout

    def test_export_writes_what_clients_build_in(self, made: Path, tmp_path: Path) -> None:
        answer("trust", "rotate")
        target = tmp_path / "out" / "trust.json"
        target.parent.mkdir()
        assert str(target) == answer("trust", "export", str(target.parent))["file"]
        assert TrustBundle.load(target) == load_trust(made)
        answer("trust", "export", str(target), "--version", "1")
        assert 1 == TrustBundle.load(target).version
        assert 0o644 == stat.S_IMODE(target.stat().st_mode) | 0o044

    @pytest.mark.usefixtures("made")
    def test_export_of_an_unknown_version_is_told(self, tmp_path: Path) -> None:
        assert 1 == run("trust", "export", str(tmp_path / "x"), "--version", "7").exit_code

    @pytest.mark.usefixtures("made")
    def test_export_into_a_missing_folder_is_could_not(self, tmp_path: Path) -> None:
        result = run("trust", "export", str(tmp_path / "none" / "trust.json"))
        assert 3 == result.exit_code
        assert result.stderr.startswith("UNREADABLE: cannot write")

    def test_revoking_needs_a_confirmation(self, made: Path) -> None:
        result = run("trust", "revoke-key", keyid())
        assert 1 == result.exit_code
        assert "NOT_CONFIRMED" in result.stderr
        assert 1 == load_trust(made).version

    def test_a_revoked_key_is_compromised(self, made: Path) -> None:
        found = answer("trust", "revoke-key", keyid(), "--yes")
        assert (COMPROMISED, COMPROMISED) == (found["status"], load_trust(made).keys[0].status)


class TestRenewing:
    def test_makes_versions_that_get_stale_and_says_until_when(self, made: Path) -> None:
        assert 2 == run("trust", "renew").exit_code
        assert 2 == run("trust", "renew", "--fresh-days", "9", "--never-stale").exit_code
        found = answer("trust", "renew", "--fresh-days", "90")
        assert 2 == found["trust_version"]
        assert (
            found["fresh_until"]
            == answer("trust", "show")["fresh_until"]
            == format_instant(load_trust(made).issued_at + timedelta(days=90))
        )
        shown = run("trust", "show")
        assert (f"fresh until {found['fresh_until']}" in shown.stdout, "") == (True, shown.stderr)
        assert 3 == answer("trust", "renew")["trust_version"]
        assert None is answer("trust", "renew", "--never-stale")["fresh_until"]

    def test_what_is_stale_soon_is_warned_of(self, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        answer("trust", "renew", "--fresh-days", "90")
        start = load_trust(made).issued_at
        for days, said in ((59, ""), (61, "only. Renew it with the root key"), (91, "leases are not accepted")):
            now = start + timedelta(days=days)
            monkeypatch.setattr("keyseat_issuer.cli.trust.now_utc", lambda now=now: now)
            assert said in run("trust", "show").stderr
            assert bool(said) is bool(run("trust", "show").stderr)


class TestPolicy:
    def test_what_a_fresh_bundle_is_required_for_can_be_set(self, made: Path) -> None:
        result = run("policy", "set", "--require-fresh", "offline", "--require-fresh", "lease")
        assert ("fresh bundle needed: lease -> offline, lease" in result.stdout, 0) == (True, result.exit_code)
        assert "machines without internet" in result.stderr
        assert ("offline", "lease") == load_trust(made).policy.freshness_required
        answer("policy", "set", "--require-fresh", "none")
        assert () == load_trust(made).policy.freshness_required
        assert 2 == run("policy", "set", "--require-fresh", "none", "--require-fresh", "lease").exit_code

    def test_set_changes_what_is_named_and_says_what(self, made: Path) -> None:
        result = run(
            "policy",
            "set",
            "--no-sunset",
            "--lease-ttl",
            "7200",
            "--eligible-term",
            "annual",
            "--eligible-term",
            "monthly",
            "--forbid-evidence",
            "instance-file",
        )
        assert 0 == result.exit_code
        assert "offline licences end: 2024-01-17T00:00:00Z -> never (no sunset)" in result.stdout
        policy = load_trust(made).policy
        assert (None, 7200, 1200) == (policy.sunset, policy.lease_ttl, policy.lease_renew_after)
        assert (("annual", "monthly"), ("instance-file",)) == (policy.eligible_terms, policy.forbidden_evidence)
        assert policy.to_dict() == answer("policy", "show")["policy"]

    def test_the_longest_subscription_can_be_set(self, made: Path) -> None:
        assert "longest subscription: 10 years -> 20 years" in run("policy", "set", "--max-years", "20").stdout
        assert 20 == load_trust(made).policy.max_years
        answer("org", "add", "Acme")
        add = ("subscription", "add", "Acme", "--term", "annual", "--starts", "2023-06-01", "--product", "KSE=2")
        assert "2043-06-01T00:00:00Z" == answer(*add, "--years", "20")["subscription"]["ends_at"]
        assert 2 == run(*add, "--years", "21").exit_code

    def test_forbidden_evidence_can_be_allowed_again(self, made: Path) -> None:
        answer("policy", "set", "--forbid-evidence", "host-id")
        answer("policy", "set", "--forbid-evidence", "none")
        assert () == load_trust(made).policy.forbidden_evidence

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            ((), "says all that already"),
            (("--lease-ttl", "60"), "renew_after"),
            (("--product", "KSE=floating,Studio"), "cannot change"),
            (("--require-signature", "ml-dsa-65"), "ed25519 is always required"),
            (("--require-signature", "ed25519", "--require-signature", "ml-dsa-65"), "keys add"),
            (("--forbid-evidence", "none", "--forbid-evidence", "host-id"), "goes with no other"),
        ],
    )
    def test_wrong_values_change_nothing(self, made: Path, args: tuple[str, ...], message: str) -> None:
        result = run("policy", "set", *args)
        assert 2 == result.exit_code
        assert message in result.stderr
        assert 1 == load_trust(made).version

    def test_rules_that_would_end_licences_in_use_need_a_confirmation(self, made: Path) -> None:
        answer("policy", "set", "--no-sunset")
        now = now_utc()
        start = now.replace(month=1, day=1, hour=0, minute=0, second=0)
        answer("org", "add", "Acme")
        answer("member", "add", "Acme", "ada@example.com", "--role", "member")
        answer(
            "subscription", "add", "Acme", "--term", "annual", "--starts", format_instant(start), "--product", "KSE=2"
        )
        issue = ("offline", "issue", "Acme", "KSE", "--user", "ada@example.com", "--machine-id", str(MACHINE))
        answer(*issue, "--out", str(made.parent), "--yes")
        sunset = format_instant(start)
        for harsh in (
            ("--sunset", sunset),
            ("--eligible-term", "monthly"),
        ):
            result = run("policy", "set", *harsh)
            assert 1 == result.exit_code
            assert "refuse 1 offline licence" in result.stderr
            assert 2 == load_trust(made).version
        answer("policy", "set", "--lease-ttl", "7200")
        assert 4 == answer("policy", "set", "--sunset", sunset, "--yes")["trust_version"]
        # What has ended already is no reason to ask again.
        assert 5 == answer("policy", "set", "--lease-ttl", "7300")["trust_version"]


class TestKeysElsewhere:
    def test_a_key_behind_a_uri_is_listed_once_it_has_signed(
        self, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "box", Box)
        pem = tmp_path / "public.pem"
        pem.write_bytes(Box.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        uri = ("--purpose", "license", "--uri", "box:1", "--public-key", str(pem))
        added = answer("keys", "add", *uri)["keyid"]
        assert load_trust(made).keys[-1].key.raw == Box.key.public_key().public_bytes_raw()
        assert f"license-{added}.uri" in {path.name for path in (made / "keys").iterdir()}
        assert "remote" in run("keys", "list").stdout
        assert "ALREADY_EXISTS" in run("keys", "add", *uri).stderr

    def test_a_device_that_signs_with_another_key_is_not_listed(
        self, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "box", Confused)
        pem = tmp_path / "public.pem"
        other = Ed25519PrivateKey.from_private_bytes(b"o" * 32).public_key()
        pem.write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        refused = run("keys", "add", "--purpose", "license", "--uri", "box:1", "--public-key", str(pem))
        assert (3, True) == (refused.exit_code, "is not the key of the trust bundle" in refused.stderr)
        assert (1, []) == (load_trust(made).version, [*(made / "keys").glob("*.uri")])

    def test_a_key_can_be_imported_and_is_encrypted_then(self, made: Path, tmp_path: Path) -> None:
        pem = tmp_path / "private.pem"
        pem.write_bytes(Box.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        added = answer("keys", "add", "--purpose", "lease", "--import", str(pem))["keyid"]
        assert b"ENCRYPTED" in (made / "keys" / f"lease-{added}.pem").read_bytes()

    @pytest.mark.parametrize("before", [b"", b"\n", b"Bag Attributes\n    friendlyName: ours\n"])
    def test_a_key_under_a_passphrase_of_its_own_is_imported_with_that(
        self, made: Path, tmp_path: Path, before: bytes
    ) -> None:
        pem, own = tmp_path / "private.pem", tmp_path / "own"
        sealed = BestAvailableEncryption("ein eigenes Wörtchen".encode())
        pem.write_bytes(before + Box.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed))
        add = ("keys", "add", "--purpose", "lease", "--import", str(pem))

        refused = run(*add)
        assert 3 == refused.exit_code
        assert "wrong passphrase for" in refused.stderr
        assert "--import-passphrase-file FILE" in refused.stderr

        own.write_text("ein anderes Wörtchen\n", encoding="utf-8")
        assert f"Check the first line of {str(own)!r}" in run(*add, "--import-passphrase-file", str(own)).stderr

        own.write_bytes("ein eigenes Wörtchen\r\n".encode())
        added = answer(*add, "--import-passphrase-file", str(own))["keyid"]
        kept = (made / "keys" / f"lease-{added}.pem").read_bytes()
        assert added == parse_private_key(kept, PASSPHRASE, "kept").public.keyid

    def test_a_passphrase_for_no_import_is_wrong_usage(self, made: Path) -> None:
        assert 2 == run("keys", "add", "--purpose", "lease", "--import-passphrase-file", "x").exit_code


class Box(CryptoSigner):
    """A device with one key, at ``box:1``."""

    key = Ed25519PrivateKey.from_private_bytes(b"b" * 32)

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: object = None) -> "Box":
        """Open the key."""
        assert "box:1" == priv_key_uri
        assert secrets_handler is not None
        return cls(cls.key, public_key)


class Confused(Box):
    """A device that answers with its own key, whichever is asked for."""

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: object = None) -> "Box":
        """Open the key."""
        del priv_key_uri, secrets_handler
        own = {"public": cls.key.public_key().public_bytes_raw().hex()}
        return cls(cls.key, SSlibKey(public_key.keyid, "ed25519", "ed25519", own))
