"""The issuer's home: where it is, and files that are whole or not there."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from keyseat_issuer.cli.steps import STEPS
from keyseat_issuer.home import exclusive, exposed_files, issuer_home, load_trust, make_private_folder, write_private
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError, TrustError
from vendor import Vendor


def test_the_variable_moves_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEYSEAT_ISSUER_HOME", str(tmp_path / "here"))
    assert tmp_path / "here" == issuer_home()
    monkeypatch.delenv("KEYSEAT_ISSUER_HOME")
    assert Path.home() / ".keyseat-issuer" == issuer_home()


def test_a_written_file_is_whole_private_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    write_private(path, b"one")
    write_private(path, b"two")
    assert b"two" == path.read_bytes()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert [path] == list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trust.json"
    write_private(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyseatError, match="No space left on device") as caught:
        write_private(path, b"new")
    assert ReasonCode.UNREADABLE is caught.value.code
    assert (b"old", [path]) == (path.read_bytes(), list(tmp_path.iterdir()))


def test_a_folder_that_others_may_enter_is_tightened(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o755)
    make_private_folder(folder)
    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)


def test_no_issuer_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TrustError) as caught:
        load_trust(tmp_path)
    assert ReasonCode.UNREADABLE is caught.value.code
    assert "keyseat-issuer init" in STEPS.of(caught.value)


def test_a_damaged_bundle_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "trust.json").write_bytes(Vendor().bundle_bytes()[:-20])
    with pytest.raises(TrustError) as caught:
        load_trust(tmp_path)
    assert ReasonCode.TRUST_INVALID is caught.value.code


def test_one_process_at_a_time_changes_a_home(tmp_path: Path) -> None:
    probe = (
        "import fcntl, os, sys\n"
        f"lock = os.open({str(tmp_path / '.lock')!r}, os.O_RDWR | os.O_CREAT)\n"
        "try:\n    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError:\n    sys.exit(9)\n"
    )
    with exclusive(tmp_path):
        assert 9 == subprocess.run([sys.executable, "-c", probe], check=False).returncode
    assert 0 == subprocess.run([sys.executable, "-c", probe], check=False).returncode


def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyseatError, match="cannot write in"), exclusive(tmp_path / "missing"):
        pass


class TestExposedFiles:
    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        for name in ("keys/lease-1.pem", "trust/1.json", "trust.json", "ledger.sqlite3", "ledger-backup.sql"):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.touch(0o600)
            path.chmod(0o644)
        tmp_path.chmod(0o755)
        return tmp_path

    def test_keys_ledger_and_backups_that_others_may_read_are_named_and_bundles_are_not(self, home: Path) -> None:
        found = {path.name for path in exposed_files(home)}

        assert {"lease-1.pem", "ledger.sqlite3", "ledger-backup.sql"} == found

    def test_a_closed_home_exposes_nothing(self, home: Path) -> None:
        home.chmod(0o700)

        assert () == exposed_files(home)
