"""What a person at a terminal is asked: passphrases hidden and twice, and a typed word before what cannot be undone."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from issuing import PASSPHRASE
from terminal import CTRL_C, converse

RUN = (
    "import sys; from keyseat_issuer import pkcs8; pkcs8.SCRYPT_N = 64\n"
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
