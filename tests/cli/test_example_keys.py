"""keys.example: rebuilt byte for byte, good to look at, refused by both sides unless they are told otherwise."""

import runpy
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from keyseat_issuer.home import load_trust
from keyseat_issuer.keys.store import KeyStore
from keyseat_shared.codes import ReasonCode
from keyseat_shared.envelope import LICENSE_TYPE, Envelope, pae
from keyseat_shared.errors import TrustError
from keyseat_shared.example_keys import EXAMPLE_PUBLIC_KEYS
from keyseat_shared.trust import TrustBundle
from keyseat_verifier.cli import main

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "keys.example"
COMMANDS = [
    shlex.split(line)[1:] for line in (EXAMPLE / "README.md").read_text().splitlines() if line.startswith("keyseat ")
]


def test_the_script_makes_the_same_bytes_again(tmp_path: Path) -> None:
    build = runpy.run_path(str(EXAMPLE / "build.py"))
    build["main"](tmp_path / "example", tmp_path / "list.py")
    made = {path.relative_to(tmp_path / "example"): path.read_bytes() for path in (tmp_path / "example").rglob("*.*")}
    kept = {name: (EXAMPLE / name).read_bytes() for name in made}
    assert kept == made
    assert (ROOT / "shared" / "keyseat_shared" / "example_keys.py").read_bytes() == (tmp_path / "list.py").read_bytes()
    strangers = {path.name for path in EXAMPLE.rglob("*.*")} - {name.name for name in made} - {"README.md", "build.py"}
    assert set() == {name for name in strangers if not name.endswith(".pyc")}


def test_every_public_key_of_the_bundle_is_on_the_list() -> None:
    trust = TrustBundle.load(EXAMPLE / "trust.json", allow_example_keys=True)
    trust.check_keys()
    assert EXAMPLE_PUBLIC_KEYS == {key.raw for key in (*trust.root, *[entry.key for entry in trust.keys])}


@pytest.mark.parametrize("load", [TrustBundle.load, lambda path: load_trust(path.parent)])
def test_client_and_issuer_refuse_them(load: Callable[[Path], TrustBundle]) -> None:
    with pytest.raises(TrustError) as caught:
        load(EXAMPLE / "trust.json")
    assert ReasonCode.EXAMPLE_KEY is caught.value.code


def test_a_newer_bundle_cannot_smuggle_one_in() -> None:
    trust = TrustBundle.load(EXAMPLE / "trust.json", allow_example_keys=True)
    other = trust._replace(data=b"", version=0)
    with pytest.raises(TrustError) as caught:
        other.update(trust.data)
    assert ReasonCode.EXAMPLE_KEY is caught.value.code


def test_the_private_keys_open_with_the_public_passphrase_and_sign_as_shown(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "keys", tmp_path / "keys")
    trust = load_trust(EXAMPLE, allow_example_keys=True)
    key = KeyStore(tmp_path).open(trust.keys[0].key, "example")
    (licence,) = [path for path in EXAMPLE.glob("*.lic") if ".test" not in path.name]
    envelope = Envelope.from_bytes(licence.read_bytes())
    assert envelope.signatures[0].sig == key.sign(pae(LICENSE_TYPE, envelope.payload))


def test_the_readme_shows_commands() -> None:
    assert 3 == len(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_commands_of_the_readme_work(command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("KEYSEAT_HOME", str(tmp_path))
    assert 0 == main(command)


@pytest.mark.parametrize("command", COMMANDS[1:], ids=" ".join)
def test_without_the_option_the_commands_are_refused(
    command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("KEYSEAT_HOME", str(tmp_path))
    assert 3 == main([word for word in command if word != "--allow-example-keys"])
    assert "EXAMPLE_KEY" in capsys.readouterr().err
