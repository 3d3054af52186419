"""The commands of CONTRIBUTING.md that run tests select them."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTEST = ".venv/bin/python -m pytest "


def selected(*words: str) -> list[str]:
    """Return the tests that pytest selects for these words, without running them."""
    # As at a prompt: this process has set Django up, and its environment says so.
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", *words],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert 0 == done.returncode, done.stdout[-2000:] + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_the_quick_run_is_of_unit_tests_vectors_and_services_on_sqlite() -> None:
    lines = (ROOT / "CONTRIBUTING.md").read_text().splitlines()
    [command] = [line for line in lines if line.startswith(PYTEST) and "-m quick" in line]
    words = shlex.split(command.removeprefix(PYTEST))
    workers = words.index("-n")
    found = selected(*words[:workers], *words[workers + 2 :])

    assert {"unit", "vectors", "service"} == {name.split("/")[1] for name in found}
    assert len(found) > 2500
    assert [] == [name for name in found if "test_damaged_files" in name]
    assert [] == [name for name in found if "postgresql" in name and name.startswith("tests/service")]


def test_faces_have_a_smoke_on_postgresql() -> None:
    faces = [
        "tests/cli/test_ledger_commands.py",
        "tests/service/console/test_seats.py",
        "tests/service/test_admin_seats.py",
    ]
    found = selected(*faces)

    on_both = {name.split("::")[0] for name in found if "[postgresql" in name or "-postgresql" in name}
    assert set(faces) == on_both
    assert len([name for name in found if "postgresql" in name]) < len(found) / 2
