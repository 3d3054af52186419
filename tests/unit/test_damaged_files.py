"""Whatever is in a file that the client reads: a documented answer, and a good file beside it counts.

The programs here are fresh processes that have loaded nothing: what reads a file must not lean on what happens to be
loaded (a private reader of JSON once did, and a truncated file locked out who had a good one).
"""

import os
import subprocess
import sys
from pathlib import Path

import cryptography
import pytest

import damage
import damage_files

ROOT = Path(__file__).resolve().parents[2]
QUICK = {
    *("licence", "licence-of-sessions", "hybrid-licence", "test-licence", "lease-as-licence", "request", "instance-id"),
}
MASS = {kind: 2900 if kind in QUICK else 150 for kind in damage.KINDS if kind != "commands"}
"""Mutations of each kind; where more is read or written for each, fewer."""

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this machine cannot fork"),
    pytest.mark.long,
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    damage_files.make(tmp_path)
    return tmp_path


def run(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a fresh interpreter without `site`, which loads what is installed in this one."""
    packages = Path(cryptography.__file__).parents[1]
    places = [*(ROOT / name for name in ("shared", "verifier", "tests/support/account_home")), packages]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    command = [sys.executable, "-S", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_broken_file_is_malformed_where_nothing_else_is_loaded() -> None:
    done = run("-c", "from keyseat_shared.strictjson import loads_object; loads_object(b'{')")
    assert "MalformedError: MALFORMED" in done.stderr.splitlines()[-1]


def test_a_broken_file_may_be_the_first_that_a_process_reads(folder: Path) -> None:
    done = run(damage.__file__, folder, "first")
    assert ("", 0) == (done.stderr[-3000:], done.returncode)


@pytest.mark.parametrize("kind", MASS)
def test_damage_of_any_kind_has_a_documented_answer(kind: str, folder: Path) -> None:
    done = run(damage.__file__, folder, "mass", kind, "1", str(MASS[kind]))
    assert ("", 0) == (done.stderr[-3000:], done.returncode)
    cuts = (folder / damage.KINDS[kind][0]).stat().st_size
    assert f"{cuts} {MASS[kind]}\n" == done.stdout


def test_twenty_thousand_mutations_are_tried() -> None:
    assert sum(MASS.values()) >= 20_000
