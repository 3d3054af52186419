"""README.md is run: its sessions in a shell, with the output they show, and its Python; its links lead somewhere.

``…`` stands for any text, and on a line of its own for any number of lines.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from keyseat_verifier import LicenseClient, NotEntitled
from vendor import Vendor

pytestmark = pytest.mark.machine

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
TODAY = "2026-11-24T12:{minute:02}:00Z"
PROGRAM = (
    "import os, sys; from freezegun import freeze_time; sys.argv[0] = '{name}'; from {module} import main\n"
    "with freeze_time(os.environ['TODAY'], tick=True): sys.exit(main())"
)


def sessions() -> list[tuple[str, list[str]]]:
    """Return (command, lines it shows) for each command of the README's sessions, in order."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def pattern(shown: list[str]) -> str:
    """Return the regular expression that a session's output must match."""
    lines = [".*\n" if line == "…" else re.escape(line).replace("…", "[^\n]*") + "\n" for line in shown]
    return "".join(lines).replace(".*\n", "(?:.*\n)*")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A user's shell: the two commands on the PATH, homes of its own, a passphrase file, and the README's day."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, module in (("keyseat", "keyseat_verifier.cli"), ("keyseat-issuer", "keyseat_issuer.cli")):
        code = PROGRAM.format(name=name, module=module)
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"\n')
        (programs / name).chmod(0o755)
    passphrase = tmp_path / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text("correct horse battery staple\n")
    (tmp_path / "trust.json").write_bytes(Vendor().bundle_bytes())
    kept = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "DJANGO_SETTINGS_MODULE"}}
    return kept | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "KEYSEAT_HOME": str(tmp_path / "home"),
        "KEYSEAT_ISSUER_HOME": str(tmp_path / "issuer"),
        "KEYSEAT_PASSPHRASE_FILE": str(passphrase),
        "COLUMNS": "120",
        "PYTHONIOENCODING": "utf-8",  # a terminal that can show what the README shows, wherever the tests run
    }


def test_the_sessions_run_as_shown(env: dict[str, str], tmp_path: Path) -> None:
    # Each a minute after the one before: however slow the machine is, no command runs before another one's end.
    for minute, (command, shown) in enumerate(sessions()):
        done = subprocess.run(
            ["sh", "-c", f"{command} 2>&1"],
            cwd=tmp_path,
            env=env | {"TODAY": TODAY.format(minute=minute)},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        # The warnings of a weak ID belong to the machine that the tests run on, not to the story.
        said = "".join(
            line + "\n" for line in done.stdout.splitlines() if not line.startswith(("grade: ", "Warning: "))
        )
        assert re.fullmatch(pattern(shown), said), f"$ {command}\n{said}\n-- is not --\n" + "\n".join(shown)


def test_the_python_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEYSEAT_HOME", str(tmp_path / "home"))
    (tmp_path / "trust.json").write_bytes(Vendor().bundle_bytes())
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {}
    with pytest.raises(NotEntitled, match="NO_LICENSE"):
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102 - our own document
    assert isinstance(names["client"], LicenseClient)


def test_every_link_leads_to_something() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT)
    assert len(links) > 10
    assert [] == [link for link in links if not link.startswith("http") and not (ROOT / link).exists()]
