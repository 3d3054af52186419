"""Trust bundles damaged in the home or in the ledger: said plainly, with a way out, and never in the way needlessly."""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result
from django.db import connection
from freezegun import freeze_time

from databases import Ledger
from issuing import PASSPHRASE, cheap_scrypt, make_issuer
from keyseat_issuer.cli import main
from keyseat_issuer.home import load_trust
from keyseat_issuer.ledger.audit.bundles import BUNDLE_ACTIONS, audit_details
from keyseat_issuer.ledger.models import AuditEvent

NOON = "2023-06-01T12:00:00Z"
REVOKE = ("trust", "revoke-key", "{key}", "--yes")
CHANGES = [REVOKE, ("trust", "rotate"), ("policy", "set", "--lease-ttl", "7200")]


class Issuer(NamedTuple):
    """An issuer's home, and the id of its licence key."""

    home: Path
    key: str

    def change(self, command: tuple[str, ...]) -> tuple[int, dict[str, Any]]:
        """Run a command that changes the bundle; return its exit code and its answer."""
        result = run(*[word.format(key=self.key) for word in command], "--json")
        return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def issuer(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    """An issuer whose trust bundle is version 2; the clock stands."""
    cheap_scrypt(monkeypatch)
    made = make_issuer(ledger.home / "vendor")
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    passphrase.chmod(0o600)
    monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(made.home))
    monkeypatch.setenv("KEYSEAT_PASSPHRASE_FILE", str(passphrase))
    with freeze_time(NOON):
        assert 0 == run("policy", "set", "--lease-ttl", "5400").exit_code
        yield Issuer(made.home, next(entry.key.keyid for entry in made.trust.keys if entry.purpose == "license"))


def run(*args: str) -> Result:
    return CliRunner().invoke(main, list(args), catch_exceptions=False)


def spoil_row(version: int, spoil: Callable[[dict[str, Any]], str]) -> int:
    """Change the audit row of a version behind the ledger's back; return its number."""
    rows = AuditEvent.objects.filter(action__in=BUNDLE_ACTIONS).order_by("seq")
    row = next(row for row in rows if json.loads(row.details)["version"] == version)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE ledger_auditevent SET details = %s WHERE seq = %s", [spoil(json.loads(row.details)), row.seq]
        )
    return row.seq


SPOILT: Sequence[Callable[[dict[str, Any]], str]] = [
    lambda _: "",
    lambda _: "[1]",
    lambda found: json.dumps({"version": found["version"]}),
    lambda found: json.dumps(found | {"digest": "sha256:" + "0" * 64}),
    lambda found: json.dumps(found | {"bundle": found["bundle"][:-40]}),
    lambda found: json.dumps(found | {"bundle": 7}),
    lambda found: json.dumps(found)[:-9],
    lambda _: "[" * 100_000,
]
SPOILT_AND_CHANGES = list(zip(SPOILT, itertools.cycle(CHANGES), strict=False))


class TestTrustFile:
    @pytest.mark.parametrize("command", CHANGES)
    @pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'{"payload": 1}', None, 200])
    def test_that_is_damaged_or_gone_can_be_put_back(
        self, issuer: Issuer, command: tuple[str, ...], content: bytes | int | None
    ) -> None:
        file = issuer.home / "trust.json"
        whole = file.read_bytes()
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content if isinstance(content, bytes) else whole[:content])

        code, told = issuer.change(command)

        kept = issuer.home / "trust" / "2.json"
        assert (3, False) == (code, told["ok"])
        assert str(kept) in told["next"]
        shutil.copy(kept, file)
        assert 0 == issuer.change(command)[0]
        assert 3 == load_trust(issuer.home).version

    @pytest.mark.both_databases
    def test_is_put_back_from_the_newest_version_that_is_whole(self, issuer: Issuer) -> None:
        for name in ("trust.json", "trust/2.json"):
            (issuer.home / name).write_bytes(b"")

        told = issuer.change(REVOKE)[1]

        assert str(issuer.home / "trust" / "1.json") in told["next"]
        shutil.copy(issuer.home / "trust" / "1.json", issuer.home / "trust.json")
        assert 0 == issuer.change(REVOKE)[0]
        assert 3 == load_trust(issuer.home).version

    def test_that_nobody_can_put_back_is_in_the_backup(self, issuer: Issuer) -> None:
        for path in [issuer.home / "trust.json", *(issuer.home / "trust").iterdir()]:
            path.write_bytes(b"")

        assert "backup" in issuer.change(REVOKE)[1]["next"]


class TestRow:
    @pytest.mark.parametrize(("spoil", "command"), SPOILT_AND_CHANGES)
    def test_of_a_former_version_that_is_damaged_is_in_nobodys_way(
        self, issuer: Issuer, spoil: Callable[[dict[str, Any]], str], command: tuple[str, ...]
    ) -> None:
        spoil_row(1, spoil)

        assert 0 == issuer.change(command)[0]
        assert 3 == load_trust(issuer.home).version

    @pytest.mark.both_databases
    @pytest.mark.parametrize(("spoil", "command"), SPOILT_AND_CHANGES)
    def test_of_the_present_version_that_is_damaged_is_told(
        self, issuer: Issuer, spoil: Callable[[dict[str, Any]], str], command: tuple[str, ...]
    ) -> None:
        row = spoil_row(2, spoil)

        code, told = issuer.change(command)

        assert (3, "TRUST_INVALID") == (code, told["code"])
        assert ([1], [row]) == (told["details"]["on_record"], told["details"]["damaged_rows"])
        assert "backup" in told["next"]
        assert 2 == load_trust(issuer.home).version

    @pytest.mark.both_databases
    @pytest.mark.parametrize(("spoil", "command"), SPOILT_AND_CHANGES)
    def test_of_a_newer_version_that_is_damaged_does_not_let_the_former_one_go_on(
        self, issuer: Issuer, spoil: Callable[[dict[str, Any]], str], command: tuple[str, ...]
    ) -> None:
        row = spoil_row(2, spoil)
        shutil.copy(issuer.home / "trust" / "1.json", issuer.home / "trust.json")

        code, told = issuer.change(command)

        assert (1, "AUDIT_BROKEN", row) == (code, told["code"], told["details"]["row"])
        assert "backup" in told["next"]
        assert 1 == load_trust(issuer.home).version

    def test_that_nobody_signed_is_not_followed(self, issuer: Issuer) -> None:
        def forge(found: dict[str, Any]) -> str:
            bundle = json.loads(found["bundle"])
            bundle["signatures"][0]["sig"] = "A" * 86 + "=="
            return json.dumps(audit_details(json.dumps(bundle).encode(), 2))

        spoil_row(2, forge)
        shutil.copy(issuer.home / "trust" / "1.json", issuer.home / "trust.json")

        assert "AUDIT_BROKEN" == issuer.change(REVOKE)[1]["code"]


def test_a_damaged_version_is_not_exported(issuer: Issuer, tmp_path: Path) -> None:
    (issuer.home / "trust" / "1.json").write_bytes(b"{}")

    result = run("trust", "export", str(tmp_path / "out.json"), "--version", "1", "--json")

    assert (3, "UNREADABLE") == (result.exit_code, json.loads(result.stdout)["code"])
    assert not (tmp_path / "out.json").exists()
