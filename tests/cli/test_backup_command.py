"""`keyseat-issuer backup`: a whole copy of a ledger in use, in a new private file, or nothing."""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from django.db import connection

import databases
import offline_shop
from databases import Ledger
from keyseat_issuer.checks.check import verify
from keyseat_issuer.cli import main
from keyseat_issuer.ledger.models import AuditEvent, OfflineLicense
from offline_shop import numbered_machine

SQLITE_ONLY = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


def answer(*words: str, code: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(main, ["backup", *words, "--json"], catch_exceptions=False)
    assert code == done.exit_code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@SQLITE_ONLY
def test_the_copy_is_the_ledger_of_that_instant_and_its_owners_alone(ledger: Ledger, tmp_path: Path) -> None:
    offline_shop.customer()
    offline_shop.issue("KRE")
    target = tmp_path / "copy.sqlite3"
    reader = sqlite3.connect(connection.settings_dict["NAME"])
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM ledger_audithead").fetchall()
    umask = os.umask(0)
    try:
        found = answer(str(target))
    finally:
        os.umask(umask)
    reader.close()
    newest = AuditEvent.objects.latest("seq")
    later = offline_shop.issue("KRE", machine_id=numbered_machine(2)).license_id
    anchor = verify().anchor

    assert (str(target), target.stat().st_size) == (found["file"], found["size"])
    assert 0o600 == target.stat().st_mode & 0o777
    assert [target] == list(tmp_path.glob("*copy*")) + list(tmp_path.glob(".*copy*"))
    databases.point_at(f"sqlite:///{target}")
    assert (newest.seq, newest.digest) == AuditEvent.objects.values_list("seq", "digest").latest("seq")
    assert not OfflineLicense.objects.filter(pk=later).exists()
    assert () == verify().findings
    # What was issued after it shows by an anchor that was noted elsewhere.
    assert ["the row of the anchor is not there: removed"] == [finding.what for finding in verify(anchor).findings]


@SQLITE_ONLY
def test_a_copy_is_made_of_a_ledger_that_is_not_migrated(ledger: Ledger, tmp_path: Path) -> None:
    old = tmp_path / "old.sqlite3"
    with sqlite3.connect(old) as made:
        made.execute("CREATE TABLE kept (what TEXT)")
        made.execute("INSERT INTO kept VALUES ('this')")
    databases.point_at(f"sqlite:///{old}")

    answer(str(tmp_path / "copy.sqlite3"))

    assert [("this",)] == sqlite3.connect(tmp_path / "copy.sqlite3").execute("SELECT * FROM kept").fetchall()


@SQLITE_ONLY
@pytest.mark.parametrize("there", ["file", "link", "folder", "later"])
def test_nothing_is_overwritten(ledger: Ledger, tmp_path: Path, there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "copy.sqlite3"
    if there == "file":
        target.write_text("mine")
    elif there == "link":
        target.symlink_to(tmp_path / "nowhere")
    elif there == "folder":
        target.mkdir()
    else:
        # Somebody makes it between our look and our end.
        monkeypatch.setattr(
            "keyseat_issuer.ledger.backup.os.path.lexists", lambda _path: bool(target.write_text("mine")) and False
        )

    assert "ALREADY_EXISTS" == answer(str(target), code=1)["code"]
    assert [target] == [path for path in tmp_path.iterdir() if "copy" in path.name]
    if there in {"file", "later"}:
        assert "mine" == target.read_text()


@SQLITE_ONLY
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="as below, on Linux")
def test_what_cannot_be_written_leaves_nothing(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "UNREADABLE" == answer(str(tmp_path / "missing" / "copy.sqlite3"), code=3)["code"]
    # A library that fails half-way, as on a full disk.
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA page_count")
    monkeypatch.setattr("keyseat_issuer.ledger.backup.place_new", _full)
    found = answer(str(tmp_path / "copy.sqlite3"), code=3)

    assert ("UNREADABLE", True) == (found["code"], "No space left" in found["message"])
    assert [] == [path for path in tmp_path.iterdir() if "copy" in path.name]


def _full(_part: str, _path: str) -> bool:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
def test_postgresql_is_left_to_its_own_tool(ledger: Ledger, tmp_path: Path) -> None:
    found = answer(str(tmp_path / "copy"), code=2)

    assert ("INVALID_INPUT", True) == (found["code"], "pg_dump" in found["next"])
    assert not (tmp_path / "copy").exists()
