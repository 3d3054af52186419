"""Passphrases: from a file or a prompt, never guessed at, never shown."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from keyseat_issuer.cli.output import Output
from keyseat_issuer.cli.passphrase import passphrase_asker, passphrase_option, read_passphrase
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError


def written(folder: Path, content: bytes, mode: int = 0o600) -> str:
    path = folder / "passphrase"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    "content",
    [
        b"correct horse",
        b"correct horse\n",
        b"correct horse\r\n",
        b"\xef\xbb\xbfcorrect horse\nsecond line\n",
        b"correct horse\n\xff\xfe not text",
    ],
)
def test_the_first_line_of_the_file_is_the_passphrase(tmp_path: Path, content: bytes) -> None:
    assert "correct horse" == read_passphrase(Output(), written(tmp_path, content))


def test_spaces_belong_to_the_passphrase(tmp_path: Path) -> None:
    assert " correct horse " == read_passphrase(Output(), written(tmp_path, b" correct horse \n"))


def test_a_file_that_others_can_read_is_warned_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_passphrase(Output(), written(tmp_path, b"correct horse", 0o644))
    assert "others can read the passphrase file" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_file_without_a_passphrase_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(KeyseatError) as caught:
        read_passphrase(Output(), written(tmp_path, content))
    assert ReasonCode.KEY_UNAVAILABLE is caught.value.code


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("correct horse".encode("utf-16"), "not UTF-8"),
        ("Größe".encode("latin-1"), "not UTF-8"),
        (b"\x80" * 5000, "longer than 4096 bytes"),
        (b"x" * 4097, "longer than 4096 bytes"),
        (b"\r\n", "empty"),
    ],
)
def test_a_file_that_holds_something_else_is_told_and_not_cut_to_fit(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(KeyseatError, match=message) as caught:
        read_passphrase(Output(), written(tmp_path, content))
    assert ReasonCode.KEY_UNAVAILABLE is caught.value.code
    assert caught.value.next_step


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_longest_passphrase_and_one_of_many_bytes_a_letter_are_taken_whole(tmp_path: Path, end: bytes) -> None:
    for passphrase in ("x" * 4096, "ü" * 2048):
        assert passphrase == read_passphrase(Output(), written(tmp_path, passphrase.encode() + end))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyseatError, match="No such file") as caught:
        read_passphrase(Output(), str(tmp_path / "none"))
    assert ReasonCode.KEY_UNAVAILABLE is caught.value.code


@pytest.mark.parametrize(("content", "warned"), [(b"twelve chars", False), (b"eleven char", True)])
def test_a_short_new_passphrase_in_a_file_is_warned_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, *, warned: bool
) -> None:
    assert content.decode() == read_passphrase(Output(), written(tmp_path, content), new=True)
    assert warned is ("Warning: the passphrase has 11 characters; use at least 12" in capsys.readouterr().err)


def test_an_old_short_passphrase_still_opens(tmp_path: Path) -> None:
    assert "short" == read_passphrase(Output(), written(tmp_path, b"short"))


def test_the_file_is_read_when_first_needed_and_once(tmp_path: Path) -> None:
    path = written(tmp_path, b"correct horse")
    ask = passphrase_asker(Output(), path)
    assert "correct horse" == ask()
    Path(path).unlink()
    assert "correct horse" == ask()


class TestCommand:
    @staticmethod
    def command() -> click.Command:
        @click.command()
        @passphrase_option
        def act(passphrase_file: str | None) -> None:
            click.echo(read_passphrase(Output(), passphrase_file))

        return act

    def test_the_variable_names_the_file(self, tmp_path: Path) -> None:
        path = written(tmp_path, b"correct horse")
        result = CliRunner().invoke(self.command(), env={"KEYSEAT_PASSPHRASE_FILE": path})
        assert "correct horse\n" == result.stdout

    def test_without_file_and_terminal_it_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KEYSEAT_PASSPHRASE_FILE", raising=False)
        result = CliRunner().invoke(self.command())
        assert isinstance(result.exception, KeyseatError)
        assert ReasonCode.KEY_UNAVAILABLE is result.exception.code
        assert "--passphrase-file" in result.exception.next_step
