"""The vectors give the same verdicts on every supported Python that this machine has.

They are looked for in ``KEYSEAT_PYTHONS`` (programs, parted as in PATH), on the PATH and among those of pyenv.
One without `cryptography` is given this interpreter's verdicts on signatures; all else it works out by itself.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vectors_here

MINORS = (11, 12, 13, 14)


def candidates(minor: int) -> list[str]:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    named = [path for path in os.environ.get("KEYSEAT_PYTHONS", "").split(os.pathsep) if path]
    on_path = shutil.which(f"python3.{minor}")
    own = [sys.executable] if sys.version_info[:2] == (3, minor) else []
    kept = sorted([str(path) for path in pyenv.glob(f"3.{minor}.*/bin/python")])
    return [*named, *own, *([on_path] if on_path else []), *kept]


def interpreter(minor: int) -> str | None:
    """Return a Python of this version that can be run."""
    question = "import sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"
    for path in candidates(minor):
        try:
            done = subprocess.run([path, "-I", "-c", question], capture_output=True, text=True, check=False, timeout=60)
        except OSError:
            continue
        if done.stdout == f"3.{minor}":
            return path
    return None


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    verdicts, answers = vectors_here.record()
    path = tmp_path_factory.mktemp("answers") / "answers.json"
    path.write_text(json.dumps(answers), encoding="utf-8")
    return verdicts, path


FOUND = {minor: python for minor in MINORS if (python := interpreter(minor)) is not None}
"""Those that this machine has; the one that runs the tests is always among them."""


@pytest.mark.long
@pytest.mark.parametrize("minor", FOUND, ids=lambda minor: f"3.{minor}")
def test_every_python_says_the_same(minor: int, here: tuple[dict[str, str], Path]) -> None:
    python = FOUND[minor]
    verdicts, answers = here
    # Not measured: it runs the files of the tree, which would count beside the installed ones.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [python, "-I", vectors_here.__file__, answers]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert ("", 0) == (done.stderr, done.returncode)
    said = json.loads(done.stdout)
    assert [3, minor] == said["python"][:2]
    assert verdicts == said["verdicts"]


def test_the_verdicts_here_are_those_of_the_vectors(here: tuple[dict[str, str], Path]) -> None:
    cases = json.loads((vectors_here.VECTORS / "licenses.json").read_text(encoding="utf-8"))["cases"]
    wanted = {f"licence: {case['name']}": case["code"] for case in cases}
    assert wanted == {name: said for name, said in here[0].items() if name.startswith("licence: ")}
