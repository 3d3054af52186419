"""Imports run one way, the shared package stays small, and importing a package does nothing."""

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
LAYERS = {"keyseat_shared": "shared", "keyseat_verifier": "verifier", "keyseat_issuer": "issuer"}
HEAVY = {"psutil", "cpuinfo", "cryptography", "dataclasses", "argparse", "django", "click", "rich", "ssl", "socket"}


def imported_roots(path: Path) -> set[str]:
    """Return the top-level names of every import in a module, wherever in the file it stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module.partition(".")[0])
    return found


def modules(package: str) -> list[Path]:
    return sorted((REPOSITORY / LAYERS[package] / package).rglob("*.py"))


def test_the_layers_of_the_import_linter_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_shared_package_imports_the_standard_library_and_cryptography_only() -> None:
    allowed = sys.stdlib_module_names | {"keyseat_shared", "cryptography"}
    strangers = {(path.name, name) for path in modules("keyseat_shared") for name in imported_roots(path) - allowed}
    assert strangers == set()


@pytest.mark.parametrize("package", ["keyseat_shared", "keyseat_verifier"])
def test_the_client_imports_no_private_module_of_the_interpreter(package: str) -> None:
    """They change without notice, and some rely on what else a process has loaded."""
    names = {(path.name, name) for path in modules(package) for name in imported_roots(path) - {"__future__"}}
    assert set() == {(file, name) for file, name in names if name.startswith("_")}


def test_the_client_imports_only_what_its_wheel_requires() -> None:
    required = tomllib.loads((REPOSITORY / "verifier" / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {entry.partition(">")[0].strip() for entry in required}
    assert {"cryptography", "psutil", "py-cpuinfo"} == names
    # `segno` draws a QR code where somebody has installed it; its absence is told in words.
    allowed = sys.stdlib_module_names | {
        "keyseat_shared",
        "keyseat_verifier",
        "cryptography",
        "psutil",
        "cpuinfo",
        "segno",
    }
    strangers = {(path.name, name) for path in modules("keyseat_verifier") for name in imported_roots(path) - allowed}
    assert strangers == set()


@pytest.mark.parametrize("package", LAYERS)
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    script = f"import sys, json; import {package}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    bare = subprocess.run(
        [sys.executable, "-I", "-c", script.replace(f"import {package};", "")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    already = {name.partition(".")[0] for name in json.loads(bare.stdout)}
    assert loaded & (HEAVY - already) == set()


@pytest.mark.parametrize("package", LAYERS)
def test_every_module_says_in_its_first_line_what_it_is_for(package: str) -> None:
    silent = []
    for path in modules(package):
        source = path.read_text(encoding="utf-8")
        if "migrations" not in path.parts and source.strip() and not ast.get_docstring(ast.parse(source)):
            silent.append(path.name)
    assert silent == []


@pytest.mark.parametrize("package", LAYERS)
def test_no_module_outgrows_its_subject(package: str) -> None:
    long = {path.name: lines for path in modules(package) if (lines := len(path.read_text().splitlines())) > 430}
    assert long == {}
