"""How a type checker sees the client: mypy reads ``tests/typing`` as it would read a program that embeds it."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import keyseat_verifier

FOLDER = Path(__file__).parents[1] / "typing"

needs_mypy = pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed here")


def complaints(folder: Path, cache: Path) -> list[str]:
    """Return what mypy says of the files in ``folder``: nothing where every type is as they say."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--config-file",
            FOLDER / "mypy.ini",
            "--cache-dir",
            cache,
            "--no-error-summary",
            ".",
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": "", "MYPYPATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    assert (done.returncode == 0) == (done.stdout == "")
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where mypy keeps what it has read, so that the second run costs little."""
    return tmp_path_factory.mktemp("mypy")


@needs_mypy
def test_public_names_have_the_types_that_a_program_relies_on(cache: Path) -> None:
    assert [] == complaints(FOLDER, cache)


@needs_mypy
def test_a_type_that_changes_is_noticed(cache: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "typing")
    returned = folder / "what_is_returned.py"
    returned.write_text(returned.read_text("utf-8").replace("found.user, str | None", "found.user, str"), "utf-8")
    refused = folder / "what_is_refused.py"
    refused.write_text(
        refused.read_text("utf-8").replace('"trust.json")  #', 'TrustBundle.load("trust.json"))  #'), "utf-8"
    )

    said = complaints(folder, cache)

    assert 3 == len(said)
    assert 2 == sum("[assert-type]" in line for line in said)
    assert 1 == sum("[unused-ignore]" in line for line in said)


def test_every_public_name_is_looked_at() -> None:
    looked_at = {
        alias.name
        for path in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "keyseat_verifier"
        for alias in node.names
    }

    assert sorted(keyseat_verifier.__all__) == sorted(looked_at)
