"""What a person at a terminal is asked: passphrases hidden and twice, and a typed word before what cannot be undone."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from issuing import PASSPHRASE
from keyseat_issuer.home import load_trust
from terminal import CTRL_C, converse

RUN = (
    "import sys; from keyseat_issuer.keys import pkcs8; pkcs8.SCRYPT_N = 64\n"
    "from keyseat_issuer.cli import main; sys.argv[0] = 'keyseat-issuer'; main()"
)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing but a terminal can answer."""
    foreign = {"DATABASE_URL", "DJANGO_SETTINGS_MODULE", "KEYSEAT_PASSPHRASE_FILE", "NO_COLOR"}
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return kept | {"KEYSEAT_ISSUER_HOME": str(tmp_path / "issuer"), "TERM": "xterm"}


def at_terminal(env: dict[str, str], args: list[str], *answers: tuple[str, str]) -> tuple[int, str]:
    return converse([sys.executable, "-c", RUN, *args], answers, env)


def test_init_asks_for_a_new_passphrase_twice_and_never_shows_it(env: dict[str, str]) -> None:
    code, screen = at_terminal(
        env,
        ["init", "--no-sunset"],
        ("Passphrase", PASSPHRASE),
        ("Again", "something else"),
        ("Passphrase", PASSPHRASE),
        ("Again", PASSPHRASE),
    )
    assert 0 == code
    assert PASSPHRASE not in screen
    assert "Nobody can reset it" in screen


def test_each_holder_of_a_root_key_types_a_passphrase_of_their_own(env: dict[str, str], tmp_path: Path) -> None:
    home, words = Path(env["KEYSEAT_ISSUER_HOME"]), [f"only holder {number} knows" for number in (1, 2)]
    asked = [("Passphrase", PASSPHRASE), ("Again", PASSPHRASE)]
    for number, own in enumerate(words, start=1):
        asked += [(f"Passphrase of root key {number} of 2", own), ("Again", own)]
    code, screen = at_terminal(env, ["init", "--no-sunset", "--root-keys", "2", "--root-threshold", "2"], *asked)
    assert 0 == code, screen
    first, second = [key.keyid for key in load_trust(home).root]

    change = ["policy", "set", "--lease-ttl", "7200"]
    code, screen = at_terminal(env, change, (f"root key {first}", words[0]), (f"root key {second}", words[1]))
    assert (0, 2) == (code, load_trust(home).version), screen
    # A wrong one is told. Of one who is not there, the signature is left to be made: the other's is on the proposal.
    absent = [(f"root key {first}", words[0]), (f"root key {second}", "?")]
    code, screen = at_terminal(env, [*change[:-1], "7300"], *absent)
    assert (3, True) == (code, "wrong passphrase" in screen), screen
    proposal = tmp_path / "change.json"
    code, screen = at_terminal(env, [*change[:-1], "7300", "--proposal", str(proposal)], *absent)
    assert (0, True) == (code, f"missing:  the root key {second}" in screen), screen

    sign = ["trust", "sign", str(proposal), "--key", str(home / "keys")]
    code, screen = at_terminal(env, sign, ("Type 'sign'", "sign"), ("Passphrase", words[1]))
    assert (0, True) == (code, "All signatures are there" in screen), screen
    assert [] == [secret for secret in (*words, PASSPHRASE) if secret in screen]


def test_a_short_new_passphrase_is_refused_before_anything_is_made(env: dict[str, str]) -> None:
    code, screen = at_terminal(env, ["init"], ("Passphrase", "short"), ("Again", "short"))
    assert 2 == code
    assert "use at least 12" in screen
    assert not Path(env["KEYSEAT_ISSUER_HOME"]).exists()


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_a_typed_passphrase_that_is_no_text_is_told(env: dict[str, str], locale: str) -> None:
    typed = "pa\udcffssphrase"
    code, screen = at_terminal(env | {"LC_ALL": locale}, ["init"], ("Passphrase", typed), ("Again", typed))
    assert 2 == code
    assert "not text in this terminal's encoding" in screen
    assert not Path(env["KEYSEAT_ISSUER_HOME"]).exists()


class TestWithAnIssuer:
    @pytest.fixture(autouse=True)
    def _made(self, env: dict[str, str], issuer_template: Path) -> None:
        shutil.copytree(issuer_template, env["KEYSEAT_ISSUER_HOME"])

    @staticmethod
    def _license_key(env: dict[str, str]) -> str:
        (path,) = (Path(env["KEYSEAT_ISSUER_HOME"]) / "keys").glob("license-*.pem")
        return path.stem.partition("-")[2]

    def test_revoking_takes_the_typed_key_id(self, env: dict[str, str]) -> None:
        keyid = self._license_key(env)
        code, screen = at_terminal(env, ["trust", "revoke-key", keyid], ("Go on?", "yes"))
        assert 1 == code
        assert "NOT_CONFIRMED" in screen
        code, screen = at_terminal(
            env, ["trust", "revoke-key", keyid], ("Go on?", keyid[:8]), ("Passphrase", PASSPHRASE)
        )
        assert 0 == code
        assert f"Revoked {keyid}" in screen

    def test_ctrl_c_at_a_prompt_changes_nothing(self, env: dict[str, str]) -> None:
        code, screen = at_terminal(env, ["keys", "retire", self._license_key(env)], ("Passphrase", CTRL_C))
        assert 130 == code
        assert "Stopped. Nothing was changed." in screen

    def test_a_wrong_passphrase_is_told_in_red(self, env: dict[str, str]) -> None:
        code, screen = at_terminal(env, ["keys", "add", "--purpose", "lease"], ("Passphrase", "wrong"))
        assert 3 == code
        assert "\x1b[31mKEY_UNAVAILABLE: wrong passphrase" in screen
