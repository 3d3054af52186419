"""Both wheels are built from a copy of the tree and tried in fresh virtual environments."""

import email.parser
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from keyseat_shared import __version__
from keyseat_shared.instants import format_instant
from vendor import MACHINE, NOW, OTHER_MACHINE, Vendor

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "shared", "verifier", "issuer")
# One worker makes the environments once, however many workers there are (`--dist loadgroup`).
pytestmark = pytest.mark.xdist_group("wheels")


class Environment(NamedTuple):
    """A fresh virtual environment with one wheel in it."""

    folder: Path

    @property
    def scripts(self) -> Path:
        """The folder of its programs."""
        return self.folder / ("Scripts" if sys.platform == "win32" else "bin")

    def run(self, *command: str | Path, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run one of its programs, without the variables of the surrounding test run."""
        kept = without("PYTHON", "KEYSEAT", "COV")
        if home is not None:
            kept |= {"KEYSEAT_HOME": str(home / "client"), "KEYSEAT_ISSUER_HOME": str(home / "issuer")}
        program = self.scripts / command[0]
        return subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, check=False, timeout=300, env=kept, cwd=self.folder
        )

    def python(self, code: str) -> str:
        """Run a line of Python in it and return what it printed."""
        done = self.run("python", "-I", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def distributions(self) -> set[str]:
        """The names of what is installed in it."""
        code = "import json, importlib.metadata as m; print(json.dumps([d.name for d in m.distributions()]))"
        return {name.lower().replace("_", "-") for name in json.loads(self.python(code))}


def without(*prefixes: str) -> dict[str, str]:
    """Return the variables of the test run but those whose names begin so."""
    return {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}


def build(tree: Path, out: Path) -> Path:
    """Build the wheel of one project folder without touching the network."""
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, tree],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        # Measured, a build would now and then list all files of the copy that it builds as files that no test reached.
        env=without("COV"),
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (wheel,) = out.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Environment:
    """Make an environment and install the wheel with what it requires, from the package index that pip knows."""
    # Not measured, as with the build.
    env = without("COV")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120, env=env)
    environment = Environment(folder)
    pip = [sys.executable, "-m", "pip", "--python", environment.scripts / "python", "install", "--quiet"]
    done = subprocess.run([*pip, wheel], capture_output=True, text=True, check=False, timeout=600, env=env)
    if done.returncode != 0 and "connection" in (done.stdout + done.stderr).lower():
        pytest.skip("no package index can be reached, so what the wheel requires cannot be installed")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return environment


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built, so that no left-over of another build gets into a wheel."""
    folder = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist", ".*")
    for name in SOURCES:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    return folder


@pytest.fixture(scope="module")
def client_wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tree / "verifier", tmp_path_factory.mktemp("client-wheel"))


@pytest.fixture(scope="module")
def full_wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tree, tmp_path_factory.mktemp("full-wheel"))


@pytest.fixture(scope="module")
def client(client_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return install(client_wheel, tmp_path_factory.mktemp("client") / "env")


@pytest.fixture(scope="module")
def full(full_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return install(full_wheel, tmp_path_factory.mktemp("full") / "env")


def package_files(*packages: str) -> set[str]:
    """Name every file of the packages as the working tree has it."""
    found = set()
    for package in packages:
        root = REPOSITORY / package.removeprefix("keyseat_")
        for path in (root / package).rglob("*"):
            inside = path.relative_to(root)
            if path.is_file() and "__pycache__" not in inside.parts and not inside.as_posix().count("/."):
                found.add(inside.as_posix())
    return found


def content(wheel: Path) -> set[str]:
    names = zipfile.ZipFile(wheel).namelist()
    return {name for name in names if ".dist-info/" not in name}


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.parser.Parser().parsestr(archive.read(name).decode())


class TestClientWheel:
    def test_it_holds_every_file_of_verifier_and_shared_and_nothing_else(self, client_wheel: Path) -> None:
        assert package_files("keyseat_verifier", "keyseat_shared") == content(client_wheel)

    def test_it_carries_version_and_licence(self, client_wheel: Path) -> None:
        told = metadata(client_wheel)
        assert ("keyseat-verifier", __version__) == (told["Name"], told["Version"])
        assert told["License-Expression"] == "Apache-2.0"
        assert any(name.endswith("/LICENSE") for name in zipfile.ZipFile(client_wheel).namelist())

    def test_it_brings_at_most_six_packages_along(self, client: Environment) -> None:
        found = client.distributions()
        assert "keyseat-verifier" in found
        assert len(found) <= 6, sorted(found)

    def test_it_runs_without_issuer_django_or_click(self, client: Environment) -> None:
        names = ["keyseat_issuer", "django", "click", "rich", "securesystemslib"]
        code = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
        assert client.python(code) == "[]"

    def test_every_module_of_it_can_be_imported_there(self, client: Environment) -> None:
        code = (
            "import importlib, pkgutil, keyseat_shared, keyseat_verifier\n"
            "for package in (keyseat_shared, keyseat_verifier):\n"
            "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
            "        importlib.import_module(module.name)\n"
            "print('all')"
        )
        assert client.python(code) == "all"

    def test_the_three_lines_to_embed_are_there(self, client: Environment) -> None:
        assert (
            client.python("from keyseat_verifier import Verifier, TrustBundle; print(Verifier.__name__)") == "Verifier"
        )

    def test_the_command_tells_its_version(self, client: Environment) -> None:
        done = client.run("keyseat", "--version")
        assert (f"keyseat {__version__}\n", 0) == (done.stdout, done.returncode)

    @pytest.mark.parametrize(
        ("machine_id", "code", "status"), [(str(MACHINE), "OK", 0), (str(OTHER_MACHINE), "MACHINE_MISMATCH", 1)]
    )
    def test_a_licence_is_verified_there(
        self, client: Environment, tmp_path: Path, machine_id: str, code: str, status: int
    ) -> None:
        (tmp_path / "trust.json").write_bytes(Vendor().bundle_bytes())
        (tmp_path / "a.lic").write_bytes(Vendor().license())
        given = ["--trust", tmp_path / "trust.json", "--product", "KSE", "--machine-id", machine_id]
        done = client.run(
            "keyseat", "verify", tmp_path / "a.lic", *given, "--at", format_instant(NOW), "--json", home=tmp_path
        )
        assert status == done.returncode, done.stderr
        assert code == json.loads(done.stdout)["code"]


class TestFullWheel:
    def test_it_holds_every_file_of_the_three_packages_and_nothing_else(self, full_wheel: Path) -> None:
        assert package_files("keyseat_verifier", "keyseat_shared", "keyseat_issuer") == content(full_wheel)

    def test_its_versions_agree(self, full_wheel: Path, client_wheel: Path) -> None:
        assert metadata(full_wheel)["Version"] == metadata(client_wheel)["Version"] == __version__

    @pytest.mark.parametrize("command", ["keyseat", "keyseat-issuer"])
    def test_both_commands_tell_their_version(self, full: Environment, command: str) -> None:
        done = full.run(command, "--version")
        assert done.returncode == 0, done.stderr
        assert __version__ in done.stdout

    def test_the_demo_ends_well_there(self, full: Environment, tmp_path: Path) -> None:
        done = full.run("keyseat-issuer", "demo", home=tmp_path)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "ISSUED_AFTER_SUNSET" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
